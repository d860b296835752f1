//! WebSockets at a reload: those that can move go on in the new worker, and their clients notice
//! nothing; the others are told to come back.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Pulse, Visitor, VisitorSocket};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use crate::crowd::Crowd;

/// Longest wait for bytes.
const WAIT: Duration = Duration::from_secs(30);

async fn reload(pulse: &Pulse) {
    pulse.manage(&["ctl", "reload"], &[]).await;
}

/// Reloads, and waits until all old workers have ended.
async fn reload_to_the_end(pulse: &mut Pulse, workers: usize) {
    let seen = pulse.log().len();
    reload(pulse).await;
    for number in 1..=workers {
        pulse.said_after(seen, &format!("the old worker {number} ended")).await;
    }
}

fn ids(workers: &[Pid]) -> BTreeSet<i32> {
    workers.iter().map(|worker| worker.as_raw_nonzero().get()).collect()
}

async fn open(pulse: &Pulse, path: &str, count: usize) -> Vec<VisitorSocket> {
    let address = pulse.address();
    join_all((0..count).map(|_| async { Visitor::new(address).socket(path).await })).await
}

/// What was moved and what was sent on, as `ctl status` has it.
async fn moves(pulse: &Pulse) -> (u64, u64) {
    let status = pulse.status().await;
    let number = |key: &str| status[key].as_u64().unwrap();
    (number("sockets_moved"), number("sockets_sent_on"))
}

/// Reads until a frame is `end`: all before it.
async fn hear_until(socket: &mut VisitorSocket, end: impl Fn(&str) -> bool) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        match socket.frame().await {
            Ok(frame) if end(&frame) => return heard,
            Ok(frame) => heard.push(frame),
            Err(code) => panic!("closed with {code} after {} frames", heard.len()),
        }
    }
}

/// Says `0`, `1`, .. over a socket of `/room/` at a pace, each when the one before has its place,
/// until it is told to stop, then `end`; how many. The socket moves like the others.
async fn talk(mut socket: VisitorSocket, pace: Duration, stop: watch::Receiver<bool>) -> usize {
    let mut pace = interval(pace);
    let mut count = 0;
    loop {
        pace.tick().await;
        let is_last = *stop.borrow();
        socket.send(&if is_last { "end".to_owned() } else { count.to_string() }).await;
        hear_until(&mut socket, |frame| frame.starts_with("at ")).await;
        if is_last {
            return count;
        }
        count += 1;
    }
}

/// Hears a group over sockets that cannot move, each of which goes on where the one before ended,
/// until `end`; what was said, and how often it was sent on.
async fn come_back(address: String) -> (Vec<String>, usize) {
    let (mut since, mut heard, mut returns) = ("now".to_owned(), Vec::new(), 0);
    loop {
        let path = format!("/staying/g/nobody/{since}/");
        let mut socket = Visitor::new(&address).socket(&path).await;
        let at = socket.frame().await.unwrap();
        assert!(returns == 0 || at.ends_with(" true"), "something is lost: {at}");
        let (epoch, offset) = at.split(' ').nth(1).unwrap().split_once('-').unwrap();
        let mut offset: usize = offset.parse().unwrap();
        loop {
            match socket.frame().await {
                Ok(frame) if frame == "end" => return (heard, returns),
                Ok(frame) => heard.push(frame),
                Err(code) => {
                    assert_eq!(code, 1012);
                    break;
                }
            }
            offset += 1;
        }
        since = format!("{epoch}-{offset}");
        returns += 1;
    }
}

/// Set: the whole experiment, which takes minutes.
const FULL: &str = "HULSE_TEST_LONG";

/// How much of it.
struct Size {
    reloads: usize,
    requests: usize,
    moving: usize,
    staying: usize,
    pace: Duration,
}

fn size() -> Size {
    let pace = Duration::from_millis;
    match std::env::var_os(FULL).filter(|value| !value.is_empty()) {
        Some(_) => {
            Size { reloads: 20, requests: 100_000, moving: 1000, staying: 100, pace: pace(100) }
        }
        None => Size { reloads: 2, requests: 500, moving: 60, staying: 10, pace: pace(10) },
    }
}

