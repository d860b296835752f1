//! What the chat room promises, seen from outside: on one worker and on four.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{
    Answer, Pulse, Surroundings, Visitor, VisitorSocket, databases, promised, site_command,
    site_folder,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// The test's password for everybody.
const PASSWORD: &str = "correct horse battery";

fn is_said(event: &Value, text: &str) -> bool {
    event["channel"] == "webchat" && event["message"] == text
}

fn is_of(event: &Value, user: &Value, message: &str) -> bool {
    event["channel"] == "chatuser" && event["user"] == *user && event["message"] == message
}

/// Opens a socket and reads up to its own `joined`: the socket and who it is.
async fn enter(visitor: &mut Visitor) -> (VisitorSocket, Value) {
    let mut socket = visitor.socket("/message").await;
    let first = socket.event().await;
    assert_eq!(first["channel"], "chatuser", "{first}");
    assert_eq!(first["message"], "joined", "{first}");
    (socket, first["user"].clone())
}

/// Somebody in the room.
struct Guest {
    socket: VisitorSocket,
    user: Value,
    /// The worker that holds the connection.
    worker: Pid,
}

/// Lets new visitors in, one after the other: `count` of them, and more until every worker holds
/// one. (Of many at once a worker that happens to be awake takes most.)
async fn fill(pulse: &Pulse, count: usize, workers: usize) -> Vec<Guest> {
    const GUESTS_MAX: usize = 800;
    let mut guests: Vec<Guest> = Vec::new();
    while guests.len() < GUESTS_MAX {
        let (socket, user) = enter(&mut Visitor::new(pulse.address())).await;
        let worker = pulse.worker_of(socket.port).expect("some worker holds it");
        guests.push(Guest { socket, user, worker });
        let seen: BTreeSet<_> = guests.iter().map(|guest| guest.worker.as_raw_nonzero()).collect();
        if guests.len() >= count && seen.len() == workers {
            return guests;
        }
    }
    panic!("{GUESTS_MAX} connections did not reach all of {workers} workers");
}

#[tokio::test]
async fn the_room_keeps_its_promises_on_one_worker() {
    keeps_its_promises(Pulse::start(&["-w", "1"]).await, 1).await;
}

#[tokio::test]
async fn the_room_keeps_its_promises_on_one_worker_without_a_store() {
    let pulse = Pulse::start(&["-w", "1", "--data-store", "memory://"]).await;
    keeps_its_promises(pulse, 1).await;
}

#[tokio::test]
async fn the_room_keeps_its_promises_on_four_workers() {
    // Each is dropped, and with it removed, after its site has ended.
    for made in databases().await {
        let database = Some(made.url.clone());
        let surroundings = Surroundings { database, ..Surroundings::default() };
        keeps_its_promises(Pulse::start_in(surroundings, &["-w", "4"]).await, 4).await;
    }
}

async fn keeps_its_promises(pulse: Pulse, workers: usize) {
    answers_on_its_urls(&pulse).await;
    echoes_what_is_said(&pulse).await;
    cleans_and_limits_what_is_said(&pulse).await;
    counts_people_not_tabs(&pulse).await;
    tells_a_newcomer_who_is_here_and_what_was_said(&pulse).await;
    reaches_every_worker(&pulse, workers).await;
    knows_who_is_signed_in(&pulse).await;
    assert_eq!(pulse.stop().await, 0);
}

async fn answers_on_its_urls(pulse: &Pulse) {
    let mut visitor = Visitor::new(pulse.address());
    let home = visitor.get("/").await;
    assert_eq!(home.status, 200, "{home:?}");
    assert_eq!(home.headers["content-type"], "text/html; charset=utf-8");
    assert!(visitor.cookie("sessionid").is_some(), "the page brings the session: {home:?}");
    assert_eq!(visitor.get("/bsjdhcbjsdh").await.status, 404);
    assert_eq!(visitor.get("/accounts/login/").await.status, 200);
    assert_eq!(visitor.get("/message").await.status, 426);
    for file in ["/static/chat/chat.js", "/static/chat/chat.css", "/static/chat/icon.svg"] {
        assert!(home.body.contains(file), "{file}");
        assert_eq!(visitor.get(file).await.status, 200, "{file}");
    }
    assert_eq!(visitor.get("/static/../settings.toml").await.status, 404);
}

