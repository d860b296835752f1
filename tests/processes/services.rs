//! Services under a real `pulse`: processes of their own, watched and replaced.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Network, Program, Pulse, RedisServer, Surroundings, Visitor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(30);

async fn start(kind: &str, arguments: &[&str]) -> Pulse {
    let environment = vec![("TESTSITE_SERVICES".to_owned(), kind.to_owned())];
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Surroundings::default() };
    let mut pulse = Pulse::start_in(surroundings, arguments).await;
    pulse.said("service clock").await;
    pulse
}

/// What the service answers a view that asks for this.
async fn ask(pulse: &Pulse, wish: &str) -> String {
    Visitor::new(pulse.address()).get(&format!("/service/{wish}/")).await.body
}

/// Which process it is. A question may come into the hands of one that has just died: then there
/// is no answer, and it is asked again.
async fn process(pulse: &Pulse) -> i64 {
    let answered = async {
        loop {
            if let Ok(process) = ask(pulse, "process").await.parse() {
                return process;
            }
        }
    };
    timeout(WAIT, answered).await.unwrap()
}

fn services(status: &Value) -> Vec<Value> {
    let children = status["children"].as_array().unwrap().iter();
    children.filter(|child| child["role"] == "service").cloned().collect()
}

/// Asks again and again until the status of the one service is as it should be.
async fn service_where(pulse: &Pulse, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            if let [service] = &services(&pulse.status().await)[..]
                && wanted(service)
            {
                return service.clone();
            }
        }
    };
    timeout(WAIT, found).await.unwrap()
}

