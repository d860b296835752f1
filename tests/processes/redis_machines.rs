//! What else two machines that share Redis do together: commands, background processes, other
//! systems, streams over every transport, reloads and successors.

use std::process::Stdio;
use std::time::Duration;

use hulse_tests::{
    Program, Pulse, RedisServer, Surroundings, Visitor, VisitorSocket, site_command,
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::background::{TOKEN, publish};

/// Longest wait for what comes sooner or later.
const WAIT: Duration = Duration::from_secs(30);

/// Redis servers, and the settings of those that share them.
struct Site {
    _servers: Vec<RedisServer>,
    surroundings: Surroundings,
    _folder: TempDir,
}

impl Site {
    /// On two shards.
    async fn start() -> Option<Self> {
        let servers = vec![RedisServer::start().await?, RedisServer::start().await?];
        let url = format!("redis://{},{}/1?prefix=both", servers[0].host(), servers[1].host());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        let token = format!("[[publish.tokens]]\nname = \"cron\"\ntoken = \"{TOKEN}\"\n");
        std::fs::write(&file, format!("debug = true\n{token}groups = [\"sent\"]\n")).unwrap();
        let environment = vec![
            ("HULSE_SETTINGS".to_owned(), file.display().to_string()),
            ("HULSE_SERVER__DATA_STORE".to_owned(), url),
        ];
        let program = Program::Testsite;
        let surroundings = Surroundings { program, environment, database: None };
        Some(Self { _servers: servers, surroundings, _folder: folder })
    }

    async fn machine(&self, arguments: &[&str]) -> Pulse {
        Pulse::start_in(self.surroundings.clone(), arguments).await
    }
}

#[tokio::test]
async fn commands_workers_and_other_systems_of_one_machine_are_heard_on_the_other() {
    let Some(site) = Site::start().await else { return };
    let arguments = ["-w", "1", "--exclude-channels", "thumb*"];
    let (here, there) = (site.machine(&arguments).await, site.machine(&arguments).await);
    assert!(here.store().is_none() && there.store().is_none(), "Redis is the only store");
    let mut visitor = Visitor::new(there.address());
    let mut feed = visitor.socket("/feed/sent/").await;
    let position = here.manage(&["send-group", "sent", "from a command"], &[]).await;
    assert_eq!(feed.frame().await.unwrap(), "from a command");
    assert!(position.trim().ends_with("-1"), "{position}");
    here.manage(&["send-channel", "emails", "through a channel"], &[]).await;
    assert_eq!(feed.frame().await.unwrap(), "through a channel");
    here.manage(&["send-channel", "emails", "later", "--after", "0.2"], &[]).await;
    assert_eq!(feed.frame().await.unwrap(), "later");
    let (status, said) = publish(&here, TOKEN, r#"{"group": "sent", "data": 7, "key": "k"}"#).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(feed.frame().await.unwrap(), "7");
    let (_, again) = publish(&there, TOKEN, r#"{"group": "sent", "data": 7, "key": "k"}"#).await;
    assert_eq!(again, said, "it is known on the other machine too");

    // A background process of one machine answers visitors of the other.
    let mut runworker = site_command(here.folder(), &site.surroundings);
    runworker.args(["runworker", "thumbnails"]).kill_on_drop(true).stdin(Stdio::null());
    let runworker = runworker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let answered = async {
        loop {
            // Until it reads, nobody answers.
            let answer = visitor.get("/ask/thumbnails/cat/").await;
            if answer.status == 200 {
                break answer.body;
            }
        }
    };
    let answer = timeout(WAIT, answered).await.expect("it answers");
    assert_eq!(answer, format!("cat made by {}", runworker.id().unwrap()));
    assert_eq!((here.stop().await, there.stop().await), (0, 0));
}

/// What comes as events.
struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    async fn open(address: &str, query: &str, last: &str) -> Self {
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let head = format!(
            "GET /stream/?{query} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Last-Event-ID: {last}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream.lines())
    }

    async fn next(&mut self) -> Value {
        loop {
            let line = timeout(WAIT, self.0.next_line()).await.expect("it says something");
            let line = line.unwrap().expect("it goes on");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

async fn poll(address: &str, at: &str) -> Vec<Value> {
    let answer = Visitor::new(address).get(&format!("/stream/?join=chat/a&at={at}")).await;
    serde_json::from_str(&answer.body).expect(&answer.body)
}

fn at(frame: &Value) -> &str {
    frame["at"].as_str().expect("its place")
}

#[tokio::test]
async fn one_place_is_good_on_both_machines_whatever_carries_the_stream() {
    let Some(site) = Site::start().await else { return };
    let (here, there) = (site.machine(&["-w", "1"]).await, site.machine(&["-w", "1"]).await);
    let mut socket = Visitor::new(here.address()).socket("/stream/").await;
    socket.send(r#"{"join": "chat/a"}"#).await;
    let begun = socket.event().await;
    let mut events = Events::open(there.address(), "join=chat/a", at(&begun)).await;
    assert_eq!(events.next().await["recovered"], true);
    for number in 0..4 {
        socket
            .send(&format!(r#"{{"send": "chat/a", "key": "k{number}", "data": {number}}}"#))
            .await;
    }
    let mut heard = Vec::new();
    for number in 0..4 {
        let frame = events.next().await;
        assert_eq!(frame["data"], number);
        heard.push(frame);
    }
    // From any of these places on, over any transport, at either machine.
    for address in [here.address(), there.address()] {
        // An answer has what has come to that machine so far.
        let mut frames = vec![heard[1].clone()];
        let asking = async {
            while frames.len() < heard[1..].len() {
                let last = frames.last().map(at).expect("it has one").to_owned();
                frames.extend(poll(address, &last).await);
            }
        };
        timeout(WAIT, asking).await.expect("it has all");
        assert_eq!(frames, heard[1..], "by asking, at {address}");
        let mut events = Events::open(address, "join=chat/a", at(&heard[2])).await;
        assert_eq!(events.next().await["recovered"], true);
        assert_eq!(events.next().await, heard[3], "as events, at {address}");
        let mut socket = Visitor::new(address).socket("/stream/").await;
        socket.send(&format!(r#"{{"join": "chat/a", "at": "{}"}}"#, at(&begun))).await;
        assert_eq!(socket.event().await["recovered"], true);
        for frame in &heard {
            assert_eq!(socket.event().await, *frame, "over a socket, at {address}");
        }
    }
    assert_eq!((here.stop().await, there.stop().await), (0, 0));
}

/// Says numbers; the place of the last.
async fn say(socket: &mut VisitorSocket, numbers: std::ops::Range<usize>) -> String {
    let mut last = String::new();
    for number in numbers {
        socket.send(&number.to_string()).await;
        loop {
            let frame = socket.frame().await.unwrap();
            if let Some(position) = frame.strip_prefix("at ") {
                position.clone_into(&mut last);
                break;
            }
        }
    }
    last
}

async fn come(address: &str, since: &str) -> (VisitorSocket, String) {
    let mut socket = Visitor::new(address).socket(&format!("/room/g/nobody/{since}/")).await;
    let at = socket.frame().await.unwrap();
    (socket, at)
}

#[tokio::test]
async fn a_reload_and_a_successor_of_one_machine_lose_nothing_said_on_the_other() {
    let Some(site) = Site::start().await else { return };
    let (mut here, there) = (site.machine(&["-w", "2"]).await, site.machine(&["-w", "1"]).await);
    let (mut listener, at) = come(here.address(), "now").await;
    let (mut speaker, _) = come(there.address(), "now").await;
    let begun = at.split(' ').nth(1).expect("its place").to_owned();
    // Its connection goes on in the new worker while the other machine talks.
    let workers = here.workers();
    let reload = here.manage(&["ctl", "reload"], &[]);
    let ((), last) = tokio::join!(async { drop(reload.await) }, say(&mut speaker, 0..50));
    for number in 0..50 {
        assert_eq!(listener.frame().await.unwrap(), number.to_string());
    }
    let worker = here.worker_of(listener.port).expect("some worker holds it");
    assert!(!workers.contains(&worker), "it is in a new worker");
    // Another arbiter: it is told to come back, and what it missed is in Redis.
    let seen = here.log().len();
    here.signal(Signal::USR2);
    let successor = here.said_after(seen, "handed over to the successor");
    let (_, _) = tokio::join!(successor, say(&mut speaker, 50..100));
    let mut heard = 50;
    let code = loop {
        match listener.frame().await {
            Ok(frame) => assert_eq!(frame, heard.to_string()),
            Err(code) => break code,
        }
        heard += 1;
    };
    assert_eq!(code, 1012);
    for since in [&last, &begun] {
        let (mut back, at) = come(here.address(), since).await;
        assert_eq!(at, format!("at {since} true"));
        for number in if *since == last { 50 } else { 0 }..100 {
            assert_eq!(back.frame().await.unwrap(), number.to_string());
        }
    }
    here.manage(&["ctl", "stop"], &[]).await;
    here.all_ended().await;
    assert_eq!(there.stop().await, 0);
}