#[tokio::test]
async fn reloads_under_load_lose_nothing_of_anybody() {
    let Size { reloads, requests, moving, staying, pace } = size();
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut movers = Vec::new();
    while movers.len() < moving {
        movers.extend(open(&pulse, "/feed/g/", 20).await);
    }
    let mut talker = open(&pulse, "/room/g/nobody/now/", 1).await.remove(0);
    talker.frame().await.unwrap();
    let stayers: Vec<_> =
        (0..staying).map(|_| tokio::spawn(come_back(pulse.address().to_owned()))).collect();
    // All of them are there when the first word is said.
    let mut look = interval(Duration::from_millis(20));
    let all = json!(moving + staying + 1);
    let groups = async || {
        let said = pulse.manage(&["ctl", "groups", "--json"], &[]).await;
        serde_json::from_str::<Value>(&said).unwrap()["groups"]["g"].clone()
    };
    while groups().await != all {
        look.tick().await;
    }
    let crowd = Crowd::come(pulse.address(), 8, 4);
    let (stop, stopped) = watch::channel(false);
    let talker = tokio::spawn(talk(talker, pace, stopped));
    let hearing = join_all(movers.iter_mut().map(|socket| hear_until(socket, |f| f == "end")));
    let reloading = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..reloads {
            let begun = Instant::now();
            reload(&pulse).await;
            slowest = slowest.max(begun.elapsed());
        }
        timeout(Duration::from_secs(600), crowd.answered(requests)).await.unwrap();
        stop.send_replace(true);
        slowest
    };
    let (heard, slowest) = tokio::join!(hearing, reloading);
    let (count, seen) = (talker.await.unwrap(), crowd.go().await);
    let said: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    assert!(heard.iter().all(|heard| *heard == said), "not each once and in order");
    let mut returns = 0;
    for stayer in stayers {
        let (heard, came_back) = stayer.await.unwrap();
        assert!(heard == said, "not each once and in order: {heard:?}");
        assert!(came_back > 0);
        returns += came_back;
    }
    let failures = &seen.failures;
    assert!(failures.is_empty(), "{} of {}: {failures:?}", failures.len(), seen.answered);
    // Workers tell with their heartbeat, and at their end.
    let moved = u64::try_from(reloads * (moving + 1)).unwrap();
    let told = async {
        while moves(&pulse).await.0 < moved {
            look.tick().await;
        }
    };
    timeout(WAIT, told).await.unwrap();
    assert_eq!(moves(&pulse).await.0, moved);
    assert_eq!(pulse.status().await["deaths"], 0);
    println!(
        "{reloads} reloads, slowest {slowest:?}; {} requests, 0 failed; {count} messages to \
         {moving} sockets that moved each time and {staying} that came back {returns} times",
        seen.answered
    );
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_room_full_of_people_notices_nothing_of_two_reloads() {
    let mut pulse = Pulse::start(&["-w", "2"]).await;
    // Twenty people with ten windows each.
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut visitor = Visitor::new(pulse.address());
        visitor.get("/").await;
        let windows = (0..10).map(|_| {
            let mut visitor = visitor.clone();
            async move { visitor.socket("/message").await }
        });
        sockets.extend(join_all(windows).await);
    }
    let mut sender = sockets.pop().unwrap();
    sender.send("begin").await;
    let is_said = |frame: &str, text: &str| {
        let event: Value = serde_json::from_str(frame).unwrap();
        event["channel"] == "webchat" && event["message"] == text
    };
    hear_until(&mut sender, |frame| is_said(frame, "begin")).await;
    let before = ids(&pulse.workers());
    let (stop, stopped) = watch::channel(false);
    let talking = async {
        let mut count = 0;
        while !*stopped.borrow() {
            sender.send(&format!("m{count}")).await;
            hear_until(&mut sender, |frame| is_said(frame, &format!("m{count}"))).await;
            count += 1;
        }
        sender.send("end").await;
        count
    };
    let listening = join_all(sockets.iter_mut().map(async |socket| {
        hear_until(socket, |frame| is_said(frame, "begin")).await;
        hear_until(socket, |frame| is_said(frame, "end")).await
    }));
    let reloading = async {
        reload_to_the_end(&mut pulse, 2).await;
        reload_to_the_end(&mut pulse, 2).await;
        stop.send_replace(true);
    };
    let (count, heard, ()) = tokio::join!(talking, listening, reloading);
    for heard in &heard {
        let texts: Vec<String> = heard
            .iter()
            .map(|frame| {
                let event: Value = serde_json::from_str(frame).unwrap();
                assert_eq!(event["channel"], "webchat", "nobody came or went: {event}");
                event["message"].as_str().unwrap().to_owned()
            })
            .collect();
        let said: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
        assert!(texts == said, "not each once and in order: {texts:?}");
    }
    assert!(count > 0);
    assert!(ids(&pulse.workers()).is_disjoint(&before));
    for socket in &sockets {
        assert!(pulse.worker_of(socket.port).is_some(), "a new worker holds it");
    }
    // Each moved twice, the sender too; none was sent on.
    assert_eq!(moves(&pulse).await, (400, 0));
    // They are who they were, and somebody who comes sees each of them once.
    let mut visitor = Visitor::new(pulse.address());
    let welcome = visitor.socket("/message").await.event().await;
    assert_eq!(welcome["present"], 20, "{welcome}");
    println!("{count} messages to {} sockets", sockets.len());
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn who_cannot_move_is_sent_on_and_the_others_are_not() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut staying = open(&pulse, "/staying/g/nobody/now/", 20).await;
    staying.extend(open(&pulse, "/clock/", 20).await);
    let mut moving = open(&pulse, "/echo/", 20).await;
    moving.extend(open(&pulse, "/routed/", 20).await);
    reload_to_the_end(&mut pulse, 2).await;
    let codes = join_all(staying.iter_mut().map(VisitorSocket::close_code)).await;
    assert!(codes.iter().all(|code| *code == 1012), "{codes:?}");
    for socket in &mut moving {
        socket.send("still here?").await;
        assert_eq!(socket.frame().await.unwrap(), "still here?");
    }
    assert_eq!(moves(&pulse).await, (40, 40));
    let shown = pulse.manage(&["ctl", "status"], &[]).await;
    assert!(shown.contains("reloads have moved 40 WebSockets and sent 40 on"), "{shown}");
    // What moved once moves again, and ends as ever.
    reload_to_the_end(&mut pulse, 2).await;
    assert_eq!(moves(&pulse).await, (80, 40));
    for socket in moving {
        assert_eq!(socket.close().await, 1000);
    }
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn state_goes_along_to_who_can_read_it() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut counted = open(&pulse, "/counted/", 5).await;
    let mut count = async |expected: &str| {
        for socket in &mut counted {
            socket.send("one more").await;
            assert_eq!(socket.frame().await.unwrap(), expected);
        }
    };
    count("1").await;
    reload_to_the_end(&mut pulse, 1).await;
    count("2").await;
    fs::write(pulse.folder().join("other-version"), "").unwrap();
    reload_to_the_end(&mut pulse, 1).await;
    let codes = join_all(counted.iter_mut().map(VisitorSocket::close_code)).await;
    assert_eq!(codes, [1012; 5]);
    assert!(pulse.log().contains("the consumer's state is of version 1, not 2"));
    assert_eq!(moves(&pulse).await, (5, 5));
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_new_worker_that_dies_takes_nobody_with_it_unnoticed() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut hanging = open(&pulse, "/counted/", 10).await;
    let mut moving = open(&pulse, "/echo/", 30).await;
    fs::write(pulse.folder().join("hang-at-resume"), "").unwrap();
    let seen = pulse.log().len();
    reload(&pulse).await;
    pulse.said_after(seen, "resume begins").await;
    let status = pulse.status().await;
    let children = status["children"].as_array().unwrap();
    let new = children.iter().find(|c| c["role"] == "worker" && c["state"] == "ready").unwrap();
    let new = i32::try_from(new["process"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(new).unwrap(), Signal::KILL).unwrap();
    // What it had not taken is the old one's, and told so.
    let codes = join_all(hanging.iter_mut().map(VisitorSocket::close_code)).await;
    assert_eq!(codes, [1012; 10]);
    // What it had is gone with it; the rest was sent on. Nobody hangs.
    let codes = join_all(moving.iter_mut().map(VisitorSocket::close_code)).await;
    let lost = codes.iter().filter(|code| **code == 1006).count();
    assert!(codes.iter().all(|code| [1006, 1012].contains(code)), "{codes:?}");
    fs::remove_file(pulse.folder().join("hang-at-resume")).unwrap();
    pulse.said_after(seen, "the old worker 1 ended").await;
    assert_eq!(moves(&pulse).await, (lost as u64, 40 - lost as u64));
    let mut back = open(&pulse, "/echo/", 1).await.remove(0);
    back.send("again").await;
    assert_eq!(back.frame().await.unwrap(), "again");
    assert_eq!(pulse.stop().await, 0);
}