fn kill(process: i64, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_service_has_a_process_of_its_own_and_is_seen() {
    let pulse = start("one", &["-w", "4"]).await;
    let mut feed = Visitor::new(pulse.address()).socket("/feed/clock/").await;
    let service = service_where(&pulse, |service| service["state"] == "ready").await;
    assert_eq!(process(&pulse).await, service["process"].as_i64().unwrap());
    let workers = pulse.workers();
    assert!(workers.iter().all(|id| i64::from(id.as_raw_nonzero().get()) != service["process"]));
    // It ticks, and everybody hears it.
    let first: i64 = feed.frame().await.unwrap().parse().unwrap();
    let second: i64 = feed.frame().await.unwrap().parse().unwrap();
    assert_eq!(second, first + 1);
    for _ in 0..5 {
        ask(&pulse, "add").await;
    }
    assert_eq!(ask(&pulse, "sum").await, "5");
    let service = service_where(&pulse, |service| service["handled"] == 7).await;
    assert_eq!((&service["name"], &service["restarts"]), (&"clock".into(), &0.into()));
    assert_eq!((&service["title"], &service["mailbox"]), (&"service clock".into(), &0.into()));
    let text = pulse.manage(&["ctl", "status"], &[]).await;
    let line = text.lines().find(|line| line.starts_with("clock ")).unwrap();
    assert!(line.contains("ready") && line.contains(" 7 "), "{text}");
    // What waits for it is counted.
    fs::write(pulse.folder().join("hold"), "").unwrap();
    ask(&pulse, "hold").await;
    ask(&pulse, "add").await;
    ask(&pulse, "add").await;
    service_where(&pulse, |service| service["mailbox"] == 2).await;
    fs::remove_file(pulse.folder().join("hold")).unwrap();
    assert_eq!(ask(&pulse, "sum").await, "7");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_service_that_dies_hangs_or_panics_is_replaced_and_what_waits_is_answered() {
    let mut pulse = start("one", &["-w", "1", "-t", "2"]).await;
    let (first, hold) = (process(&pulse).await, pulse.folder().join("hold"));
    fs::write(&hold, "").unwrap();
    ask(&pulse, "hold").await;
    pulse.said("the clock holds something").await;
    ask(&pulse, "add").await;
    ask(&pulse, "add").await;
    kill(first, Signal::KILL);
    fs::remove_file(hold).unwrap();
    // What was in its hands is gone with it, its mailbox is not.
    assert_eq!(ask(&pulse, "sum").await, "2");
    assert!(!pulse.log().contains("the clock lets it go"), "{}", pulse.log());
    let second = process(&pulse).await;
    assert_ne!(first, second);
    service_where(&pulse, |service| service["restarts"] == 1).await;
    ask(&pulse, "panic").await;
    let third = process(&pulse).await;
    assert_ne!(second, third);
    pulse.said("it panicked: as was wished").await;
    let seen = pulse.log().len();
    kill(third, Signal::STOP);
    pulse.said_after(seen, "service clock is silent, killing it").await;
    pulse.said_after(seen, "service clock is ready").await;
    assert_ne!(process(&pulse).await, third);
    let status = pulse.status().await;
    assert_eq!(
        (services(&status)[0]["restarts"].clone(), status["deaths"].clone()),
        (3.into(), 3.into())
    );
    assert_eq!(status["state"], "serving");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn one_that_cannot_start_holds_up_nobody() {
    let mut pulse = start("broken", &["-w", "1"]).await;
    pulse.said("service clock cannot start: starting: no other system there").await;
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    pulse.said("wait=200ms").await;
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_its_hands_and_lets_it_put_things_away() {
    let mut pulse = start("one", &["-w", "1"]).await;
    let (seen, hold) = (pulse.log().len(), pulse.folder().join("hold"));
    fs::write(&hold, "").unwrap();
    ask(&pulse, "hold").await;
    pulse.said_after(seen, "the clock holds something").await;
    // A visitor whose answer needs it, on its way as the site stops.
    let address = pulse.address().to_owned();
    let asked =
        tokio::spawn(async move { Visitor::new(&address).get("/service/late/").await.body });
    pulse.said_after(seen, "late begins").await;
    pulse.signal(Signal::TERM);
    pulse.said_after(seen, "stopping").await;
    fs::remove_file(hold).unwrap();
    assert_eq!(asked.await.unwrap(), "0");
    assert_eq!(pulse.ended().await.code(), Some(0));
    pulse.all_ended().await;
    let log = pulse.log();
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("{words}: {log}"));
    assert!(at("the clock lets it go") < at("the clock is put away"));
    assert!(at("worker 1 ended") < at("the clock is put away"));
    assert!(at("the clock is put away") < at("the store ended"));
}

#[tokio::test]
async fn one_that_does_not_stop_in_time_is_killed_and_none_outlives_the_arbiter() {
    let mut pulse = start("one", &["-w", "1", "--graceful-timeout", "1"]).await;
    let (seen, hold) = (pulse.log().len(), pulse.folder().join("hold"));
    fs::write(&hold, "").unwrap();
    ask(&pulse, "hold").await;
    pulse.said_after(seen, "the clock holds something").await;
    pulse.signal(Signal::TERM);
    assert_eq!(pulse.ended().await.code(), Some(0));
    pulse.all_ended().await;
    assert!(!pulse.log().contains("the clock is put away"), "{}", pulse.log());

    let mut pulse = start("one", &["-w", "1"]).await;
    process(&pulse).await;
    pulse.signal(Signal::KILL);
    pulse.all_ended().await;
    pulse.said("the clock is put away").await;
}

#[tokio::test]
async fn a_reload_replaces_it_and_two_are_never_at_work() {
    let mut pulse = start("one", &["-w", "1"]).await;
    let (before, seen) = (process(&pulse).await, pulse.log().len());
    pulse.manage(&["ctl", "reload"], &[]).await;
    pulse.said_after(seen, "the old service clock ended").await;
    pulse.said_after(seen, "service clock is ready").await;
    let service = service_where(&pulse, |service| service["generation"] == 2).await;
    assert_eq!(service["restarts"], 0);
    assert_ne!(process(&pulse).await, before);
    let log = &pulse.log()[seen..];
    let at = |words: &str| log.find(words).unwrap();
    assert!(at("the clock is put away") < at("service clock is ready"), "{log}");
    assert!(at("reloaded") < at("the clock is put away"), "{log}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn of_two_that_are_to_be_alone_the_other_goes_on() {
    let pulse = start("alone", &["-w", "1"]).await;
    let ready = |status: &Value| {
        services(status).iter().filter(|service| service["state"] == "ready").count()
    };
    let both = async { while ready(&pulse.status().await) < 2 {} };
    timeout(WAIT, both).await.unwrap();
    let first = process(&pulse).await;
    for _ in 0..10 {
        assert_eq!(process(&pulse).await, first);
    }
    kill(first, Signal::KILL);
    let second = process(&pulse).await;
    assert_ne!(second, first);
    let standing_by = services(&pulse.status().await);
    assert_eq!(standing_by.len(), 2, "{standing_by:?}");
    assert_eq!(pulse.stop().await, 0);
}

/// What the holder and its heirs do in time is tried without waiting in `services/run`; this is the
/// same over a wire, and takes as long as the lock lasts.
#[tokio::test]
async fn who_is_alone_behind_a_cut_wire_has_ended_when_another_goes_on() {
    if std::env::var_os("HULSE_TEST_LONG").is_none_or(|long| long.is_empty()) {
        return;
    }
    // Silent, and closed under its hands.
    for is_closed in [false, true] {
        let Some(server) = RedisServer::start().await else { return };
        let network = Network::before(&server.host()).await;
        let url = |host: &str| format!("redis://{host}");
        let (near, far) = (url(&server.host()), url(network.host()));
        let mut here = start("alone", &["-w", "1", "--data-store", &far]).await;
        here.said("service clock is at work").await;
        let mut there = start("alone", &["-w", "1", "--data-store", &near]).await;
        assert!(!there.log().contains("is at work"), "{}", there.log());
        let cut = Instant::now();
        if is_closed {
            network.cut();
        }
        network.freeze();
        there.said("service clock is at work").await;
        println!("another one goes on {:?} after the cut ({is_closed})", cut.elapsed());
        assert!(here.log().contains("another one may be at work"), "{}", here.log());
        assert!(cut.elapsed() < Duration::from_secs(12), "{:?}", cut.elapsed());
        network.thaw();
        assert_eq!((here.stop().await, there.stop().await), (0, 0));
    }
}

#[tokio::test]
async fn several_of_a_service_share_what_it_is_sent() {
    let pulse = start("three", &["-w", "1"]).await;
    let all = async {
        let mut seen = BTreeSet::new();
        while seen.len() < 3 {
            let asked = join_all((0..3).map(|_| process(&pulse))).await;
            seen.extend(asked);
        }
        seen
    };
    let seen = timeout(WAIT, all).await.unwrap();
    let of_status = services(&pulse.status().await);
    let of_status = of_status.iter().map(|service| service["process"].as_i64().unwrap());
    assert_eq!(of_status.collect::<BTreeSet<_>>(), seen);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn with_the_store_inside_the_worker_services_are_there_too() {
    let environment = vec![("TESTSITE_SERVICES".to_owned(), "one".to_owned())];
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Surroundings::default() };
    let pulse = Pulse::start_in(surroundings, &["--data-store", "memory://"]).await;
    let worker = pulse.workers()[0].as_raw_nonzero().get();
    assert_eq!(process(&pulse).await, i64::from(worker));
    assert!(services(&pulse.status().await).is_empty());
    assert_eq!(pulse.stop().await, 0);
}
