//! What a generation of workers is made of: its settings and its program, as they were when it was
//! begun; and what is done once for all of it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

use hulse_tests::{Program, Pulse, Surroundings, Visitor, site_command, site_folder_of};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Far above what a stop takes, far below what it must not wait for.
const STOPPED: Duration = Duration::from_secs(8);

const MIGRATED: &str = "the database is migrated";

fn with_environment(name: &str, value: &str) -> Surroundings {
    let environment = vec![(name.to_owned(), value.to_owned())];
    Surroundings { program: Program::Testsite, environment, ..Surroundings::default() }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().unwrap().cast_signed()).unwrap()
}

#[tokio::test]
async fn a_worker_that_dies_comes_back_with_the_settings_in_force() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let file = pulse.folder().join("settings.toml");
    fs::write(&file, "debug = true\n[server\n").unwrap();
    let seen = pulse.log().len();
    pulse.signal(Signal::HUP);
    pulse.said_after(seen, "cannot reload, all goes on as it was").await;
    let seen = pulse.log().len();
    kill_process(pulse.workers()[0], Signal::KILL).unwrap();
    kill_process(pulse.store().unwrap(), Signal::KILL).unwrap();
    pulse.said_after(seen, "the store is ready").await;
    pulse.said_after(seen, "worker").await;
    pulse.said_after(seen, "is ready").await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.workers().len(), 2);
    assert!(!pulse.log()[seen..].contains("cannot start"), "{}", pulse.log());

    // Mended, but nobody has said that it is to be taken.
    fs::write(&file, "debug = true\n[log]\naccess = true\n").unwrap();
    let seen = pulse.log().len();
    for worker in pulse.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    pulse.said_after(seen, "worker 1 is ready").await;
    pulse.said_after(seen, "worker 2 is ready").await;
    assert_eq!(Visitor::new(pulse.address()).get("/process/").await.status, 200);
    assert!(!pulse.log()[seen..].contains("/process/"), "{}", pulse.log());
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn no_child_shows_a_secret_or_a_flag() {
    let surroundings = with_environment("SECRET_KEY", "never-to-be-seen");
    let pulse = Pulse::start_in(surroundings, &["-w", "1", "--graceful-timeout", "7"]).await;
    let children = [pulse.workers(), pulse.store().into_iter().collect()].concat();
    assert_eq!(children.len(), 2);
    for child in children {
        let of = |name: &str| {
            let bytes = fs::read(format!("/proc/{}/{name}", child.as_raw_nonzero())).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        assert!(!of("environ").contains("never-to-be-seen"), "{}", of("environ"));
        let line = of("cmdline");
        assert!(line.contains("--child") && !line.contains("--graceful-timeout"), "{line}");
    }
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_reload_leaves_workers_and_store_of_one_mind_about_messages() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let text = "debug = true\n[channels]\nmessage_bytes_max = 4\n";
    fs::write(pulse.folder().join("settings.toml"), text).unwrap();
    let seen = pulse.log().len();
    pulse.signal(Signal::HUP);
    let line = pulse.said_after(seen, "a reload does not take these").await;
    assert!(line.contains("channels.message_bytes_max"), "{line}");
    pulse.said_after(seen, "reloaded").await;
    pulse.said_after(seen, "the old worker 1 ended").await;
    let mut socket = Visitor::new(pulse.address()).socket("/room/g/nobody/now/").await;
    assert!(socket.frame().await.unwrap().starts_with("at "));
    socket.send("longer than four bytes").await;
    assert!(socket.frame().await.unwrap().starts_with("at "));
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn only_the_first_worker_of_a_reload_migrates() {
    let mut pulse = Pulse::start_testsite(&["-w", "3"]).await;
    let seen = pulse.log().len();
    pulse.manage(&["ctl", "reload"], &[]).await;
    let migrated = |pulse: &Pulse| pulse.log()[seen..].matches(MIGRATED).count();
    assert_eq!(migrated(&pulse), 1, "{}", pulse.log());
    // One that serves: old ones may still be leaving.
    let status = pulse.status().await;
    let is_new = |child: &&Value| child["role"] == "worker" && child["generation"] == 2;
    let new = status["children"].as_array().unwrap().iter().find(is_new).unwrap();
    let new = Pid::from_raw(i32::try_from(new["process"].as_i64().unwrap()).unwrap()).unwrap();
    let killed = pulse.log().len();
    kill_process(new, Signal::KILL).unwrap();
    pulse.said_after(killed, "died").await;
    pulse.said_after(killed, "is ready").await;
    assert_eq!(migrated(&pulse), 1, "{}", pulse.log());
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_migration_may_take_longer_than_a_start() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--start-timeout", "2"]).await;
    // As long as another process migrates, nobody else does.
    let lock = pulse.folder().join("db.sqlite3.migrations.lock");
    let lock = File::options().append(true).open(lock).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let seen = pulse.log().len();
    pulse.signal(Signal::HUP);
    pulse.said_after(seen, "another process is at it; waiting").await;
    let failed = timeout(Duration::from_secs(4), pulse.said_after(seen, "the reload failed")).await;
    assert!(failed.is_err(), "{failed:?}");
    drop(lock);
    pulse.said_after(seen, "reloaded").await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_stop_is_heard_while_the_database_is_prepared() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://nobody@{}/none", silent.local_addr().unwrap());
        let surroundings = Surroundings { database: Some(url), ..with_environment("A", "b") };
        let folder = site_folder_of(Program::Testsite);
        let mut command = site_command(folder.path(), &surroundings);
        command.args(["pulse", "-b", "127.0.0.1:0"]).kill_on_drop(true);
        let mut pulse = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let _asked = silent.accept().await.unwrap();
        kill_process(pid_of(&pulse), signal).unwrap();
        let ended = timeout(STOPPED, pulse.wait()).await.expect("it hears it").unwrap();
        assert_eq!(ended.code(), Some(0), "{signal:?}");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_workers_that_are_still_starting() {
    let folder = site_folder_of(Program::Testsite);
    fs::write(folder.path().join("hang-at-start"), "").unwrap();
    let mut command = site_command(folder.path(), &with_environment("A", "b"));
    command.args(["pulse", "-w", "2", "-b", "127.0.0.1:0", "--migrate"]).kill_on_drop(true);
    let mut pulse = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let control = folder.path().join(".hulse/control.sock");
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let children = format!("/proc/{0}/task/{0}/children", pulse.id().unwrap());
    while !control.exists() || fs::read_to_string(&children).unwrap().split(' ').count() < 3 {
        look.tick().await;
    }
    kill_process(pid_of(&pulse), Signal::TERM).unwrap();
    let ended = timeout(STOPPED, pulse.wait()).await.expect("it waits for nobody").unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_worker_that_dies_runs_the_program_its_release_was_begun_with() {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = with_environment("A", "b");
    let built = site_command(folder.path(), &surroundings);
    let built = built.as_std().get_program().to_owned();
    let program = folder.path().join("site");
    fs::copy(&built, &program).unwrap();
    let mut command = Command::new(&program);
    command.current_dir(folder.path()).env("HULSE_SETTINGS", folder.path().join("settings.toml"));
    command.args(["pulse", "-w", "1", "-b", "127.0.0.1:0"]);
    let mut pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
    // The file that a worker's program is, whatever its name has become.
    let runs = |pulse: &Pulse| {
        let worker = pulse.workers()[0].as_raw_nonzero();
        fs::metadata(format!("/proc/{worker}/exe")).unwrap().ino()
    };
    for is_reloaded in [false, true] {
        let before = fs::metadata(&program).unwrap().ino();
        assert_eq!(runs(&pulse), before);
        fs::copy(&built, program.with_file_name("next")).unwrap();
        fs::rename(program.with_file_name("next"), &program).unwrap();
        let after = fs::metadata(&program).unwrap().ino();
        assert_ne!(before, after);
        let seen = pulse.log().len();
        kill_process(pulse.workers()[0], Signal::KILL).unwrap();
        pulse.said_after(seen, "worker 1 is ready").await;
        assert_eq!(runs(&pulse), before, "after a reload: {is_reloaded}");
        let seen = pulse.log().len();
        pulse.manage(&["ctl", "reload"], &[]).await;
        pulse.said_after(seen, "the old worker 1 ended").await;
        assert_eq!(runs(&pulse), after);
    }
    assert_eq!(pulse.stop().await, 0);
}
