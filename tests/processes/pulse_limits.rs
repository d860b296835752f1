//! How many may come at once, and whom the server believes who comes.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{
    Program, Pulse, Reply, Surroundings, Visitor, Wire, site_command, site_folder_of,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::interval;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Asks for `path` on a connection of its own, with more bytes in front and more headers.
async fn ask(pulse: &Pulse, before: &[u8], path: &str, headers: &str) -> Option<Reply> {
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(before).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
    wire.reply().await
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--max-connections-per-address", "2"]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(pulse.address()).await;
        wire.send(GET).await;
        assert_eq!(wire.reply().await.unwrap().status, 200);
        held.push(wire);
    }
    let mut third = Wire::connect(pulse.address()).await;
    let reply = third.reply().await.unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert!(third.is_closed().await);
    // A place is free once the server has seen its connection end.
    drop(held.pop());
    let mut status = 503;
    while status == 503 {
        status = ask(&pulse, b"", "/", "").await.unwrap().status;
    }
    assert_eq!(status, 200);
}

#[tokio::test]
async fn websockets_have_a_bound_of_their_own() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--max-sockets", "1"]).await;
    let mut visitor = Visitor::new(pulse.address());
    let first = visitor.socket("/echo/").await;
    assert_eq!(visitor.try_socket("/echo/").await.err(), Some(503));
    assert_eq!(visitor.get("/").await.status, 200);
    assert_eq!(first.close().await, 1000);
    while visitor.try_socket("/echo/").await.is_err() {}
}

/// Twelve that ask for a slow page at once: the status, when to come again, and how long it took.
async fn crowd(pulse: &Pulse) -> Vec<(u16, Option<String>, Duration)> {
    let answers = (0..12).map(|_| async {
        let begun = Instant::now();
        let reply = ask(pulse, b"", "/slow/3000/", "").await.unwrap();
        (reply.status, reply.header("retry-after").map(str::to_owned), begun.elapsed())
    });
    join_all(answers).await
}

#[tokio::test]
async fn requests_that_would_wait_too_long_are_told_so_at_once() {
    let environment = [("HULSE_SERVER__REQUESTS_QUEUE", "1"), ("HULSE_SERVER__REQUESTS_WAIT", "1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Default::default() };
    let pulse = Pulse::start_in(surroundings, &["-w", "1", "--max-concurrent-requests", "2"]).await;
    // Who only listens takes no place.
    let mut polls = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::connect(pulse.address()).await;
        wire.send("GET /stream/?join=chat/a&wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        polls.push(wire);
    }
    // They come to that a moment later.
    let (mut answers, mut served) = (Vec::new(), 0);
    while served < 2 {
        answers = crowd(&pulse).await;
        served = answers.iter().filter(|(status, ..)| *status == 200).count();
    }
    let shed: Vec<_> = answers.iter().filter(|(status, ..)| *status == 503).collect();
    assert_eq!((served, shed.len()), (2, 10), "{answers:?}");
    assert!(shed.iter().all(|(_, retry, _)| retry.as_deref() == Some("1")));
    let at_once = shed.iter().filter(|(.., took)| *took < Duration::from_millis(900)).count();
    assert!(at_once >= 9, "one of them waits its second: {answers:?}");
    assert_eq!(ask(&pulse, b"", "/", "").await.unwrap().status, 200);
}

/// What `/who/` says of who asks.
async fn who(pulse: &Pulse, before: &[u8], headers: &str) -> (String, String, String, String) {
    let reply = ask(pulse, before, "/who/", headers).await.unwrap();
    let seen: Value = serde_json::from_slice(&reply.body).unwrap();
    let text = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(reply.header("x-request-id"), Some(text("id").as_str()));
    (text("address"), text("scheme"), text("host"), text("id"))
}

const TOLD: &str = "X-Forwarded-For: 9.9.9.9, 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
                    X-Forwarded-Host: www.localhost\r\nX-Request-ID: abc-123\r\n\
                    X_Forwarded_For: 7.7.7.7\r\nX_Forwarded_Host: evil.example\r\n\
                    Forwarded: for=8.8.8.8\r\n";

#[tokio::test]
async fn a_proxy_is_believed_if_it_is_listed() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--proxy-headers", "127.0.0.1"]).await;
    let (address, scheme, host, id) = who(&pulse, b"", TOLD).await;
    let seen = (address.as_str(), scheme.as_str(), host.as_str(), id.as_str());
    assert_eq!(seen, ("1.2.3.4", "https", "www.localhost", "abc-123"));
    let line = pulse.said("somebody asks").await;
    assert!(line.contains("abc-123"), "{line}");
    let (.., id) = who(&pulse, b"", "X-Request-ID: a b\r\n").await;
    assert_eq!(id.len(), 16, "a malformed id is replaced: {id}");
    let foreign = ask(&pulse, b"", "/who/", "X-Forwarded-Host: evil.example\r\n").await.unwrap();
    assert_eq!(foreign.status, 400);
    let broken = ask(&pulse, b"", "/who/", "X-Forwarded-Host: a/b\r\n").await.unwrap();
    assert_eq!(broken.status, 400);
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--proxy-headers", "10.0.0.0/8,unix"]).await;
    let (address, scheme, host, id) = who(&pulse, b"", TOLD).await;
    let seen = (address.as_str(), scheme.as_str(), host.as_str());
    assert_eq!(seen, ("127.0.0.1", "http", "localhost"));
    assert_ne!(id, "abc-123");
}

#[tokio::test]
async fn the_standard_header_is_read_where_the_settings_say_so() {
    let environment = vec![("HULSE_SERVER__FORWARDING".to_owned(), "forwarded".to_owned())];
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Default::default() };
    let pulse = Pulse::start_in(surroundings, &["-w", "1", "--proxy-headers", "127.0.0.1"]).await;
    assert_eq!(who(&pulse, b"", TOLD).await.0, "8.8.8.8");
}

