//! What goes wrong while WebSockets go on in the new worker: their clients are told to come back,
//! and nobody is left with nothing.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, RedisServer, Surroundings, Visitor, VisitorSocket};
use rustix::process::{Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

async fn reload_to_the_end(pulse: &mut Pulse, workers: usize) {
    let seen = pulse.log().len();
    pulse.manage(&["ctl", "reload"], &[]).await;
    for number in 1..=workers {
        pulse.said_after(seen, &format!("the old worker {number} ended")).await;
    }
}

async fn open(pulse: &Pulse, path: &str) -> VisitorSocket {
    Visitor::new(pulse.address()).socket(path).await
}

/// A WebSocket whose client says what the test wants.
async fn raw(pulse: &Pulse, path: &str) -> TcpStream {
    raw_with(pulse, path, "").await
}

/// The same, with another header.
async fn raw_with(pulse: &Pulse, path: &str, header: &str) -> TcpStream {
    let mut stream = TcpStream::connect(pulse.address()).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {header}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    stream
}

#[tokio::test]
async fn a_new_worker_that_stops_before_it_takes_one_has_not_taken_it() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "-t", "6"]).await;
    let mut counted = open(&pulse, "/counted/").await;
    fs::write(pulse.folder().join("stop-at-resume"), "").unwrap();
    let seen = pulse.log().len();
    pulse.manage(&["ctl", "reload"], &[]).await;
    pulse.said_after(seen, "stopped").await;
    // Long before the arbiter finds that the new one is silent.
    assert_eq!(counted.close_code().await, 1012);
    pulse.said_after(seen, "the new worker hangs: what it has not taken stays").await;
    pulse.said_after(seen, "is silent, killing it").await;
    let mut back = open(&pulse, "/counted/").await;
    back.send("again").await;
    assert_eq!(back.frame().await.unwrap(), "1");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn who_is_not_taken_in_a_short_time_is_told_within_it() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--graceful-timeout", "3"]).await;
    let mut counted = open(&pulse, "/counted/").await;
    fs::write(pulse.folder().join("hang-at-resume"), "").unwrap();
    let seen = pulse.log().len();
    pulse.manage(&["ctl", "reload"], &[]).await;
    pulse.said_after(seen, "resume begins").await;
    assert_eq!(counted.close_code().await, 1012);
    drop(counted);
    let ended = pulse.said_after(seen, "the old worker 1 ended").await;
    assert!(ended.contains("exit status: 0"), "{ended}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_client_that_is_gone_is_not_given_another_life_by_each_reload() {
    let environment =
        ["INTERVAL", "TIMEOUT"].map(|of| (format!("HULSE_SERVER__PING_{of}"), "2".to_owned()));
    let surroundings = Surroundings {
        program: Program::Testsite,
        environment: environment.into(),
        ..Surroundings::default()
    };
    let mut pulse = Pulse::start_in(surroundings, &["-w", "1"]).await;
    let mut stream = raw(&pulse, "/echo/").await;
    let begun = Instant::now();
    // It answers no ping, and hears the end, without a goodbye.
    let silent = async {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        begun.elapsed()
    };
    // Each long before it is missed.
    let reloading = async {
        let mut pace = interval(Duration::from_millis(700));
        loop {
            pace.tick().await;
            reload_to_the_end(&mut pulse, 1).await;
        }
    };
    let lived = tokio::select! {
        lived = timeout(Duration::from_secs(15), silent) => lived.expect("it is dropped"),
        () = reloading => unreachable!("it goes on for ever"),
    };
    assert!(lived > Duration::from_secs(3), "{lived:?}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn over_redis_nobody_comes_goes_or_misses_anything() {
    let Some(server) = RedisServer::start().await else { return };
    let url = format!("redis://{}/2?prefix=site", server.host());
    let mut pulse = Pulse::start_testsite(&["-w", "2", "--data-store", &url]).await;
    // Five people with four windows each.
    let mut windows = Vec::new();
    for number in 0..20 {
        let path = format!("/room/lounge/p{}/now/", number % 5);
        let mut window = open(&pulse, &path).await;
        assert!(window.frame().await.unwrap().starts_with("at "));
        windows.push(window);
    }
    let mut sender = open(&pulse, "/room/lounge/nobody/now/").await;
    sender.send("begin").await;
    let until = async |socket: &mut VisitorSocket, end: &str| {
        let mut heard = Vec::new();
        loop {
            match socket.frame().await.unwrap() {
                frame if frame == end => return heard,
                frame => heard.push(frame),
            }
        }
    };
    for window in &mut windows {
        until(window, "begin").await;
    }
    reload_to_the_end(&mut pulse, 2).await;
    sender.send("between").await;
    reload_to_the_end(&mut pulse, 2).await;
    sender.send("end").await;
    for heard in join_all(windows.iter_mut().map(|window| until(window, "end"))).await {
        assert_eq!(heard, ["between"]);
    }
    let status = pulse.status().await;
    assert_eq!((&status["sockets_moved"], &status["sockets_sent_on"]), (&42.into(), &0.into()));
    // And they are counted as what they are: of the last window that goes it is said.
    let mut watcher = open(&pulse, "/room/lounge/nobody/now/").await;
    assert!(watcher.frame().await.unwrap().starts_with("at "));
    drop(windows);
    let mut gone: Vec<String> = Vec::new();
    while gone.len() < 5 {
        gone.push(watcher.frame().await.unwrap());
    }
    gone.sort();
    assert_eq!(gone, ["p0 left", "p1 left", "p2 left", "p3 left", "p4 left"]);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn one_that_handles_several_messages_moves_when_it_is_done_with_them() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut several = open(&pulse, "/several/").await;
    let (seen, hold) = (pulse.log().len(), pulse.folder().join("hold"));
    fs::write(&hold, "").unwrap();
    several.send("one").await;
    several.send("two").await;
    pulse.said_after(seen, "several begins").await;
    pulse.manage(&["ctl", "reload"], &[]).await;
    fs::remove_file(hold).unwrap();
    let mut answers = [several.frame().await.unwrap(), several.frame().await.unwrap()];
    answers.sort();
    assert_eq!(answers, ["one", "two"]);
    pulse.said_after(seen, "the old worker 1 ended").await;
    several.send("three").await;
    assert_eq!(several.frame().await.unwrap(), "three");
    assert_eq!(pulse.status().await["sockets_moved"], 1);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn one_that_is_too_large_is_sent_on_and_the_log_says_why() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut moving = open(&pulse, "/echo/").await;
    // 300,000 bytes are announced, and nearly all of them there.
    let mut large = raw(&pulse, "/echo/").await;
    let head = [&[0x81, 0xFF][..], &300_000_u64.to_be_bytes(), &[0; 4]].concat();
    large.write_all(&[head, vec![b'x'; 290_000]].concat()).await.unwrap();
    // They are read when the one who came later is answered.
    for _ in 0..50 {
        moving.send("read it").await;
        moving.frame().await.unwrap();
    }
    let seen = pulse.log().len();
    reload_to_the_end(&mut pulse, 1).await;
    pulse.said_after(seen, "it is larger than 256 KiB").await;
    let mut goodbye = Vec::new();
    large.read_to_end(&mut goodbye).await.unwrap();
    assert_eq!(goodbye[..1], [0x88]);
    assert_eq!(goodbye[2..4], 1012_u16.to_be_bytes());
    moving.send("still here?").await;
    assert_eq!(moving.frame().await.unwrap(), "still here?");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn an_old_worker_that_is_killed_leaves_nothing_of_what_it_was_giving() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let old = pulse.workers()[0];
    let mut sockets = join_all((0..10).map(|_| open(&pulse, "/counted/"))).await;
    fs::write(pulse.folder().join("hang-at-resume"), "").unwrap();
    let seen = pulse.log().len();
    pulse.manage(&["ctl", "reload"], &[]).await;
    pulse.said_after(seen, "resume begins").await;
    kill_process(old, Signal::KILL).unwrap();
    let codes = join_all(sockets.iter_mut().map(VisitorSocket::close_code)).await;
    assert_eq!(codes, [1006; 10]);
    pulse.said_after(seen, "the old worker 1 ended").await;
    // What the new one was making ready is gone with the line.
    let gone = async {
        loop {
            let status = pulse.status().await;
            let of_workers = status["children"].as_array().unwrap().iter();
            let mut workers = of_workers.filter(|child| child["role"] == "worker");
            if workers.all(|worker| worker["sockets"] == 0 && worker["connections"] == 0) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(pulse.status().await["sockets_moved"], 0);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn reloads_leak_no_descriptor_and_with_the_store_inside_who_has_groups_comes_back() {
    let mut pulse = Pulse::start_testsite(&["--data-store", "memory://"]).await;
    let mut moving = join_all((0..20).map(|_| open(&pulse, "/echo/"))).await;
    let mut room = open(&pulse, "/room/g/ann/now/").await;
    assert!(room.frame().await.unwrap().starts_with("at "));
    let held = |pulse: &Pulse| {
        let worker = pulse.workers()[0].as_raw_nonzero();
        fs::read_dir(format!("/proc/{worker}/fd")).unwrap().count()
    };
    reload_to_the_end(&mut pulse, 1).await;
    // The new worker has another store, which knows nothing of the group.
    assert_eq!(room.close_code().await, 1012);
    let before = held(&pulse);
    for _ in 0..3 {
        reload_to_the_end(&mut pulse, 1).await;
    }
    let after = held(&pulse);
    assert!(after <= before + 3, "{before}, {after}");
    for socket in &mut moving {
        socket.send("still here?").await;
        assert_eq!(socket.frame().await.unwrap(), "still here?");
    }
    let mut back = open(&pulse, "/room/g/ann/now/").await;
    assert!(back.frame().await.unwrap().starts_with("at "));
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_it_ends_all_with_a_word() {
    let mut pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut hanging = join_all((0..5).map(|_| open(&pulse, "/counted/"))).await;
    let mut moving = join_all((0..5).map(|_| open(&pulse, "/echo/"))).await;
    fs::write(pulse.folder().join("hang-at-resume"), "").unwrap();
    let seen = pulse.log().len();
    pulse.manage(&["ctl", "reload"], &[]).await;
    pulse.said_after(seen, "resume begins").await;
    pulse.signal(Signal::TERM);
    let all = hanging.iter_mut().chain(&mut moving).map(VisitorSocket::close_code);
    let codes = join_all(all).await;
    assert!(codes.iter().all(|code| [1001, 1012].contains(code)), "{codes:?}");
    drop((hanging, moving));
    assert_eq!(pulse.ended().await.code(), Some(0));
    assert!(!pulse.log()[seen..].contains("killing it"), "{}", pulse.log());
}

#[tokio::test]
async fn what_moved_keeps_its_place_and_is_spoken_to_as_agreed() {
    let setting = |name: &str, value: &str| (format!("HULSE_SERVER__{name}"), value.to_owned());
    let surroundings = Surroundings {
        program: Program::Testsite,
        environment: vec![setting("SOCKETS_MAX", "3"), setting("DEFLATE", "true")],
        ..Surroundings::default()
    };
    let mut pulse = Pulse::start_in(surroundings, &["-w", "1"]).await;
    let mut squeezed =
        raw_with(&pulse, "/echo/", "Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
    let sockets = [open(&pulse, "/echo/").await, open(&pulse, "/echo/").await];
    for round in 0..2 {
        let refused = Visitor::new(pulse.address()).try_socket("/echo/").await;
        assert_eq!(refused.err(), Some(503), "round {round}");
        // It may say it plainly, and hears it compressed: RFC 7692 sets the bit of 0x40.
        let said = [&[0x81, 0xFE][..], &2000_u16.to_be_bytes(), &[0; 4], &[b'x'; 2000]].concat();
        squeezed.write_all(&said).await.unwrap();
        assert_eq!(squeezed.read_u8().await.unwrap(), 0xC1, "round {round}");
        let bytes = squeezed.read_u8().await.unwrap();
        assert!(bytes < 126, "{bytes}");
        squeezed.read_exact(&mut vec![0; bytes.into()]).await.unwrap();
        reload_to_the_end(&mut pulse, 1).await;
    }
    drop(sockets);
    let gone = async { while Visitor::new(pulse.address()).try_socket("/echo/").await.is_err() {} };
    timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(pulse.stop().await, 0);
}
