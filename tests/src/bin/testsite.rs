//! The site that tests of the server start: slow views, views that hang, views that write, a page
//! with streams.

#[path = "testsite/causes.rs"]
mod causes;
#[path = "testsite/groups.rs"]
mod groups;
#[path = "testsite/people.rs"]
mod people;
#[path = "testsite/several.rs"]
mod several;
#[path = "testsite/visitors.rs"]
mod visitors;

use std::path::Path as FilePath;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use hulse::blocking::{blocking, wait};
use hulse::channels::{Message, Policy, Position, Presence};
use hulse::contrib::auth::User;
use hulse::contrib::{auth, publish, sessions, staticfiles};
use hulse::db::Sql;
use hulse::forms::FormData;
use hulse::http::{Path, Request, Response, header, render};
use hulse::middleware::{RequestId, Throttle};
use hulse::services::{Service, service};
use hulse::sockets::{Concurrent, Consumer, Event, Handoff, Routing, Socket, route, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::urls::{Urls, include, path};
use hulse::{Error, Project, Result, Site};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

/// While this file is in the current folder, workers die before they serve.
const DIE_AT_START: &str = "die-at-start";
/// While this file is there, they get no further than this.
const HANG_AT_START: &str = "hang-at-start";
/// While this file is there, a successor of the arbiter gets no further than this.
const HANG_AS_SUCCESSOR: &str = "hang-as-successor";
/// Whether there is a service, and which.
const SERVICES: &str = "TESTSITE_SERVICES";
/// While this file is there, a service that is to hold is in the middle of it.
const HOLD: &str = "hold";
/// While this file is there, sockets of `counted/` go on in no worker: each try takes for ever.
const HANG_AT_RESUME: &str = "hang-at-resume";
/// While this file is there, a worker stops for good that has just made ready to go on with one.
const STOP_AT_RESUME: &str = "stop-at-resume";
/// While this file is there, workers that start write and read another version of the state of
/// `counted/`.
const OTHER_VERSION: &str = "other-version";
/// As it was when this process started.
static VERSION: LazyLock<u32> =
    LazyLock::new(|| if FilePath::new(OTHER_VERSION).exists() { 2 } else { 1 });
/// While this variable is set, there are accounts.
const ACCOUNTS: &str = "TESTSITE_ACCOUNTS";

const MINUTE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let is_worker = std::env::args().any(|argument| argument == "worker");
    if is_worker && FilePath::new(DIE_AT_START).exists() {
        std::process::abort();
    }
    while is_worker && FilePath::new(HANG_AT_START).exists() {
        thread::sleep(Duration::from_millis(10));
    }
    let is_successor = std::env::args().any(|argument| argument == "--successor");
    while is_successor && FilePath::new(HANG_AS_SUCCESSOR).exists() {
        thread::sleep(Duration::from_millis(10));
    }
    LazyLock::force(&VERSION);
    let project = Project::new("testsite", std::env::temp_dir());
    let project = project.install(staticfiles::App).install(publish::App);
    let accounts = std::env::var_os(ACCOUNTS).is_some();
    let project = match accounts {
        true => project
            .install(sessions::App)
            .install(auth::App)
            .live(people::people())
            .urls(accounts_urls()),
        false => project.urls(urls()),
    };
    let project = match std::env::var(SERVICES).as_deref() {
        Ok("three") => project.service(service::<Ticker>().instances(3)),
        Ok("alone") => project.service(service::<Ticker>().instances(2).alone()),
        Ok(_) => project.service(service::<Ticker>()),
        Err(_) => project,
    };
    hulse_manage::run(project)
}

/// The same with accounts: whoever wants to is signed in, under any name.
fn accounts_urls() -> Urls {
    Urls::new([
        include("", urls()),
        include("", people::urls()),
        include("", visitors::urls()),
        path("sign-in/<slug:name>/", sign_in),
        path("revoke/<slug:cause>/", causes::revoke),
        path("remember/<slug:key>/", remember),
        path("remembered/<slug:key>/", remembered),
        path("say/<slug:group>/<slug:text>/", say_to),
        include("accounts/", auth::urls()),
    ])
}

async fn sign_in(request: Request, Path(name): Path<String>) -> Result<&'static str> {
    let user = User::create_user(&request, &name, "", None).await?;
    auth::login(&request, &user).await?;
    Ok("signed in")
}

async fn remember(request: Request, Path(key): Path<String>) -> Result<&'static str> {
    request.session().set(&key, true).await?;
    Ok("remembered")
}

async fn remembered(request: Request, Path(key): Path<String>) -> Result<String> {
    let known: Option<bool> = request.session().get(&key).await?;
    Ok(format!("{} {}", request.user().await?, known.is_some()))
}

