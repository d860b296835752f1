//! The letter with a link to a new password: where it goes, which site its link names.

use std::time::Duration;

use hulse_tests::Reply;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Browser, FORM, location, text};

/// Longest wait for a letter.
const WAIT: Duration = Duration::from_secs(30);

/// A mail server that keeps what it is told.
pub(super) struct Postbox {
    pub(super) port: u16,
    letters: Receiver<Letter>,
    task: JoinHandle<()>,
}

struct Letter {
    to: Vec<String>,
    text: String,
}

impl Postbox {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (kept, letters) = channel(16);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    if let Some(letter) = converse(stream).await {
                        let _ = kept.send(letter).await;
                    }
                });
            }
        });
        Self { port, letters, task }
    }

    async fn letter(&mut self) -> Letter {
        timeout(WAIT, self.letters.recv()).await.expect("a letter").expect("the box is open")
    }

    async fn close(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn converse(stream: TcpStream) -> Option<Letter> {
    let mut stream = BufReader::new(stream);
    let mut letter = Letter { to: Vec::new(), text: String::new() };
    let (mut in_data, mut answer) = (false, "220 test");
    loop {
        if !answer.is_empty() {
            stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        answer = match line.trim_end() {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            _ if in_data => {
                letter.text += &line;
                ""
            }
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => {
                // As quoted-printable breaks its lines.
                letter.text = letter.text.replace("=\r\n", "");
                return Some(letter);
            }
            said => {
                let to = said.strip_prefix("RCPT TO:<").and_then(|to| to.strip_suffix('>'));
                letter.to.extend(to.map(str::to_owned));
                "250 fine"
            }
        };
    }
}

async fn ask(browser: &Browser<'_>, email: &str, target: &str, lines: &[&str]) -> Reply {
    let form = format!("csrfmiddlewaretoken=TOKEN&email={email}");
    let lines = [&[FORM, "COOKIE"], lines].concat();
    browser.ask(&format!("POST {target}"), &lines, &form).await
}

const RESET: &str = "/accounts/password_reset/";

pub(super) async fn resets(browser: &Browser<'_>, mut postbox: Postbox) {
    // None of what is refused is written: the first letter is for what is asked behind it.
    refused(browser).await;
    let host = browser.pulse.address();
    for (lines, named) in [
        (&["X-Forwarded-Host: evil.example"][..], host),
        (&["Forwarded: host=evil.example", "X-Host: evil.example"], host),
        (&["X_Forwarded_Host: evil.example", "X-Original-Host: evil.example"], host),
        (&["Host: chat.example", "X-Forwarded-Host: evil.example"], "chat.example"),
    ] {
        let reply = ask(browser, "ANN@example.org", RESET, lines).await;
        assert_eq!((reply.status, location(&reply)), (302, "/accounts/password_reset/done/"));
        let letter = postbox.letter().await;
        assert_eq!(letter.to, ["ann@example.org"], "{lines:?}");
        let link = format!("http://{named}/accounts/reset/");
        assert!(letter.text.contains(&link) && !letter.text.contains("evil"), "{}", letter.text);
    }
    // Without a mail server the answer is the same.
    postbox.close().await;
    assert_eq!(ask(browser, "ann@example.org", RESET, &[]).await.status, 302);
}

async fn refused(browser: &Browser<'_>) {
    for lines in [
        &["Host: evil.example"][..],
        &["Host: HOST@evil.example"],
        &["Host: chat.example.evil.example"],
        &["Host: chat.example", "Host: evil.example"],
    ] {
        assert_eq!(ask(browser, "ann@example.org", RESET, lines).await.status, 400, "{lines:?}");
    }
    let absolute = format!("http://evil.example{RESET}");
    assert_eq!(ask(browser, "ann@example.org", &absolute, &[]).await.status, 400);
    for email in
        ["ann@example.org%0D%0ABcc:%20eve@evil.example", "ann@example.org%0Aeve@evil.example"]
    {
        assert_eq!(ask(browser, email, RESET, &[]).await.status, 200, "said in the form: {email}");
    }
    let nobody = ask(browser, "nobody@example.org", RESET, &[]).await;
    assert_eq!((nobody.status, location(&nobody)), (302, "/accounts/password_reset/done/"));
}

/// Links that were in no letter.
pub(super) async fn forged(browser: &Browser<'_>) {
    for forged in ["MQ/cxt9qm-0123456789abcdef0123456789abcdef", "MQ/set-password", "AA/x-y"] {
        let reply = browser.ask(&format!("GET /accounts/reset/{forged}/"), &[], "").await;
        assert_eq!(reply.status, 200, "{forged}");
        assert!(text(&reply).contains("no longer good"), "{forged}");
    }
}
