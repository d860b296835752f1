//! djchat at reloads, with people who are signed in: its sockets go on in the new worker; those
//! over a Unix socket, where none can move, come back and are given what they missed.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use hulse_tests::{Pulse, Surroundings, Visitor, VisitorSocket};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::crowd::{Crowd, Page};

/// Longest wait for an answer or a frame.
const WAIT: Duration = Duration::from_secs(30);

const WORKERS: usize = 2;

/// The password of everybody.
const PASSWORD: &str = "correct horse battery";

/// Whose sockets cannot move; the only one who comes and goes.
const LATE: &str = "late";

/// Set: the whole experiment, which takes minutes.
const FULL: &str = "HULSE_TEST_LONG";

/// How much of it: each of the people has so many windows open.
struct Size {
    reloads: usize,
    requests: usize,
    people: usize,
    windows: usize,
    staying: usize,
    pace: Duration,
}

fn size() -> Size {
    match std::env::var_os(FULL).filter(|value| !value.is_empty()) {
        Some(_) => Size {
            reloads: 20,
            requests: 100_000,
            people: 20,
            windows: 50,
            staying: 100,
            pace: Duration::from_millis(200),
        },
        None => Size {
            reloads: 4,
            requests: 200,
            people: 1,
            windows: 20,
            staying: 5,
            pace: Duration::from_millis(20),
        },
    }
}

async fn sign_up_and_in(pulse: &Pulse, name: &str) -> Visitor {
    let create = ["createsuperuser", "--noinput", "--email", "a@example.org", "--username", name];
    pulse.manage(&create, &[("DJANGO_SUPERUSER_PASSWORD", PASSWORD)]).await;
    let mut visitor = Visitor::new(pulse.address());
    visitor.get("/accounts/login/").await;
    let fields = [("username", name), ("password", PASSWORD), ("next", "/")];
    let answer = visitor.post("/accounts/login/", &fields).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    visitor
}

/// What of an event counts here: a text that was said.
fn said(event: &Value) -> Option<String> {
    if event["channel"] == "webchat" {
        return Some(event["message"].as_str().unwrap().to_owned());
    }
    None
}

/// Reads until `text` is said: all that was said before. Nobody else comes or goes meanwhile.
async fn hear_until(socket: &mut VisitorSocket, text: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let frame = match socket.frame().await {
            Ok(frame) => frame,
            Err(code) => panic!("closed with {code} after {} texts", heard.len()),
        };
        let event: Value = serde_json::from_str(&frame).unwrap();
        match said(&event) {
            Some(said) if said == text => return heard,
            Some(said) => heard.push(said),
            None => assert_eq!(event["user"], LATE, "{event}"),
        }
    }
}

/// Reads what comes before the first text, `begin`: who is there.
async fn hear_begin(socket: &mut VisitorSocket) {
    let begin = |event: &Value| said(event).is_some_and(|text| text == "begin");
    socket.event_where(begin).await;
}

/// Says `0`, `1`, .. at a pace, each when the one before has come back, until it is told to stop,
/// then `end`; how many. The socket moves like the others.
async fn talk(mut socket: VisitorSocket, pace: Duration, stop: watch::Receiver<bool>) -> usize {
    let mut pace = interval(pace);
    let mut count = 0;
    loop {
        pace.tick().await;
        let is_last = *stop.borrow();
        let text = if is_last { "end".to_owned() } else { count.to_string() };
        socket.send(&text).await;
        assert!(hear_until(&mut socket, &text).await.is_empty());
        if is_last {
            return count;
        }
        count += 1;
    }
}

/// A connection that stays with its worker, and what it has heard.
struct Stayer {
    path: std::path::PathBuf,
    cookie: String,
    socket: WebSocketStream<UnixStream>,
    heard: Vec<String>,
    /// The last text's id.
    after: Option<String>,
    returns: usize,
}

impl Stayer {
    async fn come(path: &Path, cookie: &str) -> Self {
        let mut stayer = Self {
            path: path.to_owned(),
            cookie: cookie.to_owned(),
            socket: shake_hands(path, cookie, "").await,
            heard: Vec::new(),
            after: None,
            returns: 0,
        };
        while stayer.heard.last().is_none_or(|text| text != "begin") {
            let event = stayer.event().await.unwrap();
            stayer.hear(&event);
        }
        stayer
    }

