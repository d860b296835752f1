//! Starting: what works, and what is refused with one line and exit code 2.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;

use std::io::{Read, Write};

use futures_util::{SinkExt, StreamExt};
use hulse_tests::{Program, Pulse, Surroundings, Visitor, site_command, site_folder_of};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

const TESTSITE: Surroundings =
    Surroundings { program: Program::Testsite, database: None, environment: Vec::new() };

fn with_environment(name: &str, value: &str) -> Surroundings {
    Surroundings { environment: vec![(name.to_owned(), value.to_owned())], ..TESTSITE }
}

/// Runs the testsite to its end.
async fn run_in(folder: &Path, surroundings: &Surroundings, arguments: &[&str]) -> Output {
    let mut command = site_command(folder, surroundings);
    command.args(arguments).output().await.unwrap()
}

/// It must end with exit code 2, one line on stderr with `words` in it, and nothing on stdout.
async fn refused(folder: &TempDir, surroundings: &Surroundings, arguments: &[&str], words: &str) {
    let output = run_in(folder.path(), surroundings, arguments).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told: Vec<&str> = said.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].starts_with("error: ") && told[0].contains(words), "{said}");
    assert!(output.stdout.is_empty());
    let left = fs::read_dir(folder.path().join(".hulse")).into_iter().flatten().count();
    assert_eq!(left, 0, "a socket is left behind");
}

async fn start_refused(surroundings: &Surroundings, arguments: &[&str], words: &str) {
    let arguments = [&["pulse"], arguments].concat();
    refused(&site_folder_of(Program::Testsite), surroundings, &arguments, words).await;
}

#[tokio::test]
async fn one_worker_and_four_serve() {
    for workers in ["1", "4"] {
        let pulse = Pulse::start_testsite(&["-w", workers]).await;
        let answer = Visitor::new(pulse.address()).get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Hello World!\n"));
        assert_eq!(pulse.workers().len(), workers.parse::<usize>().unwrap());
        assert!(pulse.store().is_some());
        assert_eq!(pulse.stop().await, 0);
    }
}

#[tokio::test]
async fn the_first_line_says_where_it_listens() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--log-level", "error"]).await;
    assert_eq!(pulse.log(), format!("pulse: listening on http://{}\n", pulse.address()));
}

#[tokio::test]
async fn the_memory_store_is_inside_the_one_worker() {
    let pulse = Pulse::start_testsite(&["--data-store", "memory://"]).await;
    assert_eq!(pulse.workers().len(), 1);
    assert_eq!(pulse.store(), None);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn it_listens_on_several_addresses_and_a_socket_file() {
    let mut pulse =
        Pulse::start_testsite(&["-w", "1", "-b", "unix:site.sock", "-b", "[::1]:0"]).await;
    pulse.said("listening on http://[::1]:").await;
    pulse.said("listening on unix:").await;
    let file = pulse.folder().join("site.sock");
    let mut stream = UnixStream::connect(&file).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("Hello World!\n"), "{answer}");
    let stream = tokio::net::UnixStream::connect(&file).await.unwrap();
    let (mut socket, _) = client_async("ws://localhost/echo/", stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "hello");
    drop(socket);
    pulse.signal(rustix::process::Signal::TERM);
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(!file.exists());
}

#[tokio::test]
async fn a_socket_file_left_by_a_dead_process_is_replaced() {
    let folder = site_folder_of(Program::Testsite);
    let file = folder.path().join("site.sock");
    drop(std::os::unix::net::UnixListener::bind(&file).unwrap());
    let bind = format!("unix:{}", file.display());
    let pulse = Pulse::start_testsite(&["-w", "1", "-b", &bind]).await;
    UnixStream::connect(&file).unwrap();
    drop(pulse);
}

