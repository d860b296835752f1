//! What the proxy promises, with a server behind it whose every byte the test sees.

use hulse::test::TestSite;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Upstream, project};

/// The proxy, and what it has behind it.
async fn proxy() -> (TestSite, TcpListener) {
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", behind.local_addr().unwrap());
    let site = TestSite::with(project(), |settings| {
        settings.set_section(Upstream { upstream, seconds: 1 }).unwrap();
    });
    (site.await, behind)
}

/// Reads until `words` have come; all that has, in lower case.
async fn read_until(stream: &mut TcpStream, words: &str) -> String {
    let mut read = String::new();
    while !read.contains(words) {
        let mut piece = [0; 4096];
        let bytes = stream.read(&mut piece).await.unwrap();
        assert_ne!(bytes, 0, "it ended before {words:?}: {read}");
        read.push_str(&String::from_utf8_lossy(&piece[..bytes]).to_lowercase());
    }
    read
}

async fn say(stream: &mut TcpStream, words: &str) {
    stream.write_all(words.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_request_and_its_answer_are_passed_on_without_what_is_about_a_connection() {
    let (site, behind) = proxy().await;
    let mut visitor = TcpStream::connect(site.address().await).await.unwrap();
    say(
        &mut visitor,
        "PUT /a%20b/c/?x=1&y=%C3%A4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
         X-Mine: 7\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n\
         X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\nhello",
    )
    .await;
    let (mut connection, _) = behind.accept().await.unwrap();
    let head = read_until(&mut connection, "hello").await;
    assert!(head.starts_with("put /a%20b/c/?x=1&y=%c3%a4 http/1.1\r\n"), "{head}");
    let host = format!("host: {}\r\n", behind.local_addr().unwrap());
    for wanted in ["x-mine: 7\r\n", "x-forwarded-proto: http\r\n", &host] {
        assert!(head.contains(wanted), "{wanted}: {head}");
    }
    assert!(head.contains("x-forwarded-host: localhost\r\n"), "{head}");
    for gone in ["x-hop", "te:", "upgrade", "6.6.6.6", "connection"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    say(
        &mut connection,
        "HTTP/1.1 418 Teapot\r\nX-Theirs: 8\r\nKeep-Alive: timeout=5\r\nConnection: X-Their-Hop\r\n\
         X-Their-Hop: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 3\r\n\r\ntea",
    )
    .await;
    let answer = read_until(&mut visitor, "tea").await;
    assert!(answer.starts_with("http/1.1 418 "), "{answer}");
    for wanted in ["x-theirs: 8\r\n", "set-cookie: a=1\r\n", "set-cookie: b=2\r\n", "\r\n\r\ntea"] {
        assert!(answer.contains(wanted), "{wanted}: {answer}");
    }
    for gone in ["keep-alive", "x-their-hop", "x-frame-options"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
}

#[tokio::test]
async fn bodies_flow_both_ways_piece_by_piece() {
    let (site, behind) = proxy().await;
    let mut visitor = TcpStream::connect(site.address().await).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    say(&mut visitor, head).await;
    say(&mut visitor, "3\r\none\r\n").await;
    let (mut connection, _) = behind.accept().await.unwrap();
    read_until(&mut connection, "one").await;
    say(&mut visitor, "3\r\ntwo\r\n").await;
    read_until(&mut connection, "two").await;
    // The answer may begin before the request has ended.
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    say(&mut connection, head).await;
    say(&mut connection, "5\r\nthree\r\n").await;
    read_until(&mut visitor, "three").await;
    say(&mut visitor, "4\r\nfour\r\n0\r\n\r\n").await;
    read_until(&mut connection, "four").await;
    say(&mut connection, "4\r\nfive\r\n0\r\n\r\n").await;
    read_until(&mut visitor, "five").await;
}

#[tokio::test]
async fn nobody_behind_is_502_and_somebody_slow_504() {
    let (site, behind) = proxy().await;
    let client = site.client();
    let (slow, accepted) = tokio::join!(client.get("/"), behind.accept());
    assert_eq!(slow.status(), 504);
    drop((accepted, behind));
    assert_eq!(client.get("/").await.status(), 502);
    assert_eq!(client.post("/a/", &[("b", "c")]).await.status(), 502);
}

#[tokio::test]
async fn what_is_cut_off_behind_is_502_before_the_answer_and_a_cut_in_it() {
    let (site, behind) = proxy().await;
    let client = site.client();
    let cut = async {
        let (mut connection, _) = behind.accept().await.unwrap();
        read_until(&mut connection, "\r\n\r\n").await;
    };
    assert_eq!(tokio::join!(client.get("/"), cut).0.status(), 502);

    let mut visitor = TcpStream::connect(site.address().await).await.unwrap();
    say(&mut visitor, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (mut connection, _) = behind.accept().await.unwrap();
    read_until(&mut connection, "\r\n\r\n").await;
    say(&mut connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    read_until(&mut visitor, "half").await;
    drop(connection);
    // Not an end that could be taken for the whole.
    assert_eq!(visitor.read(&mut [0; 16]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_visitor_who_goes_away_ends_the_request_behind() {
    let (site, behind) = proxy().await;
    let request = "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let mut visitor = TcpStream::connect(site.address().await).await.unwrap();
        say(&mut visitor, request).await;
        let (mut connection, _) = behind.accept().await.unwrap();
        let head = read_until(&mut connection, "\r\n\r\n").await;
        assert!(!head.contains("transfer-encoding"), "nothing has a length: {head}");
        say(&mut connection, answer).await;
        if !answer.is_empty() {
            read_until(&mut visitor, "half").await;
        }
        drop(visitor);
        assert_eq!(connection.read(&mut [0; 16]).await.unwrap_or_default(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_behind_is_used_again() {
    let (site, behind) = proxy().await;
    let client = site.client();
    let serving = async {
        let (mut connection, _) = behind.accept().await.unwrap();
        for _ in 0..3 {
            read_until(&mut connection, "\r\n\r\n").await;
            say(&mut connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        connection
    };
    let asking = async {
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text(), "ok");
        }
    };
    tokio::join!(serving, asking);
}
