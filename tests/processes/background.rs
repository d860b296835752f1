//! Named channels across processes: `runworker`, `send-group`, `send-channel`.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hulse_tests::{Program, Pulse, Surroundings, Visitor, site_command, site_folder_of};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(60);

fn testsite(folder: &std::path::Path) -> Command {
    let surroundings = Surroundings { program: Program::Testsite, ..Surroundings::default() };
    let mut command = site_command(folder, &surroundings);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command in the site's folder with this stdin: exit code, stdout, stderr.
async fn run_with(
    folder: &std::path::Path,
    arguments: &[&str],
    input: &str,
) -> (Option<i32>, String, String) {
    let mut child = testsite(folder).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(WAIT, child.wait_with_output()).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn run(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    run_with(folder, arguments, "").await
}

/// A process of the site beside its server: what it says, line by line.
struct Beside {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Beside {
    fn start(folder: &std::path::Path, arguments: &[&str]) -> Self {
        let mut child = testsite(folder).args(arguments).stdin(Stdio::null()).spawn().unwrap();
        let (sender, lines) = mpsc::channel(1000);
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let other = sender.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                drop(sender.send(line).await);
            }
        });
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                drop(other.send(line).await);
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    async fn runworker(pulse: &Pulse, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = ["runworker"].iter().chain(arguments).copied().collect();
        let mut worker = Self::start(pulse.folder(), &arguments);
        worker.says("runworker: reading").await;
        worker
    }

    /// The next line with `words` in it.
    async fn says(&mut self, words: &str) -> String {
        loop {
            let line = timeout(WAIT, self.lines.recv()).await.ok().flatten();
            let Some(line) = line else { panic!("it never said {words:?}: {:?}", self.said) };
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        timeout(WAIT, self.child.wait()).await.expect("it ends").unwrap()
    }
}

#[tokio::test]
async fn a_runworker_reads_what_the_servers_workers_leave_to_it() {
    let pulse = Pulse::start_testsite(&["-w", "2", "--exclude-channels", "thumb*,slow"]).await;
    let mut visitor = Visitor::new(pulse.address());
    let nobody = visitor.get("/ask/thumbnails/early/").await;
    assert_eq!(nobody.status, 504, "nobody answers: {}", nobody.body);
    let worker = Beside::runworker(&pulse, &["thumbnails"]).await;
    let answer = visitor.get("/ask/thumbnails/cat/").await;
    assert_eq!(answer.body, format!("cat made by {}", worker.id()));
    // What it was not told to read the server still does.
    let mut feed = visitor.socket("/feed/sent/").await;
    let (code, ..) = run(pulse.folder(), &["send-channel", "emails", "{\"to\": 7}"]).await;
    assert_eq!(code, Some(0));
    assert_eq!(feed.frame().await.unwrap(), "{\"to\": 7}");
}

#[tokio::test]
async fn with_the_arbiter_the_store_ends_though_a_runworker_is_linked() {
    let arguments = ["-w", "2", "--exclude-channels", "thumb*"];
    let mut pulse = Pulse::start_testsite(&arguments).await;
    let worker = Beside::runworker(&pulse, &["thumbnails"]).await;
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/ask/thumbnails/cat/").await.status, 200);
    // Whatever it is told from now on, nobody would hear.
    pulse.signal(Signal::KILL);
    pulse.ended().await;
    let took = pulse.all_ended().await;
    assert!(took < Duration::from_secs(10), "something lives on for {took:?}");
    drop(worker);
}

#[tokio::test]
async fn the_servers_workers_read_only_what_they_are_told_to() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--only-channels", "emails"]).await;
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/ask/thumbnails/x/").await.status, 504);
    let mut feed = visitor.socket("/feed/sent/").await;
    run(pulse.folder(), &["send-channel", "emails", "read"]).await;
    assert_eq!(feed.frame().await.unwrap(), "read");
}

#[tokio::test]
async fn a_mistyped_channel_is_told_with_those_there_are() {
    let folder = site_folder_of(Program::Testsite);
    for arguments in [
        &["runworker", "thumbnail"][..],
        &["runworker", "--exclude", "thumbnail"],
        &["pulse", "--exclude-channels", "thumbnail"],
    ] {
        let (code, _, said) = run(folder.path(), arguments).await;
        assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("unknown channel \"thumbnail\": did you mean thumbnails?"), "{said}");
        assert!(said.contains("emails, slow, thumbnails"), "{said}");
    }
    let (code, _, said) = run(folder.path(), &["runworker", "--concurrency", "0"]).await;
    assert_eq!(code, Some(2), "{said}");
}

