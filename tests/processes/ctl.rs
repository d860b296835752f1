//! `manage ctl`: looking at a running server and telling it what to do.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Output;
use std::time::Duration;

use hulse_tests::{Program, Pulse, Surroundings, Visitor, site_command, site_folder_of};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;

/// Longest wait for a state.
const WAIT: Duration = Duration::from_secs(30);

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Asks again and again until the status is as it should be.
async fn status_where(pulse: &Pulse, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let status = pulse.status().await;
            if wanted(&status) {
                return status;
            }
        }
    };
    timeout(WAIT, found).await.unwrap()
}

fn ready_workers(status: &Value) -> usize {
    let children = status["children"].as_array().unwrap().iter();
    children.filter(|child| child["role"] == "worker" && child["state"] == "ready").count()
}

#[tokio::test]
async fn the_status_tells_of_every_process() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    for _ in 0..10 {
        Visitor::new(pulse.address()).get("/").await;
    }
    let _socket = Visitor::new(pulse.address()).socket("/feed/news/").await;
    let sum = |status: &Value, key: &str| -> u64 {
        let children = status["children"].as_array().unwrap().iter();
        children.map(|child| child[key].as_u64().unwrap()).sum()
    };
    // A worker tells its numbers once a second.
    let status = status_where(&pulse, |s| sum(s, "requests") >= 11 && sum(s, "sockets") == 1).await;
    assert_eq!(status["state"], "serving");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["generation"], &status["deaths"]), (&1.into(), &0.into()));
    assert_eq!((&status["workers"], &status["data_store"]), (&2.into(), &"pulse://".into()));
    assert_eq!(status["process"], pulse.arbiter().as_raw_nonzero().get());
    assert_eq!(status["listening"][0], format!("http://{}", pulse.address()));
    assert_eq!(status["children"].as_array().unwrap().len(), 3);
    assert_eq!(ready_workers(&status), 2);
    let store = &status["children"][0];
    assert_eq!(store["role"], "store");
    assert_eq!(store["process"], pulse.store().unwrap().as_raw_nonzero().get());
    for child in status["children"].as_array().unwrap() {
        assert!(child["heard_seconds"].as_f64().unwrap() < 5.0, "{child}");
    }
    let text = pulse.manage(&["ctl", "status"], &[]).await;
    assert!(text.starts_with("hulse ") && text.contains("\nworker 2 "), "{text}");

    let connections = pulse.manage(&["ctl", "connections", "--json"], &[]).await;
    let connections: Value = serde_json::from_str(&connections).unwrap();
    assert_eq!(connections["sockets"], 1);
    let groups = pulse.manage(&["ctl", "groups", "--json"], &[]).await;
    let groups: Value = serde_json::from_str(&groups).unwrap();
    assert_eq!(groups["groups"], serde_json::json!({ "news": 1 }));
    assert_eq!(groups["silent_workers"], 0);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_ping_is_answered_and_a_stop_waits_for_the_end() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let arbiter = pulse.arbiter().as_raw_nonzero();
    let text = pulse.manage(&["ctl", "ping"], &[]).await;
    assert_eq!(text, format!("process {arbiter} answers\n"));
    let text = pulse.manage(&["ctl", "stop"], &[]).await;
    assert_eq!(text, format!("process {arbiter} has ended\n"));
    assert_eq!(pulse.ended().await.code(), Some(0));
    let output = pulse.try_manage(&["ctl", "ping"], &[]).await;
    let (code, words) = said(&output);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("the site is not running"), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
}

