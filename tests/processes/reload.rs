//! Reloading: other workers take over while the site goes on, or the old ones stay.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{
    Program, Pulse, Surroundings, Visitor, VisitorSocket, site_command, site_folder_of,
};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::crowd::Crowd;

/// All workers are replaced within this time if nothing else runs. Figures of others: nginx 0.14 s.
const REPLACED: Duration = Duration::from_secs(5);
/// The same beside other tests.
const REPLACED_BESIDE: Duration = Duration::from_secs(20);

/// Set: the whole experiment, which takes minutes.
const FULL: &str = "HULSE_TEST_LONG";

/// How much of it.
struct Size {
    reloads: usize,
    requests: usize,
    sockets: usize,
    replaced: Duration,
}

fn size() -> Size {
    match std::env::var_os(FULL).filter(|value| !value.is_empty()) {
        Some(_) => Size { reloads: 20, requests: 100_000, sockets: 100, replaced: REPLACED },
        None => Size { reloads: 3, requests: 2000, sockets: 40, replaced: REPLACED_BESIDE },
    }
}

fn ids(workers: &[Pid]) -> BTreeSet<i32> {
    workers.iter().map(|worker| worker.as_raw_nonzero().get()).collect()
}

/// The workers of this generation that serve.
fn ready_workers(status: &Value, generation: usize) -> Vec<i64> {
    let children = status["children"].as_array().unwrap().iter();
    let serve = children.filter(|child| child["role"] == "worker" && child["state"] == "ready");
    let new = serve.filter(|child| child["generation"] == generation);
    new.map(|child| child["process"].as_i64().unwrap()).collect()
}

/// One reload, from outside; what was said.
async fn reload(pulse: &Pulse) -> String {
    pulse.manage(&["ctl", "reload"], &[]).await
}