#[tokio::test]
async fn two_of_them_run_in_one_folder() {
    let folder = site_folder_of(Program::Testsite);
    let runtime_dir = folder.path().join("shared").display().to_string();
    let both = with_environment("HULSE_SERVER__RUNTIME_DIR", &runtime_dir);
    let first = Pulse::start_in(both.clone(), &["-w", "2"]).await;
    let second = Pulse::start_in(both, &["-w", "2"]).await;
    assert_eq!(fs::read_dir(&runtime_dir).unwrap().count(), 2);
    assert_eq!(first.stop().await, 0);
    assert_eq!(Visitor::new(second.address()).get("/").await.status, 200);
    assert_eq!(second.stop().await, 0);
    assert_eq!(fs::read_dir(&runtime_dir).unwrap().count(), 0);
}

#[tokio::test]
async fn a_taken_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    start_refused(&TESTSITE, &["-b", &address], "the address is in use").await;
}

#[tokio::test]
async fn an_address_without_the_right_to_it_is_refused() {
    const PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let folder = site_folder_of(Program::Testsite);
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    let mut addresses = vec![format!("unix:{}/site.sock", locked.display())];
    let first: u16 = fs::read_to_string(PORTS).unwrap().trim().parse().unwrap();
    // Elsewhere it is anybody's.
    addresses.extend((first > 1).then(|| "127.0.0.1:1".to_owned()));
    for address in addresses {
        let site = site_command(folder.path(), &TESTSITE);
        let mut command = Command::new(site.as_std().get_program());
        if rustix::process::geteuid().is_root() {
            command = Command::new("setpriv");
            let without = "-dac_override,-dac_read_search,-net_bind_service";
            command.args(["--bounding-set", without]).arg(site.as_std().get_program());
        }
        command.env("HULSE_SETTINGS", folder.path().join("settings.toml"));
        let output = command.args(["pulse", "-b", &address]).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let is_told = said.starts_with("error: ") && said.contains("ermission denied");
        assert!(is_told && said.lines().count() == 1, "{address}: {said}");
        assert!(!folder.path().join(".hulse").exists(), "something is left behind");
    }
}

#[tokio::test]
async fn a_bad_address_is_refused() {
    start_refused(&TESTSITE, &["-b", "8060"], "it has no port").await;
}

#[tokio::test]
async fn an_unknown_flag_is_refused() {
    start_refused(&TESTSITE, &["--wokers", "4"], "--wokers").await;
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    start_refused(&TESTSITE, &["-w", "many"], "many").await;
}

#[tokio::test]
async fn a_memory_store_for_two_workers_is_refused() {
    start_refused(&TESTSITE, &["--data-store", "memory://", "-w", "2"], "memory://").await;
}

#[tokio::test]
async fn an_unknown_data_store_is_refused() {
    start_refused(&TESTSITE, &["--data-store", "file://x"], "file://x").await;
}

#[tokio::test]
async fn a_mistyped_setting_is_refused_with_its_line() {
    let folder = site_folder_of(Program::Testsite);
    fs::write(folder.path().join("settings.toml"), "debug = true\n[server]\nwokers = 4\n").unwrap();
    let words = "settings.toml:3: server.wokers: unknown key, did you mean server.workers?";
    refused(&folder, &TESTSITE, &["pulse"], words).await;
}

#[tokio::test]
async fn settings_that_are_no_toml_are_refused_with_their_line() {
    let folder = site_folder_of(Program::Testsite);
    fs::write(folder.path().join("settings.toml"), "debug = true\n[server\n").unwrap();
    refused(&folder, &TESTSITE, &["pulse"], "settings.toml:2: ").await;
}

#[tokio::test]
async fn a_missing_secret_key_is_refused() {
    start_refused(&with_environment("HULSE_DEBUG", "false"), &[], "SECRET_KEY").await;
}

#[tokio::test]
async fn a_database_that_is_down_is_refused() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://nobody:hunter2@127.0.0.1:{nobody}/nothing");
    let down = Surroundings { database: Some(url), ..TESTSITE };
    start_refused(&down, &["-b", "127.0.0.1:0"], "PostgreSQL").await;
}

#[tokio::test]
async fn a_database_url_that_is_none_is_refused() {
    let wrong = Surroundings { database: Some("mongo://x".into()), ..TESTSITE };
    start_refused(&wrong, &["-b", "127.0.0.1:0"], "database.url").await;
}