/// A client's frame.
fn frame(first: u8, text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first, 0x80 | u8::try_from(text.len()).unwrap()];
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A WebSocket without manners.
async fn raw(pulse: &Pulse, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(pulse.address()).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(WAIT, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

async fn expect(stream: &mut TcpStream, frames: &[&str]) {
    for text in frames {
        let mut read = vec![0; 2 + text.len()];
        timeout(WAIT, stream.read_exact(&mut read)).await.unwrap().unwrap();
        let expected = [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(&expected));
    }
}

#[tokio::test]
async fn half_a_frame_half_a_message_and_what_comes_meanwhile_go_along() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let long = "a long text, é and all";
    let whole = frame(0x81, long);
    // Cut at every place of a frame, inside a letter too; and a message of three frames.
    let mut cut = Vec::new();
    for at in 0..whole.len() {
        let mut stream = raw(&pulse, "/echo/").await;
        stream.write_all(&[frame(0x81, "first"), whole[..at].to_vec()].concat()).await.unwrap();
        expect(&mut stream, &["first"]).await;
        cut.push((at, stream));
    }
    let mut parts = raw(&pulse, "/echo/").await;
    parts.write_all(&[frame(0x81, "x"), frame(0x01, "one ")].concat()).await.unwrap();
    expect(&mut parts, &["x"]).await;
    let (mut hearing, mut saying) = raw(&pulse, "/echo/").await.into_split();
    let (stop, stopped) = watch::channel(false);
    let reloading = async {
        reload_to_the_end(&mut pulse, 1).await;
        reload_to_the_end(&mut pulse, 1).await;
        stop.send_replace(true);
    };
    // One that says something all the time, more at once than is handled in one turn.
    let last = b"\x81\x06999999";
    let saying = async {
        let (mut pace, mut said) = (interval(Duration::from_millis(10)), 0);
        while !*stopped.borrow() {
            pace.tick().await;
            let burst = (said..said + 40).flat_map(|number| frame(0x81, &format!("{number:06}")));
            saying.write_all(&burst.collect::<Vec<u8>>()).await.unwrap();
            said += 40;
        }
        saying.write_all(&frame(0x81, "999999")).await.unwrap();
        said
    };
    // And takes what comes back.
    let hearing = async {
        let mut heard = Vec::new();
        while !heard.ends_with(last) {
            let read = timeout(WAIT, hearing.read_buf(&mut heard)).await.unwrap();
            assert!(read.unwrap() > 0, "it was cut off");
        }
        heard
    };
    let ((), said, heard) = tokio::join!(reloading, saying, hearing);
    for (at, mut stream) in cut {
        stream.write_all(&[whole[at..].to_vec(), frame(0x81, "last")].concat()).await.unwrap();
        expect(&mut stream, &[long, "last"]).await;
    }
    parts.write_all(&frame(0x00, "two ")).await.unwrap();
    reload_to_the_end(&mut pulse, 1).await;
    parts.write_all(&frame(0x80, "three")).await.unwrap();
    expect(&mut parts, &["one two three"]).await;
    let frames = (0..said).flat_map(|n| [&b"\x81\x06"[..], format!("{n:06}").as_bytes()].concat());
    let frames: Vec<u8> = frames.chain(*last).collect();
    assert!(heard == frames, "not each once and in order");
    assert_eq!(moves(&pulse).await.1, 0);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn streams_go_on_without_a_gap_and_without_a_word() {
    let mut pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut sockets = Vec::new();
    for number in 0..30 {
        let path = format!("/stream/?as=p{}", number % 10);
        let mut socket = Visitor::new(pulse.address()).socket(&path).await;
        for room in ["a", "b"] {
            let join = json!({ "join": format!("chat/{room}") });
            socket.send(&join.to_string()).await;
            socket.event_where(|event| event["joined"].is_string()).await;
        }
        sockets.push(socket);
    }
    let mut sender = sockets.pop().unwrap();
    let (stop, stopped) = watch::channel(false);
    let say = |key: usize, data: &str| {
        json!({ "send": "chat/a", "key": format!("k{key}"), "data": data }).to_string()
    };
    sender.send(&say(0, "begin")).await;
    let talking = async {
        let mut count = 0;
        loop {
            sender.event_where(|event| event["sent"] == format!("k{count}")).await;
            if *stopped.borrow() {
                sender.send(&say(count + 1, "end")).await;
                return count;
            }
            count += 1;
            sender.send(&say(count, &count.to_string())).await;
        }
    };
    let listening = join_all(sockets.iter_mut().map(async |socket| {
        socket.event_where(|event| event["data"] == "begin").await;
        let mut heard = Vec::new();
        loop {
            let event = socket.event().await;
            assert_eq!(event["stream"], "chat/a", "nobody came, went or joined: {event}");
            if event["data"] == "end" {
                return heard;
            }
            heard.push(event["data"].as_str().unwrap().to_owned());
        }
    }));
    let reloading = async {
        reload_to_the_end(&mut pulse, 2).await;
        reload_to_the_end(&mut pulse, 2).await;
        stop.send_replace(true);
    };
    let (count, heard, ()) = tokio::join!(talking, listening, reloading);
    let said: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    assert!(heard.iter().all(|heard| *heard == said), "not each once and in order");
    assert_eq!(moves(&pulse).await, (60, 0));
    // A send that was answered before is answered the same.
    sender.send(&say(0, "begin")).await;
    sender.event_where(|event| event["sent"] == "k0").await;
    sender.send(&json!({ "ping": 1 }).to_string()).await;
    sender.event_where(|event| event["pong"] == 1).await;
    assert_eq!(pulse.stop().await, 0);
}