#[tokio::test]
async fn without_a_running_site_commands_say_so() {
    let folder = site_folder_of(Program::Testsite);
    for arguments in [
        &["runworker", "emails"][..],
        &["send-group", "sent", "x"],
        &["send-channel", "emails", "x"],
    ] {
        let (code, told, said) = run(folder.path(), arguments).await;
        assert_eq!((code, told.as_str(), said.lines().count()), (Some(1), "", 1), "{said}");
        assert!(said.contains("the site is not running") && said.contains(".hulse"), "{said}");
    }
}

#[tokio::test]
async fn a_term_lets_a_runworker_finish_the_message_in_hand() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--exclude-channels", "*"]).await;
    let mut worker = Beside::runworker(&pulse, &["slow"]).await;
    for milliseconds in ["700", "1"] {
        run(pulse.folder(), &["send-channel", "slow", milliseconds]).await;
    }
    worker.says("slow message begins: 700").await;
    worker.signal(Signal::TERM);
    worker.says("slow message done: 700").await;
    assert_eq!(worker.ended().await.code(), Some(0));
    // The other one waits for whoever reads next.
    let mut worker = Beside::runworker(&pulse, &["slow"]).await;
    worker.says("slow message done: 1").await;
    worker.signal(Signal::INT);
    assert_eq!(worker.ended().await.code(), Some(0));
    // Its terminal is closed.
    let mut worker = Beside::runworker(&pulse, &["slow"]).await;
    worker.signal(Signal::HUP);
    assert_eq!(worker.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_stops_a_runworker_at_once() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--exclude-channels", "*"]).await;
    let mut worker = Beside::runworker(&pulse, &["slow"]).await;
    run(pulse.folder(), &["send-channel", "slow", "3600000"]).await;
    worker.says("slow message begins").await;
    worker.signal(Signal::INT);
    worker.says("finishing").await;
    worker.signal(Signal::INT);
    assert_eq!(worker.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_runworker_handles_as_many_messages_at_once_as_it_is_told() {
    let pulse = Pulse::start_testsite(&["-w", "1", "--exclude-channels", "*"]).await;
    let mut worker = Beside::runworker(&pulse, &["--threads", "2"]).await;
    for milliseconds in ["3600000", "3600001", "3600002"] {
        run(pulse.folder(), &["send-channel", "slow", milliseconds]).await;
    }
    worker.says("slow message begins").await;
    worker.says("slow message begins").await;
    // The third is left in its channel, for others.
    let mut other = Beside::runworker(&pulse, &["slow"]).await;
    other.says("slow message begins: 3600002").await;
}

#[tokio::test]
async fn a_runworker_goes_on_when_the_store_or_the_whole_server_is_started_again() {
    let mut pulse = Pulse::start_testsite(&["-w", "1", "--exclude-channels", "*"]).await;
    let mut worker = Beside::runworker(&pulse, &["thumbnails"]).await;
    kill_process(pulse.store().unwrap(), Signal::KILL).unwrap();
    worker.says("lost the link").await;
    let asking = ["send-channel", "thumbnails", "again", "--ask", "20"];
    let (_, answer, said) = run(pulse.folder(), &asking).await;
    assert_eq!(answer, format!("again made by {}\n", worker.id()), "{said}");
    let arguments = ["pulse", "-b", "127.0.0.1:0", "-w", "1", "--exclude-channels", "*"];
    let mut second = Beside::start(pulse.folder(), &arguments);
    second.says("listening on").await;
    pulse.signal(Signal::TERM);
    pulse.ended().await;
    worker.says("lost the link").await;
    let (_, answer, said) = run(pulse.folder(), &asking).await;
    assert_eq!(answer, format!("again made by {}\n", worker.id()), "{said}");
    second.signal(Signal::TERM);
    assert_eq!(second.ended().await.code(), Some(0));
}

#[tokio::test]
async fn send_group_reaches_browsers_and_prints_the_position() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut visitor = Visitor::new(pulse.address());
    let mut feed = visitor.socket("/feed/liveblog/").await;
    let (code, first, said) = run(pulse.folder(), &["send-group", "liveblog", "{\"id\": 1}"]).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(feed.frame().await.unwrap(), "{\"id\": 1}");
    let (_, second, _) = run_with(pulse.folder(), &["send-group", "liveblog", "-"], "-x-\n").await;
    assert_eq!(feed.frame().await.unwrap(), "-x-");
    let offset = |line: &str| line.trim().rsplit('-').next().unwrap().parse::<u64>().unwrap();
    assert_eq!((offset(&first), offset(&second)), (1, 2), "{first}{second}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_in_one_line() {
    let folder = site_folder_of(Program::Testsite);
    let settings =
        "debug = true\n[channels]\nmessage_bytes_max = 10\ncapacities = { \"t*\" = 1 }\n";
    std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
    let (_, _, said) = run(folder.path(), &["send-group", "no room", "x"]).await;
    assert!(said.contains("bad group name \"no room\""), "{said}");
    let arguments = ["pulse", "-b", "127.0.0.1:0", "--exclude-channels", "*", "--migrate"];
    let mut pulse = Beside::start(folder.path(), &arguments);
    pulse.says("listening on").await;
    let (code, _, said) = run(folder.path(), &["send-group", "room", "more than ten"]).await;
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("13 bytes: at most 10"), "{said}");
    let sending = ["send-channel", "thumbnails", "x"];
    assert_eq!(run(folder.path(), &sending).await.0, Some(0));
    let (code, _, said) = run(folder.path(), &sending).await;
    assert!(code == Some(1) && said.contains("channel thumbnails is full"), "{said}");
    pulse.signal(Signal::TERM);
    pulse.ended().await;
}

#[tokio::test]
async fn a_delayed_message_outlives_the_command_that_sent_it() {
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut visitor = Visitor::new(pulse.address());
    let mut feed = visitor.socket("/feed/sent/").await;
    let sending = ["send-channel", "emails", "later", "--after", "0.3"];
    assert_eq!(run(pulse.folder(), &sending).await.0, Some(0));
    run(pulse.folder(), &["send-channel", "emails", "now"]).await;
    assert_eq!(feed.frame().await.unwrap(), "now");
    assert_eq!(feed.frame().await.unwrap(), "later");
}

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef-cron";

/// Posts JSON as a program of another system does: status and body.
pub(crate) async fn publish(pulse: &Pulse, token: &str, json: &str) -> (u16, String) {
    let request = format!(
        "POST /publish/ HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        pulse.address(),
        json.len(),
    );
    let exchange = async {
        let mut stream = TcpStream::connect(pulse.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(WAIT, exchange).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn another_system_publishes_once_though_the_store_is_killed_between_its_tries() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let tokens = format!("[[publish.tokens]]\nname = \"cron\"\ntoken = \"{TOKEN}\"\n");
    std::fs::write(&file, format!("debug = true\n{tokens}groups = [\"live*\"]\n")).unwrap();
    let settings = ("HULSE_SETTINGS".to_owned(), file.display().to_string());
    let program = Program::Testsite;
    let surroundings = Surroundings { program, environment: vec![settings], database: None };
    let pulse = Pulse::start_in(surroundings, &["-w", "2", "--log-level", "debug"]).await;
    let mut feed = Visitor::new(pulse.address()).socket("/feed/live-7/").await;
    let message = r#"{"group": "live-7", "data": {"id": 1}, "key": "order-1"}"#;
    let (status, first) = publish(&pulse, TOKEN, message).await;
    assert!(status == 200 && first.contains("\"position\":"), "{status} {first}");
    assert_eq!(feed.frame().await.unwrap(), r#"{"id": 1}"#);
    kill_process(pulse.store().unwrap(), Signal::KILL).unwrap();
    let (status, again) = publish(&pulse, TOKEN, message).await;
    assert_eq!(status, 200, "{again}");
    let batch = r#"[{"group": "live-7", "message": "a"}, {"group": "live-7", "message": "b"}]"#;
    assert_eq!(publish(&pulse, TOKEN, batch).await.0, 200);
    assert_eq!(feed.frame().await.unwrap(), "a", "the first was published once");
    assert_eq!(feed.frame().await.unwrap(), "b");
    for (token, json, expected) in [
        ("wrong", message, 401),
        (TOKEN, r#"{"group": "chat", "data": 1}"#, 403),
        (TOKEN, "{", 422),
    ] {
        assert_eq!(publish(&pulse, token, json).await.0, expected, "{json}");
    }
    let log = pulse.log();
    assert!(!log.contains(TOKEN) && !log.contains("order-1"), "secrets in the log: {log}");
}
