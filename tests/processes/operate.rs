//! Being operated: users, log files, service managers, sockets that are handed down.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hulse_tests::{Program, Pulse, Surroundings, Visitor, site_command, site_folder_of};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use crate::crowd::Crowd;

/// Longest wait for what must come.
const WAIT: Duration = Duration::from_secs(60);

/// How long the service manager is told to wait for a word.
const WATCHDOG: Duration = Duration::from_secs(1);

/// A user nobody is.
const USER: u32 = 4711;
const GROUP: u32 = 4712;

fn testsite(environment: &[(&str, &str)]) -> Surroundings {
    let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Surroundings {
        program: Program::Testsite,
        environment: environment.collect(),
        ..Surroundings::default()
    }
}

/// A site started by other means than [`Pulse`].
struct Started {
    arbiter: Child,
    address: String,
}

impl Started {
    async fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
        let mut arbiter = command.spawn().unwrap();
        let mut lines = BufReader::new(arbiter.stdout.take().unwrap()).lines();
        let line = timeout(WAIT, lines.next_line()).await.unwrap().unwrap().expect("it listens");
        let address = line.rsplit("http://").next().unwrap().to_owned();
        Self { arbiter, address }
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.arbiter.id().unwrap().cast_signed()).unwrap()
    }

    async fn stop(mut self) {
        kill_process_group(self.process(), Signal::TERM).unwrap();
        let status = timeout(WAIT, self.arbiter.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.arbiter.id().is_some() {
            let _ended = kill_process_group(self.process(), Signal::KILL);
        }
    }
}