    /// The next event, or the code of the end.
    async fn event(&mut self) -> Result<Value, u16> {
        loop {
            match timeout(WAIT, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(close))) => {
                    let _ = self.socket.flush().await;
                    return Err(close.map_or(1005, |close| u16::from(close.code)));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    fn hear(&mut self, event: &Value) {
        if let Some(text) = said(event) {
            self.heard.push(text);
            self.after = Some(event["id"].as_str().unwrap().to_owned());
        }
    }

    /// Listens until `end`, and comes back each time it is sent on.
    async fn listen(mut self) -> (Vec<String>, usize) {
        while self.heard.last().is_none_or(|text| text != "end") {
            match self.event().await {
                Ok(event) => {
                    // A welcome says whether all that was missed follows.
                    assert_ne!(event["recovered"], false, "something is lost: {event}");
                    self.hear(&event);
                }
                Err(code) => {
                    assert_eq!(code, 1012);
                    let after = self.after.as_deref().unwrap_or_default();
                    self.socket = shake_hands(&self.path, &self.cookie, after).await;
                    self.returns += 1;
                }
            }
        }
        (self.heard, self.returns)
    }
}

async fn shake_hands(path: &Path, cookie: &str, after: &str) -> WebSocketStream<UnixStream> {
    let query = if after.is_empty() { String::new() } else { format!("?after={after}") };
    let mut request = format!("ws://localhost/message{query}").into_client_request().unwrap();
    request.headers_mut().insert("origin", HeaderValue::from_static("http://localhost"));
    request.headers_mut().insert("cookie", HeaderValue::from_str(cookie).unwrap());
    let stream = UnixStream::connect(path).await.expect("nobody is refused");
    let shaken = timeout(WAIT, tokio_tungstenite::client_async(request, stream)).await;
    shaken.expect("in time").unwrap().0
}

/// Everybody in the room.
struct Room {
    /// All that move but the one who talks.
    movers: Vec<VisitorSocket>,
    talker: VisitorSocket,
    stayers: Vec<Stayer>,
    /// The page of one of them.
    page: Page,
}

impl Room {
    /// Lets all in, and hears `begin` everywhere.
    async fn fill(pulse: &Pulse, beside: &Path, size: &Size) -> Self {
        let mut visitors = Vec::new();
        for number in 0..size.people {
            visitors.push(sign_up_and_in(pulse, &format!("person{number}")).await);
        }
        let mut movers = Vec::new();
        for visitor in &visitors {
            let open = (0..size.windows).map(|_| {
                let mut visitor = visitor.clone();
                async move { visitor.socket("/message").await }
            });
            movers.extend(join_all(open).await);
        }
        let mut talker = visitors[0].socket("/message").await;
        talker.send("begin").await;
        hear_begin(&mut talker).await;
        join_all(movers.iter_mut().map(hear_begin)).await;
        let cookie =
            |visitor: &Visitor| format!("sessionid={}", visitor.cookie("sessionid").unwrap());
        let late = cookie(&sign_up_and_in(pulse, LATE).await);
        let stayers = join_all((0..size.staying).map(|_| Stayer::come(beside, &late))).await;
        let page = Page {
            cookie: cookie(&visitors[0]),
            is_right: |body| String::from_utf8_lossy(body).contains("@person0"),
        };
        Self { movers, talker, stayers, page }
    }
}

#[tokio::test]
async fn people_who_are_signed_in_notice_nothing_of_reloads_under_load() {
    let size = size();
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("chat.sock");
    let bind = format!("unix:{}", beside.display());
    let environment = vec![("HULSE_SERVER__SOCKETS_PER_ADDRESS".to_owned(), "2000".to_owned())];
    let surroundings = Surroundings { environment, ..Surroundings::default() };
    let pulse = Pulse::start_in(surroundings, &["-b", &bind, "-w", &WORKERS.to_string()]).await;
    let Room { mut movers, talker, stayers, page } = Room::fill(&pulse, &beside, &size).await;
    let stayers: Vec<_> = stayers.into_iter().map(|one| tokio::spawn(one.listen())).collect();
    let crowd = Crowd::come_for(&page, pulse.address(), 8, 4);
    let (stop, stopped) = watch::channel(false);
    let talker = tokio::spawn(talk(talker, size.pace, stopped));
    let hearing = join_all(movers.iter_mut().map(|socket| hear_until(socket, "end")));
    let reloading = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..size.reloads {
            let begun = Instant::now();
            pulse.manage(&["ctl", "reload"], &[]).await;
            slowest = slowest.max(begun.elapsed());
        }
        timeout(Duration::from_secs(800), crowd.answered(size.requests)).await.unwrap();
        stop.send_replace(true);
        slowest
    };
    let (heard, slowest) = tokio::join!(hearing, reloading);
    let (count, seen) = (talker.await.unwrap(), crowd.go().await);
    let said: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    assert!(heard.iter().all(|heard| *heard == said), "not each once and in order");
    let all = [&["begin".to_owned()], &said[..], &["end".to_owned()]].concat();
    let (staying, mut returns) = (stayers.len(), 0);
    for stayer in stayers {
        let (heard, came_back) = stayer.await.unwrap();
        assert!(heard == all, "not each once and in order: {heard:?}");
        assert!(came_back > 0);
        returns += came_back;
    }
    let failures = &seen.failures;
    assert!(failures.is_empty(), "{} of {}: {failures:?}", failures.len(), seen.answered);
    have_moved(&pulse, size.reloads * (movers.len() + 1), returns).await;
    println!(
        "djchat: {} reloads, slowest {slowest:?}; {} requests, 0 failed, slowest {:?}; {count} \
         messages to {} sockets that moved each time and {staying} that came back {returns} times",
        size.reloads,
        seen.answered,
        seen.slowest,
        movers.len(),
    );
    assert_eq!(pulse.stop().await, 0);
}

/// Waits until the workers have told that so many moved and were sent on, and nobody died.
async fn have_moved(pulse: &Pulse, moved: usize, sent_on: usize) {
    let mut look = interval(Duration::from_millis(20));
    let told = async {
        loop {
            look.tick().await;
            let status = pulse.status().await;
            if status["sockets_moved"] == moved && status["sockets_sent_on"] == sent_on {
                return status;
            }
        }
    };
    assert_eq!(timeout(WAIT, told).await.expect("all moved each time")["deaths"], 0);
}
