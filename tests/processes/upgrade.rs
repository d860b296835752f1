//! USR2: another arbiter takes over, or nothing changes.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use hulse_tests::{Program, Pulse, Surroundings, Visitor, site_command, site_folder_of};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::crowd::Crowd;

#[tokio::test]
async fn a_successor_takes_over_and_no_request_fails() {
    let arguments = ["-w", "2", "-p", "site.pid", "-b", "unix:site.sock"];
    let mut pulse = Pulse::start_testsite(&arguments).await;
    let (pid_file, socket) = (pulse.folder().join("site.pid"), pulse.folder().join("site.sock"));
    let before = fs::read_to_string(&pid_file).unwrap();
    let mut visitor = Visitor::new(pulse.address()).socket("/feed/news/").await;
    let (crowd, seen) = (Crowd::come(pulse.address(), 4, 4), pulse.log().len());
    pulse.signal(Signal::USR2);
    pulse.said_after(seen, "handed over to the successor").await;
    assert_eq!(visitor.close_code().await, 1012);
    assert_eq!(pulse.ended().await.code(), Some(0));
    let answered = pulse.log().len();
    crowd.answered(200).await;
    let seen = crowd.go().await;
    assert!(seen.failures.is_empty() && seen.last > 0, "{seen:?}");
    assert!(!pulse.log()[answered..].contains("ERROR"), "{}", pulse.log());

    let status: Value = pulse.status().await;
    assert_eq!((&status["state"], &status["workers"]), (&"serving".into(), &2.into()));
    let process = status["process"].as_i64().unwrap();
    assert_ne!(process, i64::from(pulse.arbiter().as_raw_nonzero().get()));
    assert_ne!(fs::read_to_string(&pid_file).unwrap(), before);
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), process.to_string());
    UnixStream::connect(&socket).unwrap();
    // It is an arbiter as any other.
    pulse.manage(&["ctl", "reload"], &[]).await;
    pulse.manage(&["ctl", "stop"], &[]).await;
    pulse.all_ended().await;
    assert!(!pid_file.exists() && !socket.exists());
    assert_eq!(fs::read_dir(pulse.folder().join(".hulse")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_successor_that_cannot_start_changes_nothing() {
    let arguments = ["-w", "1", "-p", "site.pid", "-b", "unix:site.sock"];
    let mut pulse = Pulse::start_testsite(&arguments).await;
    let (pid_file, worker) = (pulse.folder().join("site.pid"), pulse.workers()[0]);
    fs::write(pulse.folder().join("die-at-start"), "").unwrap();
    let seen = pulse.log().len();
    pulse.signal(Signal::USR2);
    pulse.said_after(seen, "the successor ended").await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    UnixStream::connect(pulse.folder().join("site.sock")).unwrap();
    assert_eq!(pulse.workers(), [worker]);
    assert_eq!(pulse.status().await["process"], pulse.arbiter().as_raw_nonzero().get());
    let process = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(process.trim(), pulse.arbiter().as_raw_nonzero().get().to_string());
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_successor_that_hangs_is_given_up() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--start-timeout", "2"]).await;
    fs::write(pulse.folder().join("hang-as-successor"), "").unwrap();
    let (worker, seen) = (pulse.workers()[0], pulse.log().len());
    pulse.signal(Signal::USR2);
    pulse.said_after(seen, "the successor does not get ready").await;
    pulse.said_after(seen, "the successor ended").await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.workers(), [worker]);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_successor_may_be_another_program() {
    let folder = site_folder_of(Program::Testsite);
    let name = format!("hulse-upgrade-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let surroundings = Surroundings { program: Program::Testsite, ..Surroundings::default() };
    let built = site_command(folder.path(), &surroundings);
    let built = Path::new(built.as_std().get_program()).to_owned();
    let program = folder.path().join("site");
    fs::copy(&built, &program).unwrap();
    let mut command = Command::new(&program);
    command.current_dir(folder.path()).env("HULSE_SETTINGS", folder.path().join("settings.toml"));
    command
        .args(["pulse", "-w", "1", "-b", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", format!("@{name}"));
    let mut pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/process/").await.status, 200);

    // One that has no pages.
    let other = program.with_file_name("other");
    fs::copy(built.with_file_name("growing"), &other).unwrap();
    fs::rename(&other, &program).unwrap();
    let seen = pulse.log().len();
    pulse.signal(Signal::USR2);
    pulse.said_after(seen, "handed over to the successor").await;
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert_eq!(visitor.get("/process/").await.status, 404);
    let process = pulse.status().await["process"].to_string();
    assert_ne!(process, pulse.arbiter().as_raw_nonzero().to_string());
    let mut said = [0; 4096];
    loop {
        let count = manager.recv(&mut said).unwrap();
        let said = String::from_utf8_lossy(&said[..count]);
        if said.contains("handed over") {
            assert!(said.contains(&format!("MAINPID={process}\n")), "{said}");
            break;
        }
    }
    pulse.manage(&["ctl", "stop"], &[]).await;
    pulse.all_ended().await;
}