#[tokio::test]
async fn workers_are_added_and_taken_away() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    assert_eq!(pulse.manage(&["ctl", "scale", "3"], &[]).await, "3 workers from now on\n");
    status_where(&pulse, |status| ready_workers(status) == 3).await;
    pulse.signal(Signal::TTOU);
    status_where(&pulse, |status| ready_workers(status) == 2).await;
    pulse.signal(Signal::TTIN);
    status_where(&pulse, |status| ready_workers(status) == 3).await;
    pulse.manage(&["ctl", "scale", "1"], &[]).await;
    status_where(&pulse, |s| s["children"].as_array().unwrap().len() == 2).await;
    pulse.signal(Signal::TTOU);
    let status = status_where(&pulse, |status| status["workers"] == 1).await;
    assert_eq!((ready_workers(&status), &status["deaths"]), (1, &0.into()));
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    for wrong in ["0", "many", "-1"] {
        let output = pulse.try_manage(&["ctl", "scale", "--", wrong], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn one_worker_with_the_store_inside_cannot_become_two() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--data-store", "memory://"]).await;
    let (code, words) = said(&pulse.try_manage(&["ctl", "scale", "2"], &[]).await);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("memory://") && words.contains("pulse://"), "{words}");
    assert_eq!(pulse.manage(&["ctl", "reload"], &[]).await, "1 workers of generation 2 serve\n");
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_a_second_server_does_not_take_it() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let path = pulse.folder().join(".hulse/control.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = path.to_str().unwrap();
    let output = pulse.try_manage(&["pulse", "-b", "127.0.0.1:0", "--control", shown], &[]).await;
    let (code, words) = said(&output);
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("another server answers on"), "{words}");
    pulse.manage(&["ctl", "ping"], &[]).await;
    assert_eq!(pulse.stop().await, 0);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_a_dead_server_left_behind_is_replaced() {
    let folder = site_folder_of(Program::Testsite);
    let path = folder.path().join("left.sock");
    drop(UnixListener::bind(&path).unwrap());
    let pulse = Pulse::start_testsite(&["-w", "1", "--control", path.to_str().unwrap()]).await;
    let control = [("HULSE_SERVER__CONTROL", path.to_str().unwrap())];
    pulse.manage(&["ctl", "ping"], &control).await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn where_nobody_answers_there_is_one_line_and_exit_code_1() {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = Surroundings { program: Program::Testsite, ..Surroundings::default() };
    let mut command = site_command(folder.path(), &surroundings);
    let (code, words) = said(&command.args(["ctl", "status"]).output().await.unwrap());
    assert_eq!(code, Some(1), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    let mut command = site_command(folder.path(), &surroundings);
    let (code, _) = said(&command.args(["ctl", "explode"]).output().await.unwrap());
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn what_is_no_question_is_answered_and_what_is_too_long_hung_up_on() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let connect = || {
        let stream = UnixStream::connect(pulse.folder().join(".hulse/control.sock")).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream
    };
    let mut stream = connect();
    stream.write_all(b"{\"do\":\"explode\"}\n{\"do\":\"ping\"}\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut answer = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(answer()["ok"], false);
    assert_eq!(answer()["ok"], true);

    let mut stream = connect();
    stream.write_all(&vec![b'x'; 4096]).unwrap();
    let mut rest = Vec::new();
    // What it did not read makes the end a reset; a wait without an end is none.
    let ended = stream.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    // Silent ones take no place for ever, and nobody's place beyond theirs.
    let silent: Vec<UnixStream> = (0..16).map(|_| connect()).collect();
    pulse.manage(&["ctl", "ping"], &[]).await;
    drop(silent);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn what_is_no_socket_of_its_own_is_left_where_it_is() {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = Surroundings { program: Program::Testsite, ..Surroundings::default() };
    let file = folder.path().join("precious.txt");
    fs::write(&file, "precious").unwrap();
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["pulse", "-b", "127.0.0.1:0", "--migrate", "--control"]).arg(&file);
    let (code, words) = said(&command.output().await.unwrap());
    assert_eq!(code, Some(2), "{words}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    // Another's socket, which has come to the same place.
    let mut pulse = Pulse::start_testsite(&["-w", "1", "-b", "unix:site.sock"]).await;
    let paths = ["site.sock", ".hulse/control.sock"].map(|name| pulse.folder().join(name));
    let others = paths.clone().map(|path| {
        fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap()
    });
    pulse.signal(Signal::TERM);
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(paths.iter().all(|path| path.exists()), "{paths:?}");
    drop(others);
}

#[tokio::test]
async fn a_place_at_the_socket_is_free_once_its_taker_is_gone() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    // A reload that takes its time.
    fs::write(pulse.folder().join("hang-at-start"), "").unwrap();
    let connect = || UnixStream::connect(pulse.folder().join(".hulse/control.sock")).unwrap();
    for _ in 0..40 {
        let mut stream = connect();
        stream.write_all(b"{\"do\":\"reload\"}\n").unwrap();
    }
    // And who asks for something else, whose words have "stop" in them, may ask on.
    let stream = connect();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    (&stream).write_all(b"{\"do\":\"ping\",\"why\":\"stop\"}\n{\"do\":\"ping\"}\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains("\"ok\":true"), "{line}");
    }
}