async fn say_to(
    request: Request,
    Path((group, text)): Path<(String, String)>,
) -> Result<&'static str> {
    request.group(group).send(text).await?;
    Ok("said")
}

fn urls() -> Urls {
    Urls::new([
        include("", groups::urls()),
        include("", visitors::protocols()),
        path("", hello).name("hello"),
        path("page/", page),
        path("throttled/", hello).throttle(Throttle::per_address("testsite", 5, MINUTE)),
        path("process/", process).name("process"),
        path("slow/<int:milliseconds>/", slow).name("slow"),
        path("upload/", upload).csrf_exempt(),
        path("form/", form),
        path("large/<int:bytes>/", large),
        path("who/", who),
        path("hang/<int:milliseconds>/", hang).name("hang"),
        Streams::new([stream("chat/<slug:room>", chat)]).at("stream/"),
        socket("echo/", || Echo),
        path("live/", live),
        path("nonce/", inline),
        path("live.js", async || ([(header::CONTENT_TYPE, "text/javascript")], LIVE_SCRIPT)),
        path("service/<slug:wish>/", clock),
        path("rows/", rows).name("rows"),
        path("rows/<int:number>/", insert).name("insert"),
        path("count/", count),
        path("lock/<int:milliseconds>/", lock),
        path("plain/<int:number>/", blocking(plain)),
        path("overflow/", blocking(overflow)),
        path("ask/<slug:channel>/<slug:text>/", ask).name("ask"),
        socket("feed/<slug:group>/", || Feed),
        include("publish/", publish::urls()),
        socket("room/<slug:group>/<slug:who>/<slug:since>/", || Room { can_move: true }),
        socket("staying/<slug:group>/<slug:who>/<slug:since>/", || Room { can_move: false }),
        socket("counted/", Counted::default),
        socket("clock/", || Clock),
        socket("several/", || Concurrent::new(4, several::Several::default())),
        Routing::new([route("websocket.receive", echo)]).socket("routed/"),
    ])
    .attach(Routing::new([
        route("thumbnails", thumbnail),
        route("emails", email),
        route("slow", work_slowly),
    ]))
}

/// Counts, and tells the group `clock` how often it has ticked.
struct Ticker {
    ticks: u64,
    sum: i64,
}

#[derive(serde::Serialize, serde::Deserialize)]
enum Wish {
    Add,
    Sum,
    Process,
    Panic,
    Hold,
}

impl Service for Ticker {
    const NAME: &'static str = "clock";
    type Message = Wish;
    type Answer = i64;

    async fn start(_: &Site) -> Result<Self> {
        match std::env::var(SERVICES).as_deref() {
            Ok("broken") => Err(Error::new("no other system there")),
            _ => Ok(Self { ticks: 0, sum: 0 }),
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }

    async fn tick(&mut self, site: &Site) -> Result<()> {
        self.ticks += 1;
        site.group("clock").send(self.ticks.to_string()).await
    }

    async fn receive(&mut self, _: &Site, wish: Wish) -> Result<i64> {
        match wish {
            Wish::Add => self.sum += 1,
            Wish::Sum => {}
            Wish::Process => return Ok(std::process::id().into()),
            #[expect(clippy::panic, reason = "the test wants it")]
            Wish::Panic => panic!("as was wished"),
            Wish::Hold => {
                say("the clock holds something");
                while FilePath::new(HOLD).exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                say("the clock lets it go");
            }
        }
        Ok(self.sum)
    }

    async fn stop(self, _: &Site) -> Result<()> {
        say("the clock is put away");
        Ok(())
    }
}

/// What the service is sent, or asked.
async fn clock(request: Request, Path(wish): Path<String>) -> Result<String> {
    let clock = request.service::<Ticker>().within(Duration::from_secs(20));
    match wish.as_str() {
        "add" => clock.send(&Wish::Add).await?,
        "panic" => clock.send(&Wish::Panic).await?,
        "hold" => clock.send(&Wish::Hold).await?,
        "process" => return Ok(clock.ask(&Wish::Process).await?.to_string()),
        "late" => {
            say("late begins");
            return Ok(clock.ask(&Wish::Sum).await?.to_string());
        }
        _ => return Ok(clock.ask(&Wish::Sum).await?.to_string()),
    }
    Ok(String::new())
}

/// Hears a group, and those its client names.
struct Feed;

impl Consumer for Feed {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.join(socket.path::<String>()?).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, group: &str) -> Result<()> {
        let joined = socket.join(group).await;
        socket.send(joined.err().map_or("joined".to_owned(), |error| error.to_string())).await
    }
}

/// What the channel's handler answers.
async fn ask(request: Request, Path((channel, text)): Path<(String, String)>) -> Result<String> {
    let answer = request.channel(channel).ask(text, Duration::from_secs(2)).await?;
    Ok(answer.text().unwrap_or_default().to_owned())
}