async fn echoes_what_is_said(pulse: &Pulse) {
    let mut visitor = Visitor::new(pulse.address());
    let mut socket = visitor.socket("/message").await;
    assert_eq!(socket.response.status(), 101);
    assert_eq!(socket.response.headers()["upgrade"].to_str().unwrap().to_lowercase(), "websocket");
    assert!(visitor.cookie("sessionid").is_some(), "the 101 brings the session");
    let me = socket.event().await;
    let name = me["user"].as_str().unwrap();
    let random = name.strip_prefix("an_").unwrap();
    assert_eq!(random.len(), 6, "{name}");
    assert!(random.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
    assert_eq!(me["authenticated"], false);

    socket.send("Hi there!").await;
    let said = socket.event_where(|event| is_said(event, "Hi there!")).await;
    assert_eq!(said["authenticated"], false);
    assert_eq!(said["user"], me["user"]);
    assert_eq!(socket.close().await, 1000);

    let (again, user) = enter(&mut visitor).await;
    assert_eq!(user, me["user"], "the session keeps the name");
    again.close().await;
}

async fn cleans_and_limits_what_is_said(pulse: &Pulse) {
    let (mut socket, _) = enter(&mut Visitor::new(pulse.address())).await;
    socket.send("").await;
    socket.send(" \n\t\r\n ").await;
    socket.send("  one \r\n\n  two\n").await;
    let next = socket.event_where(|event| event["channel"] != "chatuser").await;
    // History may come first; what is blank never comes.
    let cleaned = if is_said(&next, "one two") {
        next
    } else {
        socket.event_where(|event| is_said(event, "one two") || event["message"] == "").await
    };
    assert_eq!(cleaned["message"], "one two");

    socket.send(&"x".repeat(4097)).await;
    let error = socket.event_where(|event| event["channel"] == "error").await;
    assert!(error["message"].as_str().unwrap().contains("4096"), "{error}");
    let longest = "y".repeat(4096);
    socket.send(&longest).await;
    socket.event_where(|event| is_said(event, &longest)).await;
    socket.close().await;
}

async fn counts_people_not_tabs(pulse: &Pulse) {
    let (mut watcher, _) = enter(&mut Visitor::new(pulse.address())).await;
    let mut visitor = Visitor::new(pulse.address());
    let (first, ann) = enter(&mut visitor).await;
    let (second, same) = enter(&mut visitor).await;
    assert_eq!(ann, same);
    watcher.event_where(|event| is_of(event, &ann, "joined")).await;
    first.close().await;
    let (mut third, _) = enter(&mut visitor).await;
    third.send("still here").await;
    let next = watcher.event_where(|event| event["user"] == ann).await;
    assert!(is_said(&next, "still here"), "neither joined nor gone in between: {next}");
    second.close().await;
    third.close().await;
    let next = watcher.event_where(|event| event["user"] == ann).await;
    assert!(is_of(&next, &ann, "gone"), "{next}");
    watcher.close().await;
}

async fn tells_a_newcomer_who_is_here_and_what_was_said(pulse: &Pulse) {
    let (mut here, host) = enter(&mut Visitor::new(pulse.address())).await;
    here.send("before you came").await;
    here.event_where(|event| is_said(event, "before you came")).await;

    let mut newcomer = Visitor::new(pulse.address()).socket("/message").await;
    let (me, present, history) = welcome(&mut newcomer).await;
    assert!(present.contains(&host), "{present:?}");
    assert!(!present.contains(&me), "{present:?}");
    let last = history.last().expect("something was said");
    assert!(is_said(last, "before you came"), "{last}");
    assert_eq!(last["user"], host);

    newcomer.send("hello").await;
    let next = newcomer.event_where(|event| event["channel"] == "webchat").await;
    assert!(is_said(&next, "hello"), "nothing comes twice: {next}");
    newcomer.close().await;
    here.close().await;
}

/// Reads a whole welcome: who the newcomer is, who is present, what was said before.
async fn welcome(socket: &mut VisitorSocket) -> (Value, Vec<Value>, Vec<Value>) {
    let me = socket.event().await;
    let mut present = Vec::new();
    for _ in 0..me["present"].as_u64().unwrap() {
        let joined = socket.event().await;
        assert!(is_of(&joined, &joined["user"], "joined"), "{joined}");
        present.push(joined["user"].clone());
    }
    let mut history = Vec::new();
    for _ in 0..me["history"].as_u64().unwrap() {
        let said = socket.event().await;
        assert_eq!(said["channel"], "webchat", "{said}");
        history.push(said);
    }
    (me["user"].clone(), present, history)
}

async fn reaches_every_worker(pulse: &Pulse, workers: usize) {
    let mut guests = fill(pulse, workers, workers).await;
    guests[0].socket.send("to all workers").await;
    for guest in &mut guests {
        guest.socket.event_where(|event| is_said(event, "to all workers")).await;
    }
    join_all(guests.into_iter().map(|guest| guest.socket.close())).await;
}

async fn knows_who_is_signed_in(pulse: &Pulse) {
    let create = ["createsuperuser", "--noinput", "--username", "ann", "--email", "a@example.org"];
    pulse.manage(&create, &[("DJANGO_SUPERUSER_PASSWORD", PASSWORD)]).await;
    let mut visitor = Visitor::new(pulse.address());
    visitor.get("/accounts/login/").await;
    assert_eq!(log_in(&mut visitor, "wrong").await.status, 200);
    let answer = log_in(&mut visitor, PASSWORD).await;
    assert_eq!((answer.status, answer.headers["location"].as_str()), (302, "/"), "{answer:?}");
    assert!(visitor.get("/").await.body.contains("@ann"));
    speaks_signed_in(&mut visitor).await;

    assert_eq!(visitor.get("/accounts/logout/").await.status, 405);
    assert_eq!(visitor.post("/accounts/logout/", &[]).await.status, 302);
    let (socket, me) = enter(&mut visitor).await;
    assert_ne!(me, "ann");
    socket.close().await;
}

async fn log_in(visitor: &mut Visitor, password: &str) -> Answer {
    let fields = [("username", "ann"), ("password", password), ("next", "/")];
    visitor.post("/accounts/login/", &fields).await
}

async fn speaks_signed_in(visitor: &mut Visitor) {
    let (mut socket, me) = enter(visitor).await;
    assert_eq!(me, "ann");
    socket.send("it is me").await;
    let said = socket.event_where(|event| is_said(event, "it is me")).await;
    assert_eq!(said["authenticated"], true);
    assert_eq!(said["user"], "ann");
    socket.close().await;
}

#[tokio::test]
async fn two_hundred_sockets_get_a_thousand_messages_once_and_in_order() {
    const SOCKETS: usize = 200;
    const SENDERS: usize = 8;
    const EACH: usize = 125;
    // On a busy machine the first wait long until they read, and answer a ping.
    let pulse = Pulse::start(&["-w", "4", "--ping-timeout", "600"]).await;
    let guests = fill(&pulse, SOCKETS, 4).await;
    let mut sockets: Vec<VisitorSocket> = guests.into_iter().map(|guest| guest.socket).collect();

    join_all(sockets[..SENDERS].iter_mut().enumerate().map(async |(sender, socket)| {
        for number in 0..EACH {
            socket.send(&format!("{sender} {number}")).await;
        }
    }))
    .await;
    let heard = join_all(sockets.iter_mut().map(hear::<{ SENDERS * EACH }>)).await;

    let all: BTreeSet<&String> = heard[0].iter().collect();
    assert_eq!(all.len(), SENDERS * EACH, "each message once");
    for (socket, texts) in heard.iter().enumerate() {
        assert!(texts == &heard[0], "socket {socket} heard another order");
    }
    let mut next = [0; SENDERS];
    for text in &heard[0] {
        let (sender, number) = text.split_once(' ').unwrap();
        let sender: usize = sender.parse().unwrap();
        assert_eq!(number.parse::<usize>().unwrap(), next[sender], "in its sender's order");
        next[sender] += 1;
    }
    assert_eq!(pulse.stop().await, 0);
}

/// The texts of the next `COUNT` messages said in the room.
async fn hear<const COUNT: usize>(socket: &mut VisitorSocket) -> Vec<String> {
    let mut texts = Vec::with_capacity(COUNT);
    while texts.len() < COUNT {
        let event = socket.event().await;
        if event["channel"] == "webchat" {
            texts.push(event["message"].as_str().unwrap().to_owned());
        }
    }
    texts
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_nobody_else_notices() {
    const SOCKETS: usize = 100;
    let mut pulse = Pulse::start(&["-w", "4"]).await;
    let guests = fill(&pulse, SOCKETS, 4).await;
    let victim = guests[0].worker;
    let (lost, others): (Vec<Guest>, _) =
        guests.into_iter().partition(|guest| guest.worker == victim);
    let gone: Vec<Value> = lost.into_iter().map(|guest| guest.user).collect();
    let mut others: Vec<VisitorSocket> = others.into_iter().map(|guest| guest.socket).collect();

    others[0].send("before").await;
    let seen = pulse.log().len();
    let killed = Instant::now();
    kill_process(victim, Signal::KILL).unwrap();
    others[0].send("after").await;
    pulse.said_after(seen, "is ready").await;
    let back_after = killed.elapsed();
    others[0].send("healed").await;
    let soon = promised(Duration::from_secs(1), Duration::from_secs(10));
    assert!(back_after < soon, "the worker came back after {back_after:?}");
    assert_eq!(pulse.workers().len(), 4);
    for socket in &mut others {
        assert_eq!(hear::<3>(socket).await, ["before", "after", "healed"]);
    }
    // Whoever comes now finds no ghost.
    let mut newcomer = Visitor::new(pulse.address()).socket("/message").await;
    let (_, present, _) = welcome(&mut newcomer).await;
    assert_eq!(present.len(), others.len());
    assert!(present.iter().all(|user| !gone.contains(user)), "a ghost: {present:?}");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn the_room_hears_that_the_people_of_a_killed_worker_are_gone() {
    let pulse = Pulse::start(&["-w", "4"]).await;
    let mut guests = fill(&pulse, 4, 4).await;
    let mut watcher = guests.pop().expect("four guests at least");
    let lost = guests.iter_mut().find(|guest| guest.worker != watcher.worker);
    let lost = lost.expect("somebody on another worker");
    let begun = Instant::now();
    kill_process(lost.worker, Signal::KILL).unwrap();
    watcher.socket.event_where(|event| is_of(event, &lost.user, "gone")).await;
    let soon = promised(Duration::from_secs(1), Duration::from_secs(5));
    assert!(begun.elapsed() < soon, "{:?}", begun.elapsed());
    assert_eq!(lost.socket.close_code().await, 1006);
}

#[tokio::test]
async fn sigterm_tells_every_socket_and_leaves_nothing_behind() {
    let mut pulse = Pulse::start(&["-w", "4"]).await;
    let guests = fill(&pulse, 4, 4).await;
    let processes: Vec<Pid> =
        pulse.workers().into_iter().chain(pulse.store()).chain([pulse.arbiter()]).collect();
    assert_eq!(processes.len(), 6);
    pulse.signal(Signal::TERM);
    let codes = join_all(
        guests.into_iter().map(|mut guest| async move { guest.socket.close_code().await }),
    );
    assert!(codes.await.iter().all(|&code| code == 1001));
    assert_eq!(pulse.ended().await.code(), Some(0));
    for process in processes {
        assert!(test_kill_process(process).is_err(), "{process:?} is still there");
    }
    pulse.leaves_its_port().await;
}

#[tokio::test]
async fn a_store_in_memory_is_refused_for_more_than_one_worker() {
    let folder = site_folder();
    let mut command = site_command(folder.path(), &Default::default());
    command.args(["pulse", "-b", "127.0.0.1:0", "-w", "4", "--data-store", "memory://"]);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("memory://") && words.contains("worker"), "{words}");
    assert_eq!(words.trim().lines().count(), 1, "one clear line: {words}");
}