#[tokio::test]
async fn the_log_goes_to_a_file_that_can_be_moved_away() {
    let mut pulse =
        Pulse::start_testsite(&["-w", "1", "--log-file", "site.log", "--access-log"]).await;
    let file = pulse.folder().join("site.log");
    assert!(!pulse.log().contains("worker 1 is ready"), "{}", pulse.log());
    assert!(fs::read_to_string(&file).unwrap().contains("worker 1 is ready"));
    assert_eq!(Visitor::new(pulse.address()).get("/process/").await.status, 200);
    let moved = pulse.folder().join("site.log.1");
    fs::rename(&file, &moved).unwrap();
    pulse.signal(Signal::USR1);
    let opened = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        // The worker hears of it a moment later than the arbiter.
        while !fs::read_to_string(&file).unwrap().contains("/rows/") {
            Visitor::new(pulse.address()).get("/rows/").await;
        }
    };
    timeout(WAIT, opened).await.unwrap();
    assert!(fs::read_to_string(&moved).unwrap().contains("/process/"));
    pulse.signal(Signal::TERM);
    assert_eq!(pulse.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_worker_that_has_answered_enough_is_replaced_and_no_request_fails() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--max-requests", "200"]).await;
    let (worker, seen) = (pulse.workers()[0], pulse.log().len());
    let crowd = Crowd::come(pulse.address(), 2, 2);
    pulse.said_after(seen, "has answered enough").await;
    pulse.said_after(seen, "the old worker 1 ended").await;
    let seen = crowd.go().await;
    assert!(seen.failures.is_empty() && seen.answered >= 200, "{seen:?}");
    assert!(!pulse.workers().contains(&worker));
    let status = pulse.status().await;
    assert_eq!((&status["generation"], &status["deaths"]), (&1.into(), &0.into()));
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn workers_that_have_answered_enough_are_replaced_one_after_the_other() {
    const WORKERS: usize = 3;
    let mut pulse = Pulse::start_testsite(&["-w", "3", "--max-requests", "100"]).await;
    let (begun, crowd) = (pulse.log().len(), Crowd::come(pulse.address(), 6, 3));
    // Each of them twice.
    let mut seen = begun;
    for _ in 0..2 * WORKERS {
        let line = pulse.said_after(seen, "has answered enough").await;
        seen = end_of(&pulse, seen, &line);
        let line = pulse.said_after(seen, "is ready").await;
        seen = end_of(&pulse, seen, &line);
    }
    let log = pulse.log();
    let words = log[begun..seen].lines().filter_map(|line| {
        ["has answered enough", "is ready"].into_iter().find(|words| line.contains(words))
    });
    // Another one only when there are as many as there were.
    let words: Vec<&str> = words.collect();
    assert_eq!(words, ["has answered enough", "is ready"].repeat(2 * WORKERS));
    let seen = crowd.go().await;
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(pulse.stop().await, 0);
}

/// Where the first such line behind `seen` ends.
fn end_of(pulse: &Pulse, seen: usize, line: &str) -> usize {
    let log = pulse.log();
    seen + log[seen..].find(line).unwrap() + line.len()
}

/// Of a line of `/proc/PID/status`.
fn numbers(process: u64, line: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[tokio::test]
async fn root_becomes_the_user_it_is_told_to() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    // Below 1024, where only root may listen.
    let free = (600..1024).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let bind = format!("127.0.0.1:{free}");
    let folder = site_folder_of(Program::Testsite);
    chown(folder.path(), Some(USER), Some(USER)).unwrap();
    let mut command = site_command(folder.path(), &testsite(&[]));
    command.args(["pulse", "--migrate", "-b", &bind, "-b", "unix:site.sock", "-w", "1"]);
    command.args(["-u", "4711", "-g", "4712", "--umask", "027", "--log-file", "site.log"]);
    let site = Started::of(command).await;
    assert_eq!(site.address, bind);
    // Workers that come later are that user's too, on the same port.
    let mut command = site_command(folder.path(), &testsite(&[]));
    assert!(command.args(["ctl", "reload"]).status().await.unwrap().success());
    let mut command = site_command(folder.path(), &testsite(&[]));
    let said = command.args(["ctl", "status", "--json"]).output().await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let children = status["children"].as_array().unwrap().iter();
    let processes = children.chain([&status]).map(|child| child["process"].as_u64().unwrap());
    for process in processes.collect::<Vec<_>>() {
        assert_eq!(numbers(process, "Uid:"), [USER; 4]);
        assert_eq!(numbers(process, "Gid:"), [GROUP; 4]);
        assert_eq!(numbers(process, "Groups:"), [GROUP]);
        assert_eq!(
            fs::read_to_string(format!("/proc/{process}/status"))
                .unwrap()
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))
                .unwrap()
                .trim(),
            "0027"
        );
    }
    assert_eq!(Visitor::new(&site.address).get("/rows/").await.status, 200);
    let mode = fs::metadata(folder.path().join("site.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    site.stop().await;
    assert!(!folder.path().join("site.sock").exists());
}

#[tokio::test]
async fn users_and_masks_that_are_none_are_refused() {
    for (flag, value) in [("-u", "no-such-user"), ("-g", "no-such-group"), ("--umask", "999")] {
        let folder = site_folder_of(Program::Testsite);
        let mut command = site_command(folder.path(), &testsite(&[]));
        command.args(["pulse", "-b", "127.0.0.1:0", flag, value]);
        let output = command.output().await.unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains(value) && words.lines().count() == 1, "{words}");
    }
}

/// What a service manager hears next that contains `words`.
async fn heard(manager: &tokio::net::UnixDatagram, words: &str) -> String {
    let heard = async {
        loop {
            let mut bytes = [0; 4096];
            let count = manager.recv(&mut bytes).await.unwrap();
            let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if said.contains(words) {
                return said;
            }
        }
    };
    timeout(WAIT, heard).await.unwrap_or_else(|_| panic!("never heard {words}"))
}

async fn tells_its_manager(manager: UnixDatagram, name: &str) {
    manager.set_nonblocking(true).unwrap();
    let manager = tokio::net::UnixDatagram::from_std(manager).unwrap();
    let watchdog = WATCHDOG.as_micros().to_string();
    let environment = testsite(&[("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", &*watchdog)]);
    let pulse = Pulse::start_in(environment, &["-w", "1"]).await;
    let said = heard(&manager, "").await;
    assert!(said.starts_with("EXTEND_TIMEOUT_USEC="), "its first word: {said}");
    let said = heard(&manager, "READY=1").await;
    let process = format!("MAINPID={}", pulse.arbiter().as_raw_nonzero());
    assert!(said.contains(&process) && said.contains("STATUS=1 workers"), "{said}");
    heard(&manager, "WATCHDOG=1").await;
    pulse.signal(Signal::HUP);
    let said = heard(&manager, "RELOADING=1").await;
    let since_boot = said.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0);
    heard(&manager, "READY=1").await;
    heard(&manager, "WATCHDOG=1").await;
    pulse.signal(Signal::TERM);
    heard(&manager, "STOPPING=1").await;
}

