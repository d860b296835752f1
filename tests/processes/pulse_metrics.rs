//! Metrics and health, as Prometheus and a balancer ask for them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, Surroundings, Visitor, Wire};
use rustix::process::{Signal, kill_process};
use tokio::time::{Interval, interval};

/// Where the metrics are.
async fn metrics_of(pulse: &mut Pulse) -> String {
    let line = pulse.said("metrics are at http://").await;
    line.rsplit("http://").next().unwrap().trim().to_owned()
}

async fn ask(address: &str, path: &str) -> (u16, String) {
    let mut wire = Wire::connect(address).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let reply = wire.reply().await.unwrap();
    (reply.status, String::from_utf8(reply.body).unwrap())
}

/// Reads the text format as its specification says: every sample belongs to the family announced
/// last, names and labels are well-formed, no series is there twice, a histogram's buckets grow.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let (mut family, mut kind, mut last_bucket) = (String::new(), String::new(), 0.0);
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            let (name, announced_kind) = announced.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&announced_kind), "{line}");
            (family, kind, last_bucket) = (name.to_owned(), announced_kind.to_owned(), 0.0);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (bare, labels) = name.split_once('{').unwrap_or((name, "}"));
        let own = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| (kind == "histogram").then(|| bare.strip_suffix(end)).flatten());
        assert_eq!(own.unwrap_or(bare), family, "{line}");
        assert!(bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
        for label in labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty())
        {
            let (_, quoted) = label.split_once('=').unwrap();
            assert!(
                quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"'),
                "{line}"
            );
        }
        if bare.ends_with("_bucket") {
            assert!(value >= last_bucket, "{line}");
            last_bucket = value;
        }
        assert!(series.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    series
}

