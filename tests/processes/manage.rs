//! The command line: words it knows, words it does not.

use std::os::unix::fs::PermissionsExt;

use hulse_tests::{Program, Surroundings, site_command, site_folder_of};

/// Runs the testsite with `arguments`: exit code, stdout, stderr.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = Surroundings { program: Program::Testsite, ..Surroundings::default() };
    let mut command = site_command(folder.path(), &surroundings);
    let output = command.args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_mistyped_command_suggests_the_right_one() {
    let (code, _, said) = run(&["pulze"]).await;
    assert_eq!((code, said.as_str()), (Some(1), "Unknown command: 'pulze'. Did you mean pulse?\n"));
}

#[tokio::test]
async fn a_command_like_no_other_suggests_nothing() {
    let (code, _, said) = run(&["xyzzy"]).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("Unknown command: 'xyzzy'.") && !said.contains("mean"), "{said}");
}

#[tokio::test]
async fn an_unknown_flag_is_one_line_and_suggests_the_right_one() {
    let (code, _, said) = run(&["pulse", "--migrat"]).await;
    assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("'--migrat'") && said.contains("'--migrate'"), "{said}");
}

#[tokio::test]
async fn help_and_version_go_to_stdout() {
    let (code, said, _) = run(&["help"]).await;
    assert_eq!(code, Some(0));
    assert!(said.contains("pulse") && said.contains("routes"), "{said}");
    let (code, said, _) = run(&["--version"]).await;
    assert_eq!(code, Some(0));
    assert!(said.starts_with("testsite "), "{said}");
}

#[tokio::test]
async fn routes_are_listed_in_the_order_they_are_tried() {
    let (code, said, _) = run(&["routes"]).await;
    assert_eq!(code, Some(0));
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words}: {said}"));
    assert!(at("/slow/<int:milliseconds>/") < at("/hang/<int:milliseconds>/"));
}

#[tokio::test]
async fn check_finds_nothing_wrong_with_a_good_site() {
    let (code, said, complained) = run(&["check"]).await;
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{said}");
}

#[tokio::test]
async fn dbshell_gives_the_databases_own_program_all_but_the_password() {
    let folder = site_folder_of(Program::Testsite);
    let program = folder.path().join("psql");
    std::fs::write(&program, "#!/bin/sh\necho \"$@\" / $PGPASSWORD\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let surroundings = Surroundings {
        program: Program::Testsite,
        database: Some("postgres://ann:hunter2@db.example/blog".into()),
        environment: vec![("PATH".into(), format!("{}:/usr/bin:/bin", folder.path().display()))],
    };
    let mut command = site_command(folder.path(), &surroundings);
    let output = command.args(["dbshell", "--", "-A"]).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "postgres://ann@db.example/blog -A / hunter2\n");
}

#[tokio::test]
async fn dbshell_without_the_program_says_so() {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = Surroundings {
        program: Program::Testsite,
        database: None,
        environment: vec![("PATH".into(), folder.path().display().to_string())],
    };
    let output = site_command(folder.path(), &surroundings).arg("dbshell").output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "error: sqlite3 is not installed, or not on the PATH\n");
}