#[tokio::test]
async fn nobody_speaks_for_an_arbiter_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
    let watchdog = WATCHDOG.as_micros().to_string();
    let environment =
        [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", watchdog.as_str())];
    let pulse = Pulse::start_in(testsite(&environment), &["-w", "1"]).await;
    heard(&manager, "WATCHDOG=1").await;
    pulse.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", pulse.arbiter().as_raw_nonzero());
    let mut look = interval(Duration::from_millis(5));
    while !fs::read_to_string(&stat).unwrap().contains(") T ") {
        look.tick().await;
    }
    // What was said before.
    while manager.try_recv(&mut [0; 4096]).is_ok() {}
    // Now it is silent for longer than the manager's patience, which would kill it.
    let words = timeout(WATCHDOG * 2, manager.recv(&mut [0; 4096])).await;
    assert!(words.is_err(), "somebody speaks for it");
    pulse.signal(Signal::CONT);
    heard(&manager, "WATCHDOG=1").await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_service_manager_hears_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    tells_its_manager(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap()).await;
    let name = format!("hulse-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    tells_its_manager(UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}")).await;
}

/// Starts a site whose descriptor 3 is `listener`, by a shell as a service manager would.
async fn handed(folder: &Path, listener: TcpListener, script: &str, bind: &str) -> Started {
    let site = site_command(folder, &testsite(&[]));
    let site = site.as_std();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(site.get_program());
    command.args(["pulse", "--migrate", "-w", "1", "-b", bind]);
    command.current_dir(folder).env("HULSE_SETTINGS", folder.join("settings.toml"));
    command.env_remove("DATABASE_URL").stdin(Stdio::from(OwnedFd::from(listener)));
    Started::of(command).await
}

#[tokio::test]
async fn a_socket_that_is_handed_down_is_listened_to() {
    let by_manager = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null";
    let by_number = "exec \"$0\" \"$@\" 3<&0 </dev/null";
    for (script, bind) in [(by_manager, "127.0.0.1:0"), (by_number, "fd:3")] {
        let folder = site_folder_of(Program::Testsite);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = listener.try_clone().unwrap();
        let site = handed(folder.path(), listener, script, bind).await;
        assert_eq!(site.address, address, "{bind}");
        assert_eq!(Visitor::new(&address).get("/").await.status, 200);
        site.stop().await;
        // It is the manager's: it goes on listening.
        assert!(kept.local_addr().is_ok());
        std::net::TcpStream::connect(&address).unwrap();
    }
    let folder = site_folder_of(Program::Testsite);
    let mut command = site_command(folder.path(), &testsite(&[]));
    let output = command.args(["pulse", "-b", "fd:777"]).output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("cannot listen on fd:777"), "{words}");
}

#[test]
fn the_readme_s_unit_file_is_one_systemd_takes() {
    let readme = include_str!("../../README.md");
    let unit = readme.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(unit.starts_with("# /etc/systemd/system/djchat.service"), "{unit}");
    let folder = site_folder_of(Program::Testsite);
    let program = site_command(folder.path(), &testsite(&[]));
    let program = program.as_std().get_program().to_str().unwrap().to_owned();
    // What is not on this machine.
    let unit = unit.replace("/srv/djchat/djchat", &program).replace("User=djchat", "User=root");
    let unit = unit.replace("/srv/djchat", folder.path().to_str().unwrap());
    let file = folder.path().join("djchat.service");
    fs::write(&file, unit).unwrap();
    let verified = std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output();
    // Where there is none, its keys are at least those that were verified elsewhere.
    let Ok(verified) = verified else { return };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let said: Vec<&str> = said.lines().filter(|line| line.contains("djchat.service")).collect();
    assert_eq!(said, [""; 0]);
}
