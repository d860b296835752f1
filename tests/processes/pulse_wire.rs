//! Requests as bytes: what the server makes of each, and whether the connection lives on.

use hulse_tests::{Pulse, Wire};

/// What is to come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection takes another request.
    Open,
    Closed,
}

use Then::{Closed, Open};

const HOST: &str = "Host: localhost\r\n";

fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\n{headers}\r\n")
}

fn upload(headers: &str, body: &str) -> String {
    format!("POST /upload/ HTTP/1.1\r\n{HOST}Content-Type: a/b\r\n{headers}\r\n{body}")
}

/// Name, request, status, and what becomes of the connection.
fn plain() -> Vec<(&'static str, String, u16, Then)> {
    vec![
        ("plain", get(HOST), 200, Open),
        ("asked to close", get("Host: localhost\r\nConnection: close\r\n"), 200, Closed),
        ("host with port", get("Host: localhost:80\r\n"), 200, Open),
        ("host in capitals, dot at its end", get("hOST: LOCALHOST.\r\n"), 200, Open),
        ("IPv6 host", get("Host: [::1]:8000\r\n"), 200, Open),
        ("no host", get(""), 400, Closed),
        ("two hosts", get("Host: localhost\r\nHost: localhost\r\n"), 400, Closed),
        ("two different hosts", get("Host: localhost\r\nHost: other\r\n"), 400, Closed),
        ("empty host", get("Host:\r\n"), 400, Closed),
        ("host with a slash", get("Host: localhost/x\r\n"), 400, Closed),
        ("host with a user", get("Host: a@localhost\r\n"), 400, Closed),
        ("host with a space", get("Host: local host\r\n"), 400, Closed),
        ("host with a bad port", get("Host: localhost:http\r\n"), 400, Closed),
        ("host with a huge port", get("Host: localhost:65536\r\n"), 400, Closed),
        ("foreign host", get("Host: evil.example\r\n"), 400, Open),
        ("host with bytes above ASCII", get("Host: l\u{f6}calhost\r\n"), 400, Closed),
        ("HTTP/1.0 with a host", format!("GET / HTTP/1.0\r\n{HOST}\r\n"), 200, Closed),
        ("HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n".into(), 200, Closed),
        (
            "HTTP/1.0 kept",
            format!("GET / HTTP/1.0\r\n{HOST}Connection: keep-alive\r\n\r\n"),
            200,
            Open,
        ),
        ("HTTP/0.9", "GET /\r\n\r\n".into(), 400, Closed),
        ("HTTP/1.2", format!("GET / HTTP/1.2\r\n{HOST}\r\n"), 400, Closed),
        ("HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0, Closed),
        ("no version's number", format!("GET / HTTP/x\r\n{HOST}\r\n"), 400, Closed),
        (
            "TLS where there is none",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n".into(),
            400,
            Closed,
        ),
        ("empty lines first", format!("\r\n\r\n{}", get(HOST)), 200, Open),
        ("bare LF, as nginx takes it", "GET / HTTP/1.1\nHost: localhost\n\n".into(), 200, Open),
        ("bare CR", format!("GET / HTTP/1.1\r\n{HOST}X: a\rb\r\n\r\n"), 400, Closed),
        ("NUL in a value", get("Host: localhost\r\nX: a\0b\r\n"), 400, Closed),
        ("control character in a value", get("Host: localhost\r\nX: a\u{1}b\r\n"), 400, Closed),
        ("NUL in a name", get("Host: localhost\r\nX\0Y: a\r\n"), 400, Closed),
        ("folded line", get("Host: localhost\r\nX: a\r\n b\r\n"), 400, Closed),
        ("folded first line", get(" X: a\r\nHost: localhost\r\n"), 400, Closed),
        ("space before a colon", get("Host : localhost\r\n"), 400, Closed),
        ("space inside a name", get("Host: localhost\r\nX Y: a\r\n"), 400, Closed),
        ("no name", get("Host: localhost\r\n: a\r\n"), 400, Closed),
        ("no colon", get("Host: localhost\r\nXY\r\n"), 400, Closed),
        ("value above ASCII", get("Host: localhost\r\nX: \u{e4}\r\n"), 200, Open),
        ("a hundred headers", get(&format!("{HOST}{}", "X: y\r\n".repeat(99))), 200, Open),
        ("too many headers", get(&format!("{HOST}{}", "X: y\r\n".repeat(101))), 431, Closed),
        ("too large a head", get(&format!("{HOST}X: {}\r\n", "y".repeat(40_000))), 431, Closed),
        ("endless head", format!("GET / HTTP/1.1\r\n{HOST}X: {}", "y".repeat(70_000)), 431, Closed),
    ]
}

fn targets() -> Vec<(&'static str, String, u16, Then)> {
    let line = |line: &str| format!("{line} HTTP/1.1\r\n{HOST}\r\n");
    vec![
        ("URL as target", line("GET http://localhost/"), 200, Open),
        ("URL of another host", line("GET http://evil.example/"), 400, Open),
        ("URL with a user", line("GET http://a:b@localhost/"), 400, Closed),
        ("URL of another kind", line("GET ftp://localhost/"), 400, Closed),
        ("no slash in front", line("GET index.html"), 400, Closed),
        ("backslash", line("GET \\"), 400, Closed),
        ("space in the target", line("GET /a b"), 400, Closed),
        ("target above ASCII", line("GET /\u{e4}/"), 404, Open),
        ("NUL in the target", line("GET /a\0b"), 400, Closed),
        ("no target", line("GET"), 400, Closed),
        ("star", line("OPTIONS *"), 204, Open),
        ("star with another method", line("GET *"), 400, Closed),
        ("very long target", line(&format!("GET /{}", "a".repeat(20_000))), 404, Open),
        ("tunnel", line("CONNECT localhost:80"), 405, Closed),
        ("TRACE", line("TRACE /"), 405, Closed),
        // No safe method: it lacks a token, as in Django.
        ("method nobody knows", line("BREW /"), 403, Open),
        ("method in small letters", line("get /"), 403, Open),
        ("method with a colon", line("G:T /"), 400, Closed),
        ("path that climbs", line("GET /../../etc/passwd"), 404, Open),
        ("encoded NUL", line("GET /a%00b/"), 404, Open),
        ("bad percent sign", line("GET /%zz/"), 404, Open),
    ]
}

fn bodies() -> Vec<(&'static str, String, u16, Then)> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let five = "5\r\nhello\r\n0\r\n\r\n";
    vec![
        ("length", upload("Content-Length: 5\r\n", "hello"), 200, Open),
        ("chunked", upload(chunked, five), 200, Open),
        ("chunked in capitals", upload("Transfer-Encoding: CHUNKED\r\n", five), 200, Open),
        ("chunk with an extension", upload(chunked, "5;a=b\r\nhello\r\n0\r\n\r\n"), 200, Open),
        ("chunked with a trailer", upload(chunked, "5\r\nhello\r\n0\r\nX: y\r\n\r\n"), 200, Open),
        (
            "chunked twice in a line",
            upload("Transfer-Encoding: chunked, chunked\r\n", five),
            400,
            Closed,
        ),
        ("chunked in two lines", upload(&chunked.repeat(2), five), 400, Closed),
        ("packed and chunked", upload("Transfer-Encoding: gzip, chunked\r\n", five), 501, Closed),
        ("chunked, then packed", upload("Transfer-Encoding: chunked, gzip\r\n", five), 400, Closed),
        ("identity", upload("Transfer-Encoding: identity\r\n", five), 400, Closed),
        ("chunked with a tab", upload("Transfer-Encoding: \u{b}chunked\r\n", five), 400, Closed),
        (
            "chunked in HTTP/1.0",
            format!("POST /upload/ HTTP/1.0\r\n{HOST}{chunked}\r\n{five}"),
            400,
            Closed,
        ),
        (
            "length, then chunked",
            upload(&format!("Content-Length: 5\r\n{chunked}"), five),
            200,
            Closed,
        ),
        (
            "chunked, then length",
            upload(&format!("{chunked}Content-Length: 5\r\n"), five),
            200,
            Closed,
        ),
        ("bad chunk size", upload(chunked, "g\r\nhello\r\n0\r\n\r\n"), 400, Closed),
        ("negative chunk size", upload(chunked, "-5\r\nhello\r\n0\r\n\r\n"), 400, Closed),
        (
            "huge chunk size",
            upload(chunked, "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
            400,
            Closed,
        ),
        ("chunk without its end", upload(chunked, "5\r\nhelloX\r\n0\r\n\r\n"), 400, Closed),
        (
            "something else expected",
            upload("Content-Length: 5\r\nExpect: tea\r\n", ""),
            417,
            Closed,
        ),
        (
            "body nobody reads",
            format!("GET / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello"),
            200,
            Open,
        ),
        (
            "two requests at once",
            format!("{}{}", upload("Content-Length: 5\r\n", "hello"), get(HOST)),
            200,
            Open,
        ),
    ]
}

/// Bytes that another server would take for a request of its own, behind what is doubtful.
fn smuggled() -> Vec<(&'static str, String, u16, Then)> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let five = "5\r\nhello\r\n0\r\n\r\n";
    vec![
        // Whoever in front went by the length would take the rest for another visitor's request.
        (
            "length, then chunked, with a request behind it",
            upload(&format!("Content-Length: 90\r\n{chunked}"), &format!("{five}{}", get(HOST))),
            200,
            Closed,
        ),
        (
            "chunked, then length, with a request behind it",
            upload(&format!("{chunked}Content-Length: 5\r\n"), &format!("{five}{}", get(HOST))),
            200,
            Closed,
        ),
        (
            "length twice, with a request behind the shorter",
            upload("Content-Length: 5\r\nContent-Length: 60\r\n", &format!("hello{}", get(HOST))),
            400,
            Closed,
        ),
    ]
}

fn lengths() -> Vec<(&'static str, String, u16, Then)> {
    vec![
        (
            "two lengths that differ",
            upload("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
            400,
            Closed,
        ),
        (
            "the same length twice",
            upload("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            200,
            Open,
        ),
        ("list of lengths", upload("Content-Length: 5, 5\r\n", "hello"), 400, Closed),
        ("negative length", upload("Content-Length: -5\r\n", "hello"), 400, Closed),
        ("length with a sign", upload("Content-Length: +5\r\n", "hello"), 400, Closed),
        ("hexadecimal length", upload("Content-Length: 0x5\r\n", "hello"), 400, Closed),
        ("empty length", upload("Content-Length: \r\n", "hello"), 400, Closed),
        ("huge length", upload("Content-Length: 99999999999999999999\r\n", ""), 400, Closed),
        ("length over the limit", upload("Content-Length: 999999999999\r\n", ""), 413, Closed),
    ]
}

/// What is wrong with the verdict, if anything.
async fn judge(address: &str, request: &str, status: u16, then: Then) -> Option<String> {
    let mut wire = Wire::connect(address).await;
    wire.send(request).await;
    let reply = wire.reply().await;
    let got = reply.as_ref().map_or(0, |reply| reply.status);
    if got != status {
        return Some(format!("{got} instead of {status}"));
    }
    match then {
        Closed => (!wire.is_closed().await).then(|| "the connection stays open".to_owned()),
        Open => {
            wire.send(get(HOST)).await;
            let next = wire.reply().await.map(|reply| reply.status);
            (next != Some(200)).then(|| format!("then {next:?}"))
        }
    }
}

#[tokio::test]
async fn every_request_has_one_verdict_and_a_doubtful_one_closes() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let rows = [plain(), targets(), bodies(), smuggled(), lengths()].concat();
    let judged = rows.iter().map(|(name, request, status, then)| {
        let address = pulse.address();
        async move {
            let wrong = judge(address, request, *status, *then).await;
            wrong.map(|wrong| format!("{name}: {wrong}"))
        }
    });
    let wrong: Vec<String> =
        futures_util::future::join_all(judged).await.into_iter().flatten().collect();
    assert!(
        rows.len() > 80 && wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    assert_eq!(pulse.workers().len(), 1);
    assert!(!pulse.log().contains("panicked"), "{}", pulse.log());
    pulse.said("is ready").await;
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_sent() {
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
        let mut wire = Wire::connect(pulse.address()).await;
        let head = format!(
            "POST /upload/ HTTP/1.1\r\n{HOST}Content-Type: {kind}\r\nContent-Length: 3000000\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        wire.send(head).await;
        let reply = wire.reply().await.unwrap();
        assert_eq!(reply.status, 413, "{kind}: {}", reply.head);
        assert!(wire.is_closed().await);
    }
    // One that is welcome is asked for.
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(upload("Content-Length: 5\r\nExpect: 100-continue\r\n", "")).await;
    assert_eq!(wire.reply().await.unwrap().status, 100);
    wire.send("hello").await;
    let reply = wire.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, "5 bytes\n".as_bytes()));
}

#[tokio::test]
async fn who_sends_too_long_a_body_all_the_same_can_read_why_it_was_refused() {
    const BYTES: usize = 8_000_000;
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(upload(&format!("Content-Length: {BYTES}\r\n"), "")).await;
    wire.send(vec![b'x'; BYTES]).await;
    assert_eq!(wire.reply().await.unwrap().status, 413);
    assert!(wire.is_closed().await);
    // And one that does not say so is counted.
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send(upload("Transfer-Encoding: chunked\r\n", "")).await;
    wire.send(format!("{BYTES:x}\r\n")).await;
    wire.send(vec![b'x'; BYTES]).await;
    assert_eq!(wire.reply().await.unwrap().status, 413);
    assert!(wire.is_closed().await);
}
