//! Who opens WebSockets and streams, and how much may be said there.

use futures_util::future::join_all;
use hulse_tests::{Visitor, Wire};

use super::Browser;

/// WebSockets of one user in a worker.
pub(super) const OF_A_USER: usize = 3;

pub(super) async fn foreign_pages(browser: &Browser<'_>) {
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade";
    let address = browser.pulse.address();
    for path in ["/echo/", "/stream/", "/mine/"] {
        for (origin, status) in [
            ("http://evil.example", 403),
            ("null", 403),
            ("http://127.0.0.1:1", 403),
            (&format!("https://{address}"), 403),
            (&format!("http://{address}.evil.example"), 403),
            (&format!("http://{address}"), 101),
        ] {
            let mut wire = Wire::connect(address).await;
            let lines = format!("Host: {address}\r\nOrigin: {origin}\r\n{upgrade}");
            wire.send(format!("GET {path} HTTP/1.1\r\n{lines}\r\n\r\n")).await;
            let reply = wire.reply().await.expect("an answer");
            assert_eq!(reply.status, status, "{path} {origin}");
        }
    }
}

pub(super) async fn limits(browser: &Browser<'_>) {
    let mut visitor = Visitor::new(browser.pulse.address());
    let mut socket = visitor.socket("/echo/").await;
    let most = "x".repeat(10_000);
    socket.send(&most).await;
    assert_eq!(socket.frame().await.as_deref(), Ok(most.as_str()));
    socket.send(&"x".repeat(10_001)).await;
    assert_eq!(socket.close_code().await, 1009);
    let mut loud = visitor.socket("/echo/").await;
    let mut quiet = visitor.socket("/echo/").await;
    for number in 0..16 {
        // It may be closed already.
        loud.try_send(&number.to_string()).await;
    }
    assert_eq!(loud.close_code().await, 1008);
    quiet.send("still here").await;
    assert_eq!(quiet.frame().await.as_deref(), Ok("still here"));
}

/// A ticket opens one connection, whichever worker it meets, and however many try at once.
pub(super) async fn tickets(browser: &Browser<'_>) {
    let address = browser.pulse.address();
    let mut owner = Visitor::new(address);
    owner.get("/sign-in/tick/").await;
    let ticket = owner.get("/ticket/").await.body;
    let open = async |ticket: &str| {
        Visitor::new(address).try_socket(&format!("/mine/?ticket={ticket}")).await.err()
    };
    let mut forged = ticket.clone();
    forged.replace_range(..1, if ticket.starts_with('A') { "B" } else { "A" });
    for wrong in [&forged, &ticket[1..], "", "AAAA.BBBB", &format!("{ticket}A")] {
        assert_eq!(open(wrong).await, Some(403), "{wrong:?}");
    }
    for _ in 0..2 {
        let fresh = owner.get("/ticket/").await.body;
        let tried = join_all((0..8).map(|_| open(&fresh))).await;
        let opened = tried.iter().filter(|refused| refused.is_none()).count();
        assert_eq!(opened, 1, "{tried:?}");
        assert!(tried.iter().flatten().all(|status| *status == 403), "{tried:?}");
        let again = join_all((0..8).map(|_| open(&fresh))).await;
        assert!(again.iter().all(|refused| *refused == Some(403)), "{again:?}");
    }
}

pub(super) async fn owners_of_tickets(browser: &Browser<'_>) {
    let address = browser.pulse.address();
    let mut owner = Visitor::new(address);
    owner.get("/sign-in/owner/").await;
    let ticket = owner.get("/ticket/").await.body;
    let mut socket = Visitor::new(address).socket(&format!("/mine/?ticket={ticket}")).await;
    socket.send(r#"{"join":"mine"}"#).await;
    assert_eq!(socket.event().await["joined"], "mine");
    let mut stranger = Visitor::new(address).socket("/mine/").await;
    stranger.send(r#"{"join":"mine"}"#).await;
    assert_eq!(stranger.event().await["error"], "denied");
}

pub(super) async fn many_of_one_user(browser: &Browser<'_>, workers: usize) {
    let address = browser.pulse.address();
    let mut owner = Visitor::new(address);
    owner.get("/sign-in/many/").await;
    let most = OF_A_USER * workers;
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..most + OF_A_USER {
        match owner.clone().try_socket("/mine/").await {
            Ok(socket) => open.push(socket),
            Err(status) => {
                assert_eq!(status, 429);
                refused += 1;
            }
        }
    }
    assert!((OF_A_USER..=most).contains(&open.len()) && refused >= OF_A_USER, "{refused}");
    // Nobody else waits for a place.
    drop(Visitor::new(address).socket("/mine/").await);
}