/// Says which process made it.
async fn thumbnail(event: Event) -> Result<()> {
    let words = format!("{} made by {}", event.text(), std::process::id());
    if event.is_question() {
        return event.answer(words).await;
    }
    say(&words);
    Ok(())
}

async fn email(event: Event) -> Result<()> {
    event.group("sent").send(event.text()).await
}

/// For as many milliseconds as the message says.
async fn work_slowly(event: Event) -> Result<()> {
    say(&format!("slow message begins: {}", event.text()));
    tokio::time::sleep(Duration::from_millis(event.json()?)).await;
    say(&format!("slow message done: {}", event.text()));
    Ok(())
}

async fn hello() -> &'static str {
    "Hello World!\n"
}

/// Whatever the templates on disk say.
async fn page(request: Request) -> Result<Response> {
    render(&request, "page.html", hulse::context! {}).await
}

/// A page as strict as it can be: scripts come from the site and nowhere else.
async fn live() -> Response {
    let policy = (header::CONTENT_SECURITY_POLICY, "default-src 'self'; img-src data:");
    let page = "<!doctype html><title>live</title><link rel=icon href=data:,>\
                <script type=module src=/live.js></script>";
    let mut response = Response::new(page.into());
    let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    for (name, value) in [policy, html] {
        response.headers_mut().insert(name, value.parse().expect("a header"));
    }
    response
}

/// Two scripts in the page: one of the site's, one that somebody wrote into it.
async fn inline(request: Request) -> axum::response::Html<String> {
    let nonce = request.csp_nonce().unwrap_or_default();
    axum::response::Html(format!(
        "<!doctype html><link rel=icon href=data:,><title>inline</title>\
         <script nonce=\"{nonce}\">window.refused = []; document.addEventListener(\
         'securitypolicyviolation', (event) => refused.push(event.effectiveDirective))</script>\
         <script>window.injected = true</script>\
         <img src=/nothing.png onerror=\"window.injected = true\">"
    ))
}

/// What a test drives: `start`, then `chat`, `heard`, `states`.
const LIVE_SCRIPT: &str = r#"
import { connect, socket } from "/static/hulse/hulse.js";
Object.assign(window, { connect, socket });
window.heard = [];
window.joined = [];
window.states = [];
window.start = (name, options) => {
  window.live = connect(`/stream/?as=${name}`, {
    ...options,
    status: (state, more) => states.push({ state, ...more }),
  });
  window.chat = live.join("chat/a", {
    data: (data) => heard.push(data),
    joined: (info) => joined.push(info),
    presence: (people) => { window.people = people.map((who) => who.key).join(); },
  });
};
window.startPlain = () => {
  window.opened = 0;
  window.plain = socket("/echo/", {
    message: (text) => heard.push(text),
    open: () => { opened += 1; },
  });
};
window.say = async (from, to) => {
  for (let number = from; number < to; number += 1) await chat.send(number);
};
window.ready = true;
"#;

/// Says what it hears.
struct Echo;

impl Consumer for Echo {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        socket.send(text).await
    }
}

/// Who it is says the URL; without a name nobody is told.
async fn chat(request: Request, room: String) -> Result<Stream> {
    let stream = Stream::group(format!("chat-{room}"))
        .on_send(|sender, data| async move { sender.publish(data).await.map(drop) });
    Ok(match request.query("as").filter(|name| !name.is_empty()) {
        Some(name) => stream.presence(name, json!({})),
        None => stream,
    })
}

/// A group whose members say things: `since` is a position, or `now`. Who says something is told
/// where it is, and whoever comes whether all was there since.
struct Room {
    /// At a reload.
    can_move: bool,
}

impl Consumer for Room {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let (group, who, since): (String, String, String) = socket.path()?;
        socket.accept().await?;
        let since: Option<Position> = since.parse().ok();
        let joined = socket.join_at(&group, since, Policy::Close).await?;
        socket.send(format!("at {} {}", joined.position, joined.recovered)).await?;
        if who == "nobody" {
            return Ok(());
        }
        let (joined, left) = (format!("{who} joined"), format!("{who} left"));
        let presence =
            Presence { key: who, joined: Message::from(joined), left: Message::from(left) };
        socket.enter(&group, presence).await.map(drop)
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let (group, ..): (String, String, String) = socket.path()?;
        let position = socket.group(group).publish(text).await?.ok_or(Error::new("sent later"))?;
        socket.send(format!("at {position}")).await
    }

    fn handoff(&self) -> Handoff {
        if self.can_move { Handoff::stateless() } else { Handoff::stays() }
    }

    async fn resume(&mut self, _: &mut Socket, _: &Handoff) -> Result<()> {
        Ok(())
    }
}