/// One that must fail; what was complained.
async fn reload_fails(pulse: &Pulse) -> String {
    let output = pulse.try_manage(&["ctl", "reload"], &[]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// A reload is over before those it has replaced are.
async fn all_old_have_ended(pulse: &mut Pulse, seen: usize, workers: usize) {
    for number in 1..=workers {
        pulse.said_after(seen, &format!("the old worker {number} ended")).await;
    }
}

#[tokio::test]
async fn reloads_under_load_fail_no_request_and_refuse_nobody() {
    let Size { reloads, requests, replaced, .. } = size();
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let crowd = Crowd::come(pulse.address(), 8, 4);
    let mut slowest = Duration::ZERO;
    for number in 0..reloads {
        let (before, begun) = (ids(&pulse.workers()), Instant::now());
        reload(&pulse).await;
        slowest = slowest.max(begun.elapsed());
        let status = pulse.status().await;
        assert_eq!(status["generation"], 2 + number);
        let ready = ready_workers(&status, 2 + number);
        assert_eq!(ready.len(), 2, "{status}");
        assert!(ready.iter().all(|id| !before.contains(&i32::try_from(*id).unwrap())), "{status}");
    }
    timeout(Duration::from_secs(600), crowd.answered(requests)).await.unwrap();
    let seen = crowd.go().await;
    assert!(
        seen.failures.is_empty(),
        "{} of {}: {:?}",
        seen.failures.len(),
        seen.answered,
        seen.failures
    );
    assert!(seen.last > 0, "no answer said that it was a connection's last");
    assert!(slowest < replaced, "{slowest:?}");
    assert_eq!(pulse.status().await["deaths"], 0);
    println!("{reloads} reloads, {} requests, 0 failed, slowest {slowest:?}", seen.answered);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_hang_up_replaces_the_workers_and_keeps_the_store() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let (workers, store) = (ids(&pulse.workers()), pulse.store());
    let seen = pulse.log().len();
    pulse.signal(Signal::HUP);
    pulse.said_after(seen, "reloaded").await;
    all_old_have_ended(&mut pulse, seen, 2).await;
    assert!(ids(&pulse.workers()).is_disjoint(&workers));
    assert_eq!((pulse.workers().len(), pulse.store()), (2, store));
    // A terminal's or a service manager's signal to all reaches the workers too.
    rustix::process::kill_process(pulse.workers()[0], Signal::HUP).unwrap();
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.workers().len(), 2);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn an_idle_connection_is_told_before_it_is_closed() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut idle = TcpStream::connect(pulse.address()).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut answer = vec![0; 4096];
    let count = idle.read(&mut answer).await.unwrap();
    let first = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(first.ends_with("Hello World!\n"), "{first}");
    assert!(!first.to_lowercase().contains("connection: close"), "{first}");

    let seen = pulse.log().len();
    reload(&pulse).await;
    pulse.said_after(seen, "reloaded").await;
    idle.write_all(request).await.unwrap();
    let mut rest = String::new();
    idle.read_to_string(&mut rest).await.unwrap();
    assert!(rest.to_lowercase().contains("connection: close"), "{rest}");
    assert!(rest.ends_with("Hello World!\n"), "{rest}");
    pulse.said_after(seen, "the old worker 1 ended").await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_by_the_old_worker() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let (address, seen) = (pulse.address().to_owned(), pulse.log().len());
    let slow = tokio::spawn(async move { Visitor::new(&address).get("/slow/3000/").await.body });
    pulse.said_after(seen, "slow begins").await;
    reload(&pulse).await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(slow.await.unwrap(), "late\n");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn workers_that_die_at_their_start_leave_the_old_ones() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let workers = ids(&pulse.workers());
    fs::write(pulse.folder().join("die-at-start"), "").unwrap();
    let seen = pulse.log().len();
    let said = reload_fails(&pulse).await;
    assert!(said.contains("the new worker 1: signal: 6"), "{said}");
    pulse.said_after(seen, "the reload failed, 2 of 2 workers go on as they were").await;
    assert_eq!(ids(&pulse.workers()), workers);
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.status().await["generation"], 1);

    fs::remove_file(pulse.folder().join("die-at-start")).unwrap();
    reload(&pulse).await;
    let status = pulse.status().await;
    let ready: Vec<i64> = ready_workers(&status, 2);
    assert_eq!(ready.len(), 2, "{status}");
    assert!(ready.iter().all(|id| !workers.iter().any(|old| i64::from(*old) == *id)), "{status}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_build_that_wants_migrations_leaves_the_old_workers() {
    let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "1".to_owned())];
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Surroundings::default() };
    let folder = site_folder_of(Program::Testsite);
    let migrated = site_command(folder.path(), &surroundings).arg("migrate").output().await;
    assert!(migrated.unwrap().status.success());
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["pulse", "-w", "2", "-b", "127.0.0.1:0"]);
    let mut pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
    let workers = ids(&pulse.workers());
    // What the files have and the database has not.
    pulse.manage(&["migrate", "sessions", "zero"], &[]).await;
    let said = reload_fails(&pulse).await;
    assert!(said.contains("unapplied migration(s)"), "{said}");
    assert_eq!(ids(&pulse.workers()), workers);
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    pulse.manage(&["migrate"], &[]).await;
    let seen = pulse.log().len();
    reload(&pulse).await;
    all_old_have_ended(&mut pulse, seen, 2).await;
    assert!(ids(&pulse.workers()).is_disjoint(&workers));
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn workers_that_do_not_get_ready_leave_the_old_ones() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--start-timeout", "8"]).await;
    let workers = ids(&pulse.workers());
    fs::write(pulse.folder().join("hang-at-start"), "").unwrap();
    let said = reload_fails(&pulse).await;
    assert!(said.contains("it said nothing in time"), "{said}");
    fs::remove_file(pulse.folder().join("hang-at-start")).unwrap();
    assert_eq!(ids(&pulse.workers()), workers);
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn changed_settings_are_taken_or_named_and_broken_ones_refused() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--control", "here.sock"]).await;
    let file = pulse.folder().join("settings.toml");
    let control = [("HULSE_SERVER__CONTROL", "here.sock")];
    let asking = ["ctl", "--control", "here.sock", "reload"];

    fs::write(&file, "debug = true\n[server\n").unwrap();
    let output = pulse.try_manage(&["ctl", "ping"], &control).await;
    assert_eq!(output.status.code(), Some(2), "its own settings are broken");
    let seen = pulse.log().len();
    pulse.signal(Signal::HUP);
    let line = pulse.said_after(seen, "cannot reload, all goes on as it was").await;
    assert!(line.contains("settings.toml:2"), "{line}");

    let text = "debug = true\n[server]\nruntime_dir = \"elsewhere\"\n[log]\naccess = true\n\
                [channels]\nhistory_messages = 7\n";
    fs::write(&file, text).unwrap();
    let seen = pulse.log().len();
    pulse.manage(&asking, &[]).await;
    let line = pulse.said_after(seen, "a reload does not take these").await;
    assert!(line.contains("server.runtime_dir") && line.contains("settings.toml:3"), "{line}");
    assert!(line.contains("channels.history_messages") && !line.contains("log.access"), "{line}");
    let seen = pulse.log().len();
    assert_eq!(Visitor::new(pulse.address()).get("/process/").await.status, 200);
    pulse.said_after(seen, "/process/").await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn sockets_that_cannot_move_are_sent_on_with_1012() {
    let Size { sockets, .. } = size();
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let address = pulse.address().to_owned();
    let open = |_| async { Visitor::new(&address).socket("/staying/g/nobody/now/").await };
    let mut sockets: Vec<VisitorSocket> = join_all((0..sockets).map(open)).await;
    let mut places = Vec::new();
    for socket in &mut sockets {
        let at = socket.frame().await.unwrap();
        places.push(at.split(' ').nth(1).unwrap().to_owned());
    }
    pulse.manage(&["send-group", "g", "before"], &[]).await;
    let seen = pulse.log().len();
    reload(&pulse).await;
    let codes = join_all(sockets.iter_mut().map(VisitorSocket::close_code)).await;
    assert!(codes.iter().all(|code| *code == 1012), "{codes:?}");
    pulse.said_after(seen, "the old worker 2 ended").await;
    // Who comes back with his place has missed nothing, whatever was said meanwhile.
    pulse.manage(&["send-group", "g", "meanwhile"], &[]).await;
    for place in &places {
        let path = format!("/staying/g/nobody/{place}/");
        let mut back = Visitor::new(pulse.address()).socket(&path).await;
        assert!(back.frame().await.unwrap().ends_with(" true"), "all since then is there");
        assert_eq!(back.frame().await.unwrap(), "before");
        assert_eq!(back.frame().await.unwrap(), "meanwhile");
    }
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn who_is_sent_on_is_told_so_little_by_little() {
    const SOCKETS: u32 = 400;
    /// How many are told in a second.
    const PACE: u32 = 500;
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let address = pulse.address().to_owned();
    let open = |_| async { Visitor::new(&address).socket("/staying/g/nobody/now/").await };
    let mut sockets: Vec<VisitorSocket> = join_all((0..SOCKETS).map(open)).await;
    let reloading = reload(&pulse);
    let told = join_all(sockets.iter_mut().map(|socket| async {
        assert_eq!(socket.close_code().await, 1012);
        Instant::now()
    }));
    let (_, mut told) = tokio::join!(reloading, told);
    told.sort();
    let took = told[told.len() - 1] - told[0];
    println!("{SOCKETS} sockets are told to come back within {took:?}");
    let spread = Duration::from_secs(1) * SOCKETS / PACE;
    assert!(took > spread / 2 && took < spread * 5, "{took:?} instead of {spread:?}");
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_reload_ends_all() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    fs::write(pulse.folder().join("hang-at-start"), "").unwrap();
    let seen = pulse.log().len();
    pulse.signal(Signal::HUP);
    pulse.said_after(seen, "reloading").await;
    pulse.signal(Signal::TERM);
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(pulse.all_ended().await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_reload_asked_for_twice_is_done_twice() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let (one, two, three) = tokio::join!(reload(&pulse), reload(&pulse), reload(&pulse));
    for said in [one, two, three] {
        assert!(said.starts_with("1 workers of generation "), "{said}");
    }
    let status: Value = pulse.status().await;
    assert!((2..=4).contains(&status["generation"].as_u64().unwrap()), "{status}");
    assert_eq!(pulse.stop().await, 0);
}
