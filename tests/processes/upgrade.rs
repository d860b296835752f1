//! USR2: another arbiter takes over, or nothing changes.

use std::fs;
use std::os::unix::net::UnixStream;

use hulse_tests::{Pulse, Visitor};
use rustix::process::Signal;
use serde_json::Value;

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
