//! `manage check --deploy`, and the production settings of the README.

use hulse_tests::{Program, Pulse, Reply, Surroundings, Wire, site_command, site_folder_of};
use tempfile::TempDir;

/// What every answer to the proxy says of https.
const HSTS: &str = "max-age=31536000; includeSubDomains";

/// The block of the README, to the letter.
fn production() -> &'static str {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```toml\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    let named = |block: &&str| block.starts_with("# settings.production.toml\n");
    blocks.find(named).expect("the README has production settings")
}

/// djchat with its own settings and, beside them, those of the README.
fn deployed() -> (TempDir, Surroundings) {
    let folder = site_folder_of(Program::Djchat);
    std::fs::write(folder.path().join("settings.production.toml"), production()).unwrap();
    let key = "b6c1f5d2a94e7038b6c1f5d2a94e7038b6c1f5d2a94e7038b6c1f5d2a94e7038";
    let environment = vec![
        ("HULSE_ENV".to_owned(), "production".to_owned()),
        ("SECRET_KEY".to_owned(), key.to_owned()),
    ];
    (folder, Surroundings { program: Program::Djchat, database: None, environment })
}

/// `djchat check --deploy` with `arguments`: exit code, stdout, stderr.
async fn check(
    (folder, surroundings): &(TempDir, Surroundings),
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let mut command = site_command(folder.path(), surroundings);
    let output = command.args(["check", "--deploy"]).args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn check_deploy_fails_on_the_settings_of_development() {
    let site = (site_folder_of(Program::Djchat), Surroundings::default());
    let (code, said, _) = check(&site, &["--fail-level", "WARNING"]).await;
    assert_eq!(code, Some(1), "{said}");
    let ids = ["W004", "W008", "W009", "W010", "W016", "W018", "W020"];
    for id in ids {
        assert!(said.contains(&format!("warning security.{id}: ")), "{id}: {said}");
    }
    let hints = said.lines().filter(|line| line.starts_with("    ")).count();
    assert_eq!(hints, ids.len(), "{said}");
    assert!(said.ends_with("System check identified 7 issues (0 silenced).\n"), "{said}");
    // As Django's: warnings alone are no failure.
    assert_eq!(check(&site, &[]).await.0, Some(0));
}

#[tokio::test]
async fn check_deploy_finds_nothing_in_the_readme_s_production_settings() {
    let (code, said, complained) = check(&deployed(), &["--fail-level", "WARNING"]).await;
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{said}");
    assert_eq!(said, "System check identified no issues (1 silenced).\n");
}

#[tokio::test]
async fn check_deploy_names_limits_that_are_off() {
    let limits = [
        ("HULSE_SERVER__MESSAGE_RATE", "server.message_rate"),
        ("HULSE_SERVER__SOCKETS_PER_USER", "server.sockets_per_user"),
        ("HULSE_SERVER__SOCKETS_PER_ADDRESS", "server.sockets_per_address"),
        ("HULSE_SERVER__GROUPS_PER_SOCKET", "server.groups_per_socket"),
        ("HULSE_AUTH__LOGIN_ATTEMPTS", "auth.login_attempts"),
        ("HULSE_AUTH__PASSWORD_RESET_MAILS", "auth.password_reset_mails"),
    ];
    let mut site = deployed();
    let off = limits.map(|(name, _)| (name.to_owned(), "0".to_owned()));
    site.1.environment.extend(off);
    let (code, said, _) = check(&site, &["--fail-level", "WARNING"]).await;
    assert_eq!(code, Some(1), "{said}");
    for (_, setting) in limits {
        assert!(said.contains(&format!("warning security.W102: {setting} is 0: ")), "{said}");
    }
}

#[tokio::test]
async fn check_tells_only_what_is_about_the_tags() {
    let site = (site_folder_of(Program::Djchat), Surroundings::default());
    let (code, said, _) = check(&site, &["--tag", "urls", "--fail-level", "debug"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said, _) = check(&site, &["-t", "security", "--fail-level", "warning"]).await;
    assert_eq!(code, Some(1), "{said}");
    let (code, _, complained) = check(&site, &["--tag", "nothing"]).await;
    let words = "error: There is no system check with the \"nothing\" tag.\n";
    assert_eq!((code, complained.as_str()), (Some(1), words));
    let (code, said, _) = check(&site, &["--list-tags"]).await;
    assert_eq!(code, Some(0));
    assert!(said.lines().any(|tag| tag == "security"), "{said}");
    let (code, _, complained) = check(&site, &["--fail-level", "bad"]).await;
    assert_eq!(code, Some(2), "{complained}");
}

/// What the site says to a GET of `/?a=b` that comes from this machine, where its proxy is.
async fn ask(pulse: &Pulse, headers: &str) -> Reply {
    let mut wire = Wire::connect(pulse.address()).await;
    let host = "Host: chat.example.com\r\n";
    wire.send(format!("GET /?a=b HTTP/1.1\r\n{host}{headers}\r\n")).await;
    wire.reply().await.expect("an answer")
}

#[tokio::test]
async fn the_readme_s_production_settings_serve_https_only() {
    let (folder, surroundings) = deployed();
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["pulse", "--migrate", "-w", "1", "-b", "127.0.0.1:0"]);
    let pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
    let reply = ask(&pulse, "").await;
    assert_eq!(reply.status, 301);
    assert_eq!(reply.header("location"), Some("https://chat.example.com/?a=b"));
    assert_eq!(reply.header("strict-transport-security"), None);
    let reply = ask(&pulse, "X-Forwarded-Proto: https\r\n").await;
    assert_eq!((reply.status, reply.header("strict-transport-security")), (200, Some(HSTS)));
    let poisoned = ask(&pulse, "X-Forwarded-Host: evil.example\r\n").await;
    assert_eq!((poisoned.status, poisoned.header("location")), (400, None));
    pulse.stop().await;
}