/// Asks until what is counted is `wanted`: workers tell it with their heartbeat.
async fn until(
    address: &str,
    wanted: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> BTreeMap<String, f64> {
    let mut beat: Interval = interval(Duration::from_millis(50));
    for _ in 0..400 {
        beat.tick().await;
        let (status, text) = ask(address, "/metrics").await;
        assert_eq!(status, 200);
        let series = parse(&text);
        if wanted(&series) {
            return series;
        }
    }
    panic!("{}", ask(address, "/metrics").await.1);
}

const OK: &str = "hulse_requests_total{method=\"GET\",status=\"2xx\"}";

#[tokio::test]
async fn metrics_are_those_of_all_workers_and_outlive_them() {
    let arguments = ["-w", "2", "--metrics-bind", "127.0.0.1:0", "--header-timeout", "1"];
    let few = ("HULSE_SERVER__GROUPS_PER_SOCKET".to_owned(), "1".to_owned());
    let surroundings =
        Surroundings { program: Program::Testsite, database: None, environment: vec![few] };
    let mut pulse = Pulse::start_in(surroundings, &arguments).await;
    let metrics = metrics_of(&mut pulse).await;
    let visits = (0..20).map(|_| async { Visitor::new(pulse.address()).get("/").await.status });
    assert!(join_all(visits).await.iter().all(|status| *status == 200));
    assert_eq!(Visitor::new(pulse.address()).get("/nowhere/").await.status, 404);
    let mut socket = Visitor::new(pulse.address()).socket("/echo/").await;
    socket.send("hello").await;
    assert_eq!(socket.frame().await.unwrap(), "hello");
    let mut loud = Visitor::new(pulse.address()).socket("/echo/").await;
    loud.send(&"x".repeat(1_048_577)).await;
    assert_eq!(loud.close_code().await, 1009);
    let mut feed = Visitor::new(pulse.address()).socket("/feed/one/").await;
    feed.send("two").await;
    let refused = feed.frame().await.unwrap();
    assert!(refused.contains("at most 1 groups"), "{refused}");
    // Cut off by the header timeout.
    Wire::connect(pulse.address()).await.closed().await;
    let series = until(&metrics, |series| {
        series.get(OK) == Some(&20.0)
            && series.get("hulse_socket_messages_total") == Some(&2.0)
            && series.get("hulse_socket_joins_refused_total") == Some(&1.0)
            && series.get("hulse_sockets_closed_total{code=\"1009\"}") == Some(&1.0)
            && series.get("hulse_sockets") == Some(&2.0)
            && series.get("hulse_clients_cut_total{why=\"header\"}").is_some_and(|cut| *cut >= 1.0)
    })
    .await;
    let is = |name: &str, value: f64| assert_eq!(series.get(name), Some(&value), "{name}");
    is("hulse_requests_total{method=\"GET\",status=\"4xx\"}", 1.0);
    is("hulse_requests_total{method=\"GET\",status=\"1xx\"}", 3.0);
    is("hulse_request_seconds_count", 24.0);
    is("hulse_request_seconds_bucket{le=\"+Inf\"}", 24.0);
    is("hulse_sockets_closed_total{code=\"1008\"}", 0.0);
    is("hulse_sockets", 2.0);
    is("hulse_requests_in_flight", 0.0);
    is("hulse_workers_ready", 2.0);
    is("hulse_database_away", 0.0);
    assert!(series["hulse_resident_bytes"] > 1e6 && series["hulse_open_descriptors"] > 10.0);
    assert!(series["hulse_bytes_total{direction=\"out\"}"] > 20.0 * 100.0);
    // What a dead worker has counted stays.
    let worker = pulse.workers()[0];
    kill_process(worker, Signal::KILL).unwrap();
    let series = until(&metrics, |series| {
        series.get("hulse_children_died_total") == Some(&1.0)
            && series.get("hulse_workers_ready") == Some(&2.0)
    })
    .await;
    assert_eq!(series[OK], 20.0);
}

#[tokio::test]
async fn it_is_told_how_the_databases_connections_are_used() {
    let arguments = ["-w", "1", "--metrics-bind", "127.0.0.1:0"];
    let mut pulse = Pulse::start_testsite(&arguments).await;
    let metrics = metrics_of(&mut pulse).await;
    // SQLite has one connection that writes.
    let address = pulse.address();
    let writes = (0..30)
        .map(|n| async move { Visitor::new(address).get(&format!("/rows/{n}/")).await.status });
    assert!(join_all(writes).await.iter().all(|status| *status == 200));
    let series = until(&metrics, |series| {
        series.get("hulse_database_waits_total").is_some_and(|waits| *waits >= 1.0)
            && series.get("hulse_database_connections{state=\"used\"}") == Some(&0.0)
    })
    .await;
    assert!(series["hulse_database_connections{state=\"idle\"}"] >= 1.0);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn health_is_told_apart_from_readiness() {
    let arguments = ["-w", "1", "--metrics-bind", "127.0.0.1:0"];
    let mut pulse = Pulse::start_testsite(&arguments).await;
    let metrics = metrics_of(&mut pulse).await;
    assert_eq!(ask(&metrics, "/healthz").await, (200, "up\n".to_owned()));
    assert_eq!(ask(&metrics, "/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(ask(&metrics, "/").await.0, 404);
    // A worker that hangs changes no answer; one that is gone does.
    kill_process(pulse.workers()[0], Signal::STOP).unwrap();
    assert_eq!(ask(&metrics, "/healthz").await.0, 200);
    kill_process(pulse.workers()[0], Signal::CONT).unwrap();
    // While a request runs on, no new visitors are wanted.
    let mut slow = Wire::connect(pulse.address()).await;
    slow.send("GET /slow/1500/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    pulse.said("slow begins").await;
    pulse.signal(Signal::TERM);
    pulse.said("stopping").await;
    assert_eq!(ask(&metrics, "/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(ask(&metrics, "/healthz").await.0, 200);
    assert_eq!(slow.reply().await.unwrap().status, 200);
    assert_eq!(pulse.ended().await.code(), Some(0));
}