#[tokio::test]
async fn the_proxy_protocol_tells_who_is_there() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--proxy-protocol", "127.0.0.1"]).await;
    let (address, ..) = who(&pulse, b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n", "").await;
    assert_eq!(address, "1.2.3.4");
    let two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x05\x05\x06\x07\x08\x03\xe8\0\x50";
    assert_eq!(who(&pulse, two, "").await.0, "1.2.3.5");
    assert_eq!(who(&pulse, b"PROXY UNKNOWN\r\n", "").await.0, "127.0.0.1");
    assert!(ask(&pulse, b"", "/who/", "").await.is_none(), "who is listed has to speak it");
}

#[tokio::test]
async fn an_access_line_says_what_happened_and_no_secret() {
    let mut pulse =
        Pulse::start_testsite(&["-w", "1", "--access-log", "--log-format", "json"]).await;
    let headers = "User-Agent: \"odd\"\x09agent\r\nConnection: close\r\n";
    let reply = ask(&pulse, b"", "/large/1234/?token=secret", headers).await.unwrap();
    assert_eq!(reply.body.len(), 1234);
    let line = pulse.said("hulse::access").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let fields = &line["fields"];
    assert_eq!(fields["message"], "GET /large/1234/");
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["bytes"], 1234);
    assert_eq!(fields["remote"], "127.0.0.1");
    assert_eq!(fields["agent"], "\"odd\"\tagent");
    assert!(fields["millis"].as_f64().is_some_and(|millis| millis < 5000.0), "{line}");
    assert_eq!(line["request"]["id"].as_str(), reply.header("x-request-id"));
    assert!(!pulse.log().contains("secret"), "{}", pulse.log());
}

#[tokio::test]
async fn a_log_nobody_reads_stops_no_request() {
    const REQUESTS: usize = 1000;
    let folder = site_folder_of(Program::Testsite);
    let surroundings = Surroundings { program: Program::Testsite, ..Default::default() };
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["pulse", "-w", "1", "-b", "127.0.0.1:0", "--migrate", "--access-log", "-t", "2"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut pulse = command.spawn().unwrap();
    let mut said = BufReader::new(pulse.stdout.take().unwrap()).lines();
    let line = said.next_line().await.unwrap().unwrap();
    let address = line.rsplit("http://").next().unwrap();
    // The pipe holds 64 KiB: some 300 of these lines.
    let mut wire = Wire::connect(address).await;
    for _ in 0..REQUESTS {
        wire.send(GET).await;
        assert_eq!(wire.reply().await.unwrap().status, 200);
    }
}

/// Twice as many requests as can be answered, whoever is answered when: who comes does not wait
/// for who came before.
#[tokio::test]
async fn at_twice_what_can_be_answered_as_much_is_answered_as_ever() {
    const AT_ONCE: u32 = 8;
    const TAKES: Duration = Duration::from_millis(100);
    let time = Duration::from_secs(3);
    let environment =
        [("HULSE_SERVER__REQUESTS_QUEUE", "16"), ("HULSE_SERVER__REQUESTS_WAIT", "1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let surroundings =
        Surroundings { program: Program::Testsite, environment, ..Default::default() };
    let most = AT_ONCE.to_string();
    let arguments = ["-w", "1", "--max-concurrent-requests", &most];
    let pulse = Arc::new(Pulse::start_in(surroundings, &arguments).await);
    let (begun, mut pace) = (Instant::now(), interval(TAKES / AT_ONCE / 2));
    let mut visitors = Vec::new();
    while begun.elapsed() < time {
        pace.tick().await;
        let pulse = Arc::clone(&pulse);
        visitors.push(tokio::spawn(async move {
            let begun = Instant::now();
            let reply = ask(&pulse, b"", "/slow/100/", "").await?;
            Some((reply.status, begun.elapsed()))
        }));
    }
    let came = visitors.len();
    let told = join_all(visitors).await.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>();
    // A busy machine may reset one.
    assert!(told.len() + 1 >= came, "{} of {came} were told", told.len());
    let (served, shed): (Vec<_>, Vec<_>) = told.into_iter().partition(|(status, _)| *status == 200);
    assert!(shed.iter().all(|(status, _)| *status == 503));
    let mut took: Vec<Duration> = served.iter().map(|(_, took)| *took).collect();
    took.sort();
    let last = took[took.len() * 99 / 100];
    let capacity = time.as_secs_f64() / TAKES.as_secs_f64() * f64::from(AT_ONCE);
    let goodput = served.len() as f64 / capacity;
    println!("{came} came where {capacity} can be answered: {goodput:.2} of that, p99 {last:?}");
    assert!(goodput > 0.5, "{goodput}");
    // The queue takes two of its turns; the rest is the machine's.
    assert!(last < TAKES * 30, "{last:?}");
}
