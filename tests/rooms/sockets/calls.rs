//! A consumer's calls: which, in which order, and what they may send when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use hulse::Result;
use hulse::http::Request;
use hulse::sockets::{Consumer, Event, Routing, Socket, route, socket};
use hulse::urls::path;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::{Chat, WAIT, goodbye, serve, serve_with, settings, text};

async fn ws_connect(event: Event) -> Result<()> {
    event.reply.join("routed").await?;
    event.reply.accept().await
}

async fn ws_receive(event: Event) -> Result<()> {
    match event.text() {
        "thumbnail" => event.channel("thumbnails").send(json!({ "id": 7 })).await,
        text => event.reply.send(format!("{} said {text}", event.request()?.path())).await,
    }
}

async fn make(event: Event) -> Result<()> {
    let body: serde_json::Value = event.json()?;
    assert!(event.reply.send("nobody").await.unwrap_err().is_socket_closed());
    event.group("routed").send(format!("made {}", body["id"])).await
}

#[tokio::test]
async fn functions_are_called_by_the_name_of_the_event() {
    let routing = Routing::new([
        route("websocket.connect", ws_connect),
        route("websocket.receive", ws_receive),
        route("thumbnails", make),
    ]);
    let server = serve([routing.socket("routed")]).await;
    let mut client = server.connect("/routed").await;
    client.send(Frame::text("hi")).await.unwrap();
    assert_eq!(text(&mut client).await, "/routed said hi");
    client.send(Frame::text("thumbnail")).await.unwrap();
    assert_eq!(text(&mut client).await, "made 7");
    timeout(WAIT, server.site.lifecycle().drain()).await.expect("background readers end");
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Takes its time.
struct Slow(watch::Receiver<bool>);

impl Consumer for Slow {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        assert_eq!(RUNNING.fetch_add(1, Ordering::SeqCst), 0, "one call at a time");
        socket.send(format!("begun {text}")).await?;
        self.0.wait_for(|is_open| *is_open).await?;
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        socket.send(format!("done {text}")).await
    }
}

#[tokio::test]
async fn calls_run_one_after_the_other_and_what_they_send_leaves_at_once() {
    let (open, gate) = watch::channel(false);
    let server = serve([socket("slow", move || Slow(gate.clone()))]).await;
    let mut client = server.connect("/slow").await;
    client.send(Frame::text("a")).await.unwrap();
    client.send(Frame::text("b")).await.unwrap();
    assert_eq!(text(&mut client).await, "begun a");
    open.send(true).unwrap();
    for expected in ["done a", "begun b", "done b"] {
        assert_eq!(text(&mut client).await, expected);
    }
}

/// Sends a lot at once.
#[derive(Default)]
struct Flood;

impl Consumer for Flood {
    async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
        for i in 0..10_000 {
            socket.send(format!("{i} {}", "x".repeat(1000))).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_consumer_waits_for_a_client_that_reads_slowly() {
    let server = serve([socket("flood", Flood::default)]).await;
    let mut client = server.connect("/flood").await;
    client.send(Frame::text("go")).await.unwrap();
    for i in 0..10_000 {
        assert!(text(&mut client).await.starts_with(&format!("{i} ")));
    }
}

#[tokio::test]
async fn a_client_that_never_reads_ends_the_call_that_sends_to_it() {
    let mut settings = settings();
    settings.server.ping_timeout = 1;
    let (ended, mut ends) = mpsc::channel(1);
    struct Deaf(mpsc::Sender<bool>);
    impl Consumer for Deaf {
        async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
            loop {
                if let Err(error) = socket.send("x".repeat(100_000)).await {
                    self.0.send(error.is_socket_closed()).await.unwrap();
                    return Err(error);
                }
            }
        }
    }
    let server = serve_with(settings, [socket("deaf", move || Deaf(ended.clone()))]).await;
    let mut client = server.connect("/deaf").await;
    client.send(Frame::text("go")).await.unwrap();
    assert!(timeout(WAIT, ends.recv()).await.expect("dropped in time").unwrap());
    drop(client);
}

#[tokio::test]
async fn a_send_in_a_transaction_that_rolls_back_reaches_nobody() {
    let server = serve([socket("chat", Chat::default), path("plain", plain)]).await;
    let mut client = server.connect("/chat").await;
    let site = &server.site;
    let failed: Result<()> = site
        .atomic(async |site| {
            site.group("room").send("never").await?;
            Err(hulse::Error::new("rolled back"))
        })
        .await;
    assert!(failed.is_err());
    site.atomic(async |site| site.group("room").send("committed").await).await.unwrap();
    assert_eq!(text(&mut client).await, "committed");
}

async fn plain(_: Request) -> &'static str {
    "plain"
}