#[tokio::test]
async fn unapplied_migrations_are_refused_unless_they_are_allowed() {
    let accounts = with_environment("TESTSITE_ACCOUNTS", "1");
    let folder = site_folder_of(Program::Testsite);
    let start = ["pulse", "-w", "1", "-b", "127.0.0.1:0"];
    refused(&folder, &accounts, &start, "unapplied migration(s)").await;
    let mut command = site_command(folder.path(), &accounts);
    command.args(start).arg("--allow-unmigrated");
    let pulse = Pulse::launch(command, folder, accounts, "listening on http").await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    pulse.manage(&["ctl", "reload"], &[]).await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    let shown = pulse.manage(&["showmigrations"], &[]).await;
    assert!(shown.contains("[ ]") && !shown.contains("[X]"), "nothing is migrated: {shown}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn workers_that_die_at_every_start_end_the_start() {
    let folder = site_folder_of(Program::Testsite);
    fs::write(folder.path().join("die-at-start"), "").unwrap();
    let output = run_in(folder.path(), &TESTSITE, &["pulse", "-b", "127.0.0.1:0", "-w", "2"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("keeps dying before it is ready"), "{said}");
}

#[tokio::test]
async fn the_pid_of_a_living_process_is_refused_and_a_dead_ones_replaced() {
    let folder = site_folder_of(Program::Testsite);
    let file = folder.path().join("site.pid");
    let flag = file.to_str().unwrap();
    fs::write(&file, std::process::id().to_string()).unwrap();
    let arguments = ["pulse", "-b", "127.0.0.1:0", "-p", flag];
    refused(&folder, &TESTSITE, &arguments, "runs already").await;
    fs::write(&file, "999999999").unwrap();
    let pulse = Pulse::start_testsite(&["-w", "1", "-p", flag]).await;
    let expected = pulse.arbiter().as_raw_nonzero().to_string();
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), expected);
    assert_eq!(pulse.stop().await, 0);
    assert!(!file.exists());
}

#[tokio::test]
async fn what_is_in_force_can_be_printed_without_secrets() {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = with_environment("SECRET_KEY", "hunter2");
    let output =
        run_in(folder.path(), &surroundings, &["pulse", "-w", "3", "--print-config"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("server.workers = 3  # --workers\n"), "{said}");
    assert!(said.contains("secret_key = \"********\"  # SECRET_KEY\n"), "{said}");
    for default in [
        "bind = [\"127.0.0.1:8060\"]",
        "thread_workers = 5",
        "greenlets = 0",
        "data_store = \"pulse://\"",
        "timeout = 10",
        "graceful_timeout = 30",
        "worker_requests_max = 0",
        "keep_alive = 75",
        "header_timeout = 10",
        "body_timeout = 30",
        "connections_max = 10000",
        "ping_interval = 20",
        "ping_timeout = 30",
        "message_bytes_max = 1048576",
        "tls_cert = \"\"",
        "proxy_headers = []",
        "metrics_bind = \"\"",
        "control = \".hulse/control.sock\"",
    ] {
        assert!(said.contains(&format!("server.{default}  # default\n")), "{default}: {said}");
    }
    assert!(!said.contains("hunter2"));
}

#[tokio::test]
async fn a_link_where_the_pid_belongs_is_replaced_and_not_followed() {
    let folder = site_folder_of(Program::Testsite);
    let (file, victim) = (folder.path().join("site.pid"), folder.path().join("victim.txt"));
    fs::write(&victim, "precious\n").unwrap();
    std::os::unix::fs::symlink(&victim, &file).unwrap();
    let pulse = Pulse::start_testsite(&["-w", "1", "-p", file.to_str().unwrap()]).await;
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written.trim(), pulse.arbiter().as_raw_nonzero().to_string());
    // One of another server, which has come to the same place, stays.
    fs::remove_file(&file).unwrap();
    fs::write(&file, &written).unwrap();
    assert_eq!(pulse.stop().await, 0);
    assert!(file.exists());
}
