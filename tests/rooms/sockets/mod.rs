//! WebSockets over real connections: handshake, life, limits, order, and who does not read.

#![expect(clippy::panic, reason = "helpers fail by panicking, and so do the consumers under test")]

mod calls;
mod deflate;
mod depth;
mod rfc6455;
mod slow;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hulse::channels::{Layer, Message, Presence};
use hulse::conf::{Secret, Settings};
use hulse::sockets::{Consumer, Socket, run_background, socket};
use hulse::urls::{Route, Urls};
use hulse::{Project, Result, Site};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async};

const WAIT: Duration = Duration::from_secs(30);
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A site on a port of its own.
struct Server {
    site: Site,
    address: SocketAddr,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.debug = true;
    settings.secret_key = Secret::new("test");
    settings
}

async fn serve(routes: impl IntoIterator<Item = Route>) -> Server {
    serve_with(settings(), routes).await
}

async fn serve_with(mut settings: Settings, routes: impl IntoIterator<Item = Route>) -> Server {
    let folder = tempfile::tempdir().unwrap();
    settings.base = folder.path().to_owned();
    let project = Project::new("sockets", folder.path()).urls(Urls::new(routes));
    let layer = Layer::memory(&settings.channels);
    let site = project.open(settings, layer).await.unwrap();
    run_background(&site, project.resolver());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = hulse::server::handler(&project, &site);
    let task = tokio::spawn(async move { axum::serve(listener, handler).await.unwrap() });
    Server { site, address, task, _folder: folder }
}

type Client = WebSocketStream<TcpStream>;

impl Server {
    async fn connect(&self, path: &str) -> Client {
        self.try_connect(path, &[]).await.unwrap().0
    }

    async fn try_connect(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Client, Option<String>), WsError> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, response) = client_async(request, stream).await?;
        let protocol = response.headers().get("sec-websocket-protocol");
        Ok((client, protocol.map(|value| value.to_str().unwrap().to_owned())))
    }

    /// The status of a handshake with these headers; 101 if it is accepted.
    async fn status(&self, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        match self.try_connect(path, headers).await {
            Ok(_) => 101,
            Err(WsError::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    }

    /// The head of the answer to these lines.
    async fn raw(&self, lines: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{}\r\nHost: {}\r\n\r\n", lines.trim(), self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            let read = timeout(WAIT, stream.read_buf(&mut answer)).await.unwrap().unwrap();
            assert!(read > 0, "an answer");
        }
        String::from_utf8_lossy(&answer).to_lowercase()
    }
}

async fn next(client: &mut Client) -> Frame {
    timeout(WAIT, client.next()).await.expect("a frame in time").unwrap().unwrap()
}