#[tokio::test]
async fn a_handle_kept_elsewhere_reaches_the_client_until_it_is_gone() {
    let (kept, mut handles) = mpsc::channel(1);
    struct Keep(mpsc::Sender<hulse::sockets::Reply>);
    impl Consumer for Keep {
        async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
            self.0.send(socket.reply().clone()).await?;
            socket.accept().await
        }
    }
    let server = serve([socket("keep", move || Keep(kept.clone()))]).await;
    let mut client = server.connect("/keep").await;
    let handle = Arc::new(handles.recv().await.unwrap());
    handle.send("from elsewhere").await.unwrap();
    assert_eq!(text(&mut client).await, "from elsewhere");
    assert!(handle.close(1005, "").await.is_err());
    assert!(handle.close(4001, &"x".repeat(124)).await.is_err());
    handle.close(4001, "enough").await.unwrap();
    assert_eq!(goodbye(&mut client).await, (4001, "enough".to_owned()));
    let refused = async {
        while handle.join("late").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, refused).await.unwrap();
    assert!(handle.send("too late").await.unwrap_err().is_socket_closed());
}

#[tokio::test]
async fn a_kept_handle_holds_no_stream_and_a_long_call_is_no_silence() {
    let mut settings = settings();
    (settings.server.ping_interval, settings.server.ping_timeout) = (1, 1);
    let (kept, mut handles) = mpsc::channel(1);
    let (ended, mut ends) = mpsc::channel(2);
    let (open, gate) = watch::channel(false);
    #[derive(Clone)]
    struct Patient(mpsc::Sender<hulse::sockets::Reply>, mpsc::Sender<u16>, watch::Receiver<bool>);
    impl Consumer for Patient {
        async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
            self.2.wait_for(|is_open| *is_open).await?;
            self.0.send(socket.reply().clone()).await?;
            socket.send("at last").await
        }

        async fn disconnect(&mut self, _: &mut Socket, code: u16) -> Result<()> {
            Ok(self.1.send(code).await?)
        }
    }
    let patient = Patient(kept, ended, gate);
    let server = serve_with(settings, [socket("patient", move || patient.clone())]).await;
    let mut client = server.connect("/patient").await;
    client.send(Frame::text("go")).await.unwrap();
    let silent = server.connect("/patient").await;
    let gone = timeout(WAIT, ends.recv()).await.expect("the silent one is dropped");
    assert_eq!(gone, Some(1006));
    open.send(true).unwrap();
    assert_eq!(text(&mut client).await, "at last", "its call was longer than that");
    drop(silent);
    let handle = handles.recv().await.unwrap();
    // From here on it answers no ping.
    let mut rest = Vec::new();
    let stream = client.get_mut();
    timeout(WAIT, stream.read_to_end(&mut rest)).await.expect("dropped in time").unwrap();
    assert!(handle.send("too late").await.unwrap_err().is_socket_closed());
}

/// Decides nothing.
struct Undecided;

impl Consumer for Undecided {
    async fn connect(&mut self, _: &mut Socket) -> Result<()> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_decided_is_refused_in_the_end() {
    let mut settings = settings();
    settings.server.handshake_timeout = 1;
    let server = serve_with(settings, [socket("undecided", || Undecided)]).await;
    let begun = Instant::now();
    assert_eq!(server.status("/undecided", &[]).await, 503);
    // Without the setting it is ten.
    let times = Duration::from_secs(1)..Duration::from_secs(9);
    assert!(times.contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// Joins as many groups as it is told.
struct Joiner;

impl Consumer for Joiner {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let (from, to) = text.split_once(' ').unwrap_or_default();
        let (from, to): (usize, usize) = (from.parse()?, to.parse()?);
        for number in from..to {
            if let Err(error) = socket.join(format!("group-{number}")).await {
                return socket.send(error.to_string()).await;
            }
        }
        socket.leave("group-0").await?;
        socket.send("joined").await
    }
}

#[tokio::test]
async fn a_socket_is_in_so_many_groups_at_most() {
    let join = || [socket("join", || Joiner)];
    let mut settings = settings();
    settings.server.groups_per_socket = 3;
    let few = serve_with(settings.clone(), join()).await;
    settings.server.groups_per_socket = 0;
    let any = serve_with(settings, join()).await;
    let usual = serve(join()).await;
    let beyond = |group: usize, most: usize| {
        let why = format!("a socket is in at most {most} groups (server.groups_per_socket)");
        format!("joining \"group-{group}\": {why}")
    };
    let joined = || "joined".to_owned();
    for (server, wishes) in [
        (&few, vec![("0 3", joined()), ("3 4", joined()), ("4 5", beyond(4, 3))]),
        // What it is in already is no more, and what was left makes room.
        (&usual, vec![("0 1000", joined()), ("1 1000", joined()), ("1000 1001", joined())]),
        (&usual, vec![("0 1001", beyond(1000, 1000))]),
        (&any, vec![("0 1200", joined())]),
    ] {
        let mut client = server.connect("/join").await;
        for (wish, answer) in wishes {
            client.send(Frame::text(wish)).await.unwrap();
            assert_eq!(text(&mut client).await, answer, "{wish}");
        }
    }
}