/// Counts what it hears, also through reloads.
#[derive(Default)]
struct Counted {
    count: u64,
}

impl Consumer for Counted {
    async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
        self.count += 1;
        socket.send(self.count.to_string()).await
    }

    fn handoff(&self) -> Handoff {
        Handoff::new(*VERSION, &self.count)
    }

    async fn resume(&mut self, _: &mut Socket, handoff: &Handoff) -> Result<()> {
        self.count = handoff.state(*VERSION)?;
        if FilePath::new(HANG_AT_RESUME).exists() {
            say("resume begins");
            std::future::pending::<()>().await;
        }
        if FilePath::new(STOP_AT_RESUME).exists() {
            // It has its turn when the word is said, and before the answer can be heard.
            tokio::spawn(async {
                say("stopped");
                kill_process(getpid(), Signal::STOP)
            });
        }
        Ok(())
    }
}

/// Has nothing to carry, but a task.
struct Clock;

impl Consumer for Clock {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.spawn(std::future::pending())?;
        socket.accept().await
    }
}

async fn echo(event: Event) -> Result<()> {
    event.reply.send(event.text()).await
}

/// For the test to wait for.
#[expect(clippy::print_stderr, reason = "the test reads it")]
fn say(words: &str) {
    eprintln!("{words}");
}

/// Which process answers.
async fn process() -> String {
    std::process::id().to_string()
}

/// How many bytes came.
async fn upload(body: Bytes) -> String {
    format!("{} bytes\n", body.len())
}

/// Keeps the file of a form in the site's folder, and says under which name.
async fn form(request: Request, form: FormData) -> Result<String> {
    let Some(file) = form.file("file") else { return Ok(String::new()) };
    let kept = file.save_in(&request.settings().base).await?;
    Ok(kept.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Who asks, as the site sees it.
async fn who(request: Request) -> Result<String> {
    let address = request.remote_address().map(|address| address.to_string());
    let id = request.extension::<RequestId>().map(|id| id.0.to_string());
    tracing::info!("somebody asks who asks");
    Ok(json!({
        "address": address, "scheme": request.scheme(), "host": request.host(), "id": id,
    })
    .to_string())
}

/// An answer of so many bytes.
async fn large(Path(bytes): Path<usize>) -> Vec<u8> {
    vec![b'x'; bytes]
}

/// Answers late, without keeping the runtime from others.
async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    say("slow begins");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "late\n"
}

/// Keeps its worker's only thread, as no view should.
async fn hang(Path(milliseconds): Path<u64>) -> &'static str {
    say("hang begins");
    thread::sleep(Duration::from_millis(milliseconds));
    "very late\n"
}

/// Five calls of the database by a plain function: a row written, and looked at. On which thread.
#[expect(clippy::needless_pass_by_value, reason = "a view is given what it takes")]
fn plain(request: Request, Path(number): Path<i64>) -> Result<String> {
    wait(insert(request.clone(), Path(number)))?;
    for _ in 0..4 {
        wait(rows(request.clone()))?;
    }
    Ok(thread::current().name().unwrap_or_default().to_owned())
}

/// Needs more stack than there is.
fn overflow() -> String {
    fn deep(depth: u64) -> u64 {
        let local = std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { deep(depth + 1) + local[0] }
    }
    deep(0).to_string()
}

/// How many rows there are.
async fn rows(request: Request) -> Result<String> {
    make_table(&request).await?;
    count(request).await
}

/// The same, without a thought of writing.
async fn count(request: Request) -> Result<String> {
    let rows = request.db().fetch(Sql::raw("SELECT COUNT(*) FROM written")).await?;
    let count: i64 = rows[0].get(0)?;
    Ok(count.to_string())
}

/// Writes one row, in a transaction.
async fn insert(request: Request, Path(number): Path<i64>) -> Result<&'static str> {
    make_table(&request).await?;
    let site = request.site();
    site.atomic(async |site| {
        site.db().execute(Sql::raw(format!("INSERT INTO written VALUES ({number})"))).await
    })
    .await?;
    Ok("written\n")
}

/// Writes a row and keeps others from writing for so long.
async fn lock(request: Request, Path(milliseconds): Path<u64>) -> Result<&'static str> {
    let site = request.site();
    site.atomic(async |site| {
        site.db().execute(Sql::raw("INSERT INTO written VALUES (0)")).await?;
        say("lock begins");
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        Ok(())
    })
    .await?;
    Ok("released\n")
}

async fn make_table(request: &Request) -> Result<()> {
    let make = "CREATE TABLE IF NOT EXISTS written (number BIGINT NOT NULL)";
    request.db().execute(Sql::raw(make)).await.map(drop)
}