async fn text(client: &mut Client) -> String {
    loop {
        match next(client).await {
            Frame::Text(text) => return text.to_string(),
            Frame::Ping(_) | Frame::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The code and reason of the server's goodbye; what comes before is skipped.
async fn goodbye(client: &mut Client) -> (u16, String) {
    loop {
        match timeout(WAIT, client.next()).await.expect("a goodbye in time") {
            Some(Ok(Frame::Close(Some(CloseFrame { code, reason })))) => {
                // The server waits for the answer and for our end; it may be gone already.
                let _ = client.flush().await;
                let _ = client.get_mut().shutdown().await;
                return (code.into(), reason.to_string());
            }
            Some(Ok(_)) => {}
            other => panic!("no goodbye: {other:?}"),
        }
    }
}

/// Says what it hears to itself, and how it ends to the test.
#[derive(Clone)]
struct Echo(mpsc::Sender<u16>);

impl Consumer for Echo {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        match text {
            "panic" => panic!("a secret: hunter2"),
            "fail" => Err(hulse::Error::new("a secret: hunter2")),
            "bye" => socket.close(4000, "as you wish").await,
            text => socket.send(text).await,
        }
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<()> {
        socket.send(bytes.to_vec()).await
    }

    async fn disconnect(&mut self, _: &mut Socket, code: u16) -> Result<()> {
        self.0.send(code).await.unwrap();
        Ok(())
    }
}

async fn echo_with(settings: Settings) -> (Server, mpsc::Receiver<u16>) {
    let (ended, ends) = mpsc::channel(100);
    let server = serve_with(settings, [socket("echo", move || Echo(ended.clone()))]).await;
    (server, ends)
}

async fn echo() -> (Server, mpsc::Receiver<u16>) {
    echo_with(settings()).await
}

async fn end(ends: &mut mpsc::Receiver<u16>) -> u16 {
    timeout(WAIT, ends.recv()).await.expect("disconnect in time").unwrap()
}

/// In `room`, says everything it hears to all.
#[derive(Default)]
struct Chat;

impl Consumer for Chat {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.join("room").await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        socket.group("room").send(text).await
    }
}

#[tokio::test]
async fn a_plain_get_of_a_socket_is_told_to_upgrade() {
    let (server, _ends) = echo().await;
    let answer = server.raw("GET /echo HTTP/1.1").await;
    assert!(answer.starts_with("http/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
}

#[tokio::test]
async fn a_broken_handshake_gets_a_clear_status() {
    let (server, _ends) = echo().await;
    let whole = |method: &str, version: &str, key: &str| {
        format!(
            "{method} /echo HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}"
        )
    };
    let answer = server.raw(&whole("GET", "13", KEY)).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    let answer = server.raw(&whole("GET", "8", KEY)).await;
    assert!(answer.starts_with("http/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
    let answer = server.raw(&whole("GET", "13", "c2hvcnQ=")).await;
    assert!(answer.starts_with("http/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn only_the_sites_own_pages_and_programs_may_connect() {
    let mut settings = settings();
    settings.csrf.trusted_origins = vec!["https://*.friends.example".to_owned()];
    let (server, _ends) = echo_with(settings).await;
    let own = format!("http://{}", server.address);
    assert_eq!(server.status("/echo", &[]).await, 101);
    assert_eq!(server.status("/echo", &[("origin", &own)]).await, 101);
    assert_eq!(server.status("/echo", &[("origin", "https://a.friends.example")]).await, 101);
    assert_eq!(server.status("/echo", &[("origin", "https://evil.example")]).await, 403);
    assert_eq!(server.status("/echo", &[("origin", "http://127.0.0.1:1")]).await, 403);
    assert_eq!(server.status("/echo", &[("origin", "null")]).await, 403);
}

#[derive(Default)]
struct Door;

impl Consumer for Door {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let who: String = socket.path()?;
        match who.as_str() {
            "friend" => {
                socket.send("before the 101").await?;
                socket.accept().await
            }
            "chat" => socket.accept_subprotocol("chat.v2").await,
            "broken" => panic!("at the door"),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn who_is_not_accepted_gets_403() {
    let server = serve([socket("door/<slug:who>/", Door::default)]).await;
    assert_eq!(server.status("/door/stranger/", &[]).await, 403);
    assert_eq!(server.status("/door/broken/", &[]).await, 500);
    let mut friend = server.connect("/door/friend/").await;
    assert_eq!(text(&mut friend).await, "before the 101");
    assert_eq!(server.site.layer().statistics().connections, 1);
}

#[tokio::test]
async fn a_subprotocol_is_one_of_those_offered() {
    let server = serve([socket("door/<slug:who>/", Door::default)]).await;
    let offers = [("sec-websocket-protocol", "chat.v1, chat.v2")];
    let (_client, spoken) = server.try_connect("/door/chat/", &offers).await.unwrap();
    assert_eq!(spoken.as_deref(), Some("chat.v2"));
    assert_eq!(server.status("/door/chat/", &[]).await, 500);
}

#[tokio::test]
async fn texts_and_bytes_come_back_in_order() {
    let (server, mut ends) = echo().await;
    let mut client = server.connect("/echo").await;
    for i in 0..100 {
        client.feed(Frame::text(format!("{i} \u{1F600}"))).await.unwrap();
    }
    client.send(Frame::binary(vec![0, 255])).await.unwrap();
    for i in 0..100 {
        assert_eq!(text(&mut client).await, format!("{i} \u{1F600}"));
    }
    assert_eq!(next(&mut client).await, Frame::binary(vec![0, 255]));
    depth::leave(&mut client).await;
    assert_eq!(end(&mut ends).await, 1005);
}

#[tokio::test]
async fn a_client_that_is_gone_without_a_word_ends_with_1006() {
    let (server, mut ends) = echo().await;
    drop(server.connect("/echo").await);
    assert_eq!(end(&mut ends).await, 1006);
}

#[tokio::test]
async fn a_failing_handler_closes_its_own_socket_only_and_tells_no_secret() {
    let (server, mut ends) = echo().await;
    let mut bystander = server.connect("/echo").await;
    for word in ["panic", "fail"] {
        let mut client = server.connect("/echo").await;
        client.send(Frame::text(word)).await.unwrap();
        assert_eq!(goodbye(&mut client).await, (1011, "internal error".to_owned()));
        assert_eq!(end(&mut ends).await, 1011);
    }
    bystander.send(Frame::text("still here")).await.unwrap();
    assert_eq!(text(&mut bystander).await, "still here");
}

#[tokio::test]
async fn a_consumer_closes_with_its_own_code_after_what_it_sent() {
    let (server, mut ends) = echo().await;
    let mut client = server.connect("/echo").await;
    client.feed(Frame::text("first")).await.unwrap();
    client.send(Frame::text("bye")).await.unwrap();
    assert_eq!(text(&mut client).await, "first");
    assert_eq!(goodbye(&mut client).await, (4000, "as you wish".to_owned()));
    assert_eq!(end(&mut ends).await, 4000);
}

#[tokio::test]
async fn a_message_over_the_limit_is_1009() {
    let mut settings = settings();
    settings.server.message_bytes_max = 1000;
    let (server, mut ends) = echo_with(settings).await;
    let mut client = server.connect("/echo").await;
    client.send(Frame::text("x".repeat(1000))).await.unwrap();
    assert_eq!(text(&mut client).await.len(), 1000);
    client.send(Frame::text("x".repeat(200_000))).await.unwrap();
    assert_eq!(goodbye(&mut client).await.0, 1009);
    assert_eq!(end(&mut ends).await, 1009);
}

#[tokio::test]
async fn who_says_more_than_the_rate_is_closed_with_1008() {
    let mut settings = settings();
    (settings.server.message_rate, settings.server.message_burst) = (1, 5);
    let (server, mut ends) = echo_with(settings).await;
    for ping in [false, true] {
        let (mut client, mut bystander) =
            (server.connect("/echo").await, server.connect("/echo").await);
        for number in 0..5 {
            client.send(Frame::text(number.to_string())).await.unwrap();
            assert_eq!(text(&mut client).await, number.to_string());
        }
        for _ in 0..5 {
            let more = if ping { Frame::Ping("".into()) } else { Frame::text("more") };
            client.feed(more).await.unwrap();
        }
        client.flush().await.unwrap();
        assert_eq!(goodbye(&mut client).await, (1008, "too many messages".to_owned()));
        assert_eq!(end(&mut ends).await, 1008);
        bystander.send(Frame::text("still here")).await.unwrap();
        assert_eq!(text(&mut bystander).await, "still here");
        drop(bystander);
        assert_eq!(end(&mut ends).await, 1006);
    }
}

/// Sends raw bytes on an open connection; the bytes of the answer until the end.
async fn raw_frames(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut client = server.connect("/echo").await;
    let stream = client.get_mut();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    timeout(WAIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn text_that_is_not_utf8_is_1007_and_bad_frames_are_1002() {
    let (server, _ends) = echo().await;
    let close = |code: u16, answer: &[u8]| {
        assert_eq!(answer[0], 0x88, "a goodbye");
        assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), code);
    };
    // Masked with zeros: a text of one byte 0xFF; an unmasked text; a reserved opcode; a ping in
    // pieces; a continuation of nothing.
    close(1007, &raw_frames(&server, &[0x81, 0x81, 0, 0, 0, 0, 0xFF]).await);
    close(1002, &raw_frames(&server, &[0x81, 0x01, b'a']).await);
    close(1002, &raw_frames(&server, &[0x83, 0x80, 0, 0, 0, 0]).await);
    close(1002, &raw_frames(&server, &[0x09, 0x80, 0, 0, 0, 0]).await);
    close(1002, &raw_frames(&server, &[0x80, 0x80, 0, 0, 0, 0]).await);
}

#[tokio::test]
async fn a_ping_is_answered_and_a_silent_client_is_dropped() {
    let mut settings = settings();
    settings.server.ping_interval = 1;
    settings.server.ping_timeout = 1;
    let (server, mut ends) = echo_with(settings).await;
    let mut lively = server.connect("/echo").await;
    lively.send(Frame::Ping(vec![1, 2].into())).await.unwrap();
    assert_eq!(next(&mut lively).await, Frame::Pong(vec![1, 2].into()));
    // It answers pings while it reads; the other never does.
    let silent = server.connect("/echo").await;
    let mut reading = tokio::spawn(async move { lively.next().await });
    assert_eq!(end(&mut ends).await, 1006);
    assert!(timeout(Duration::ZERO, &mut reading).await.is_err() || reading.is_finished());
    drop(silent);
}

#[tokio::test]
async fn draining_closes_every_socket_with_1001() {
    let (server, mut ends) = echo().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.connect("/echo").await);
    }
    let lifecycle = server.site.lifecycle().clone();
    let draining = tokio::spawn(async move { lifecycle.drain().await });
    for client in &mut clients {
        assert_eq!(goodbye(client).await.0, 1001);
    }
    drop(clients);
    timeout(WAIT, draining).await.expect("drained in time").unwrap();
    for _ in 0..20 {
        assert_eq!(end(&mut ends).await, 1001);
    }
    assert_eq!(server.site.layer().statistics().connections, 0);
}

#[tokio::test]
async fn two_hundred_sockets_get_a_thousand_messages_once_and_in_order() {
    let server = serve([socket("chat", Chat::default)]).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(server.connect("/chat").await);
    }
    let mut readers = JoinSet::new();
    let mut senders = Vec::new();
    for (i, client) in clients.into_iter().enumerate() {
        let (mut write, mut read) = client.split();
        readers.spawn(async move {
            let mut heard = Vec::with_capacity(1000);
            while heard.len() < 1000 {
                let frame = timeout(WAIT, read.next()).await.expect("in time").unwrap().unwrap();
                if let Frame::Text(text) = frame {
                    heard.push(text.to_string());
                }
            }
            heard
        });
        senders.push(tokio::spawn(async move {
            for k in 0..5 {
                write.send(Frame::text(format!("{i}:{k}"))).await.unwrap();
            }
            write
        }));
    }
    let mut order: Option<Vec<String>> = None;
    while let Some(heard) = readers.join_next().await {
        let heard = heard.unwrap();
        match &order {
            Some(order) => assert_eq!(heard, *order),
            None => order = Some(heard),
        }
    }
    let mut all = order.unwrap();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1000, "each once");
    drop(senders);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_the_others_get_all() {
    let mut settings = settings();
    settings.channels.history_messages = 200;
    let server = serve_with(settings, [socket("chat", Chat::default)]).await;
    let mut reader = server.connect("/chat").await;
    let deaf = server.connect("/chat").await;
    let big = "x".repeat(16 * 1024);
    for i in 0..2000 {
        server.site.group("room").send(format!("{i} {big}")).await.unwrap();
        let heard = text(&mut reader).await;
        assert!(heard.starts_with(&format!("{i} ")));
    }
    let seen = async {
        while server.site.layer().statistics().connections > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, seen).await.expect("the deaf one is cut off");
    assert!(server.site.layer().statistics().history_bytes < 200 * 17 * 1024);
    drop(deaf);
}

/// Sends two of its own around a group message.
#[derive(Default)]
struct Ordered;

impl Consumer for Ordered {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.join("order").await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
        socket.send("own 1").await?;
        socket.group("order").send("to all").await?;
        tokio::task::yield_now().await;
        socket.send("own 2").await
    }
}

#[tokio::test]
async fn what_a_call_sends_leaves_before_what_came_meanwhile() {
    let server = serve([socket("order", Ordered::default)]).await;
    let mut client = server.connect("/order").await;
    client.send(Frame::text("go")).await.unwrap();
    for expected in ["own 1", "own 2", "to all"] {
        assert_eq!(text(&mut client).await, expected);
    }
}

/// Listens, and says what it heard with its own words.
#[derive(Default)]
struct Listener;

impl Consumer for Listener {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.listen("news").await?;
        socket.accept().await
    }

    async fn group_message(
        &mut self,
        socket: &mut Socket,
        group: &str,
        message: &Message,
    ) -> Result<()> {
        let text = message.text().unwrap();
        if text == "leave" {
            socket.leave(group).await?;
        }
        socket.send(format!("{group}: {text}")).await
    }
}

#[tokio::test]
async fn a_listening_consumer_decides_what_its_client_gets() {
    let server = serve([socket("news", Listener::default)]).await;
    let mut client = server.connect("/news").await;
    for word in ["one", "two", "leave"] {
        server.site.group("news").send(word).await.unwrap();
    }
    for expected in ["news: one", "news: two", "news: leave"] {
        assert_eq!(text(&mut client).await, expected);
    }
    assert_eq!(server.site.layer().statistics().groups, 0);
}

/// The chat of the djchat example in short.
#[derive(Default)]
struct Present;

impl Consumer for Present {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let who: String = socket.path()?;
        let (joined, left) = (format!("{who} joined"), format!("{who} left"));
        let presence = Presence { key: who, joined: joined.as_str().into(), left: left.into() };
        let entered = socket.enter("present", presence).await?;
        socket.send(joined).await?;
        for other in entered.roster {
            socket.send(other).await?;
        }
        socket.accept().await
    }
}

#[tokio::test]
async fn everybody_sees_who_comes_and_goes_once() {
    let server = serve([socket("p/<slug:who>/", Present::default)]).await;
    let mut ann = server.connect("/p/ann/").await;
    assert_eq!(text(&mut ann).await, "ann joined");
    let mut bob = server.connect("/p/bob/").await;
    assert_eq!(text(&mut bob).await, "bob joined");
    assert_eq!(text(&mut bob).await, "ann joined");
    let mut tab = server.connect("/p/bob/").await;
    assert_eq!(text(&mut tab).await, "bob joined");
    assert_eq!(text(&mut tab).await, "ann joined");
    drop(tab);
    drop(bob);
    assert_eq!(text(&mut ann).await, "bob joined");
    assert_eq!(text(&mut ann).await, "bob left");
    server.site.group("present").send("end").await.unwrap();
    assert_eq!(text(&mut ann).await, "end");
}
