//! What the rooms' tests try in one process, tried on a running site, with one worker and with
//! four: the same table, in raw requests.

mod costly;
mod leading;
mod letters;
mod mutated;
mod sockets;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, Reply, Surroundings, Visitor, Wire};
use tokio::time::interval;

use letters::Postbox;

const PASSWORD: &str = "correct horse battery";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PARTS: &str = "Content-Type: multipart/form-data; boundary=b";
const LOGIN: &str = "/accounts/login/";
/// Attempts to sign in that cost no wait.
const FREE: usize = 5;

/// The testsite with an account, and with more settings than these.
async fn start(workers: &str, settings: &[(&str, &str)], more: &[&str]) -> Pulse {
    let usual = [
        ("TESTSITE_ACCOUNTS", "yes"),
        // A mail server nobody has.
        ("HULSE_MAIL__BACKEND", "smtp"),
        ("HULSE_MAIL__PORT", "1"),
        ("HULSE_AUTH__ARGON2_MEMORY_KIB", "64"),
        ("HULSE_AUTH__ARGON2_PASSES", "1"),
        ("HULSE_AUTH__LOGIN_ATTEMPTS", "0"),
    ];
    let settings = usual.iter().chain(settings);
    let environment =
        settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let surroundings = Surroundings { program: Program::Testsite, database: None, environment };
    let pulse = Pulse::start_in(surroundings, &[&["-w", workers], more].concat()).await;
    create(&pulse, "ann").await;
    pulse
}

async fn create(pulse: &Pulse, name: &str) {
    let email = format!("{name}@example.org");
    let new = ["createsuperuser", "--noinput", "--username", name, "--email", &email];
    pulse.manage(&new, &[("HULSE_SUPERUSER_PASSWORD", PASSWORD)]).await;
}

/// What a browser has to send: cookie and token.
struct Browser<'p> {
    pulse: &'p Pulse,
    token: String,
}

impl Browser<'_> {
    async fn new(pulse: &Pulse) -> Browser<'_> {
        let mut visitor = Visitor::new(pulse.address());
        visitor.get(LOGIN).await;
        let token = visitor.cookie("csrftoken").expect("the form sets it").to_owned();
        Browser { pulse, token }
    }

    /// One request on a connection of its own. In `lines` and `body` stand `HOST`, `COOKIE` and
    /// `TOKEN` for what they are.
    async fn ask(&self, request: &str, lines: &[&str], body: &str) -> Reply {
        let mut wire = Wire::connect(self.pulse.address()).await;
        wire.send(self.request(request, lines, body)).await;
        let reply = wire.reply().await;
        reply.unwrap_or_else(|| panic!("{request} {lines:?}: no answer\n{}", self.pulse.log()))
    }

    fn request(&self, request: &str, lines: &[&str], body: &str) -> String {
        let fill = |text: &str| {
            let cookie = format!("Cookie: csrftoken={}", self.token);
            let text = text.replace("COOKIE", &cookie).replace("TOKEN", &self.token);
            text.replace("HOST", self.pulse.address())
        };
        let body = fill(body);
        let mut head = format!("{request} HTTP/1.1\r\n");
        if !lines.iter().any(|line| line.starts_with("Host:")) {
            head += &fill("Host: HOST\r\n");
        }
        for line in lines {
            head += &(fill(line) + "\r\n");
        }
        if !lines.iter().any(|line| line.starts_with("Content-Length")) {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        format!("{head}Connection: close\r\n\r\n{body}")
    }

    async fn login(&self, more: &str) -> Reply {
        let password = PASSWORD.replace(' ', "+");
        let form = format!("csrfmiddlewaretoken=TOKEN&username=ann&password={password}{more}");
        self.ask(&format!("POST {LOGIN}"), &[FORM, "COOKIE"], &form).await
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// The new session's id, as a cookie.
fn session(reply: &Reply) -> Option<&str> {
    let mut cookies = reply.head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookies.find(|cookie| cookie.starts_with("sessionid="))?;
    cookie.split(';').next()
}

fn location(reply: &Reply) -> &str {
    reply.header("location").unwrap_or_default()
}

async fn csrf(browser: &Browser<'_>) {
    let form = "csrfmiddlewaretoken=TOKEN&username=ann&password=wrong";
    let foreign = "Origin: http://evil.example";
    let port = "Origin: http://127.0.0.1:1";
    let bare = "username=ann&password=wrong";
    let other = "csrfmiddlewaretoken=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&username=ann&password=x";
    for (lines, form, status) in [
        (&[FORM, "COOKIE", "Origin: http://HOST"][..], form, 200),
        (&[FORM, "COOKIE", "X-CSRFToken: TOKEN"], bare, 200),
        (&[FORM], form, 403),
        (&[FORM, "COOKIE"], bare, 403),
        (&[FORM, "COOKIE"], other, 403),
        (&[FORM, "COOKIE", foreign], form, 403),
        (&[FORM, "COOKIE", port], form, 403),
        (&[FORM, "COOKIE", "Origin: null"], form, 403),
        (&[FORM, "COOKIE", "Origin: https://HOST"], form, 403),
    ] {
        let reply = browser.ask(&format!("POST {LOGIN}"), lines, form).await;
        assert_eq!(reply.status, status, "{lines:?} {form}");
    }
    assert_eq!(browser.ask("POST /accounts/logout/", &[FORM], "").await.status, 403);
    assert_eq!(browser.ask("GET /accounts/logout/", &[], "").await.status, 405);
}

async fn hosts(browser: &Browser<'_>) {
    for (host, status) in [
        ("Host: localhost", 200),
        ("Host: LocalHost:8000", 200),
        ("Host: localhost.", 200),
        ("Host: evil.example", 400),
        ("Host: HOST@evil.example", 400),
        ("Host: localhost.evil.example", 400),
        ("Host: localhost:80:80", 400),
        ("Host: localhost/x", 400),
        ("Host:", 400),
    ] {
        assert_eq!(browser.ask("GET /", &[host], "").await.status, status, "{host}");
    }
    let told =
        ["X-Forwarded-Host: evil.example", "X_Forwarded_For: 9.9.9.9", "X-Forwarded-For: 8.8.8.8"];
    let who = text(&browser.ask("GET /who/", &told, "").await);
    assert!(who.contains("\"address\":\"127.0.0.1\"") && !who.contains("evil"), "{who}");
}

async fn headers(browser: &Browser<'_>) {
    for path in ["/", "/nowhere/", LOGIN] {
        let reply = browser.ask(&format!("GET {path}"), &[], "").await;
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        assert!(reply.header("content-security-policy").is_some(), "{path}");
    }
}

async fn cookies_and_sessions(browser: &Browser<'_>) {
    let made_up = "Cookie: sessionid=AAAAAAAAAAAAAAAAAAAAAA";
    let kept = browser.ask("GET /remember/a/", &[made_up], "").await;
    let own = session(&kept).expect("a session").to_owned();
    assert!(!own.contains("AAAAAAAAAA"), "never adopted: {own}");
    let reply = browser.login("").await;
    let cookies: Vec<&str> =
        reply.head.lines().filter(|line| line.starts_with("set-cookie: ")).collect();
    let session = cookies.iter().find(|line| line.contains("sessionid=")).expect("signed in");
    for word in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(session.contains(word), "{session}");
    }
    assert!(cookies.iter().any(|line| line.contains("csrftoken=")), "a new token: {cookies:?}");
    let id = session["set-cookie: ".len()..].split(';').next().unwrap();
    let own = format!("Cookie: {id}; csrftoken={}", browser.token);
    let who = browser.ask("GET /remembered/a/", &[&own], "").await;
    assert_eq!(text(&who), "ann false");
    let out = ["X-CSRFToken: TOKEN", FORM, &own];
    let gone = browser.ask("POST /accounts/logout/", &out, "").await;
    assert!(gone.head.contains("Max-Age=0") && gone.head.contains("1970"), "{}", gone.head);
    let who = browser.ask("GET /remembered/a/", &[&own], "").await;
    assert_eq!(text(&who), "anonymous false", "worth nothing any more");
}

/// Somebody signs in with a session that another has planted, known here or nowhere.
async fn planted_sessions(browser: &Browser<'_>) {
    let made = browser.ask("GET /remember/planted/", &[], "").await;
    let known = session(&made).expect("a session").to_owned();
    for planted in [known.as_str(), "sessionid=AAAAAAAAAAAAAAAAAAAAAA", "sessionid=%0D%0Aa:b"] {
        let cookies = format!("COOKIE; {planted}");
        let password = PASSWORD.replace(' ', "+");
        let form = format!("csrfmiddlewaretoken=TOKEN&username=ann&password={password}");
        let lines = [FORM, &cookies];
        let reply = browser.ask(&format!("POST {LOGIN}"), &lines, &form).await;
        assert_eq!(reply.status, 302, "{planted}");
        let own = session(&reply).expect("a session of its own").to_owned();
        assert_ne!(own, planted);
        let remembered = async |id: &str| {
            let cookie = format!("Cookie: {id}");
            text(&browser.ask("GET /remembered/planted/", &[&cookie], "").await)
        };
        assert_eq!(remembered(planted).await, "anonymous false", "{planted}");
        // Its data stay with who signed in.
        assert_eq!(remembered(&own).await, format!("ann {}", planted == known));
    }
}

fn part(name: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\r\n\r\n{content}\r\n")
}

async fn uploads_and_limits(browser: &Browser<'_>, workers: &str) {
    let names =
        ["../../x.txt", "..\\y.txt", "/etc/z.txt", ".htaccess", "-rf.sh", "a%00b%0D%0A.txt"];
    let token = part("csrfmiddlewaretoken\"", "TOKEN");
    for name in names {
        let file = part(&format!("file\"; filename=\"{workers}{name}\""), "content");
        let form = format!("{token}{file}--b--\r\n");
        let kept = browser.ask("POST /form/", &[PARTS, "COOKIE"], &form).await;
        let kept = text(&kept);
        let path = browser.pulse.folder().join(&kept);
        assert!(!kept.is_empty() && !kept.contains(['/', '\\']), "{name}: {kept}");
        let mode = fs::metadata(&path).unwrap_or_else(|no| panic!("{path:?}: {no}")).permissions();
        assert_eq!(mode.mode() & 0o777, 0o644, "{name}");
        fs::remove_file(path).unwrap();
    }
    let file = part("file\"; filename=\"a.txt\"", "content");
    let form = |parts: &str| format!("{token}{parts}--b--\r\n");
    let many = "&a=b".repeat(1000);
    let csrf = "csrfmiddlewaretoken=TOKEN";
    let huge = "Content-Length: 9999999";
    let long = format!("{csrf}&username={}", "x".repeat(2_700_000));
    let chunked = ["COOKIE", FORM, "Transfer-Encoding: chunked", "Content-Length-None: 1"];
    let pieces: String = (0..30).map(|_| format!("186a0\r\n{}\r\n", "x".repeat(100_000))).collect();
    for (path, lines, body, status) in [
        (LOGIN, &[PARTS, "COOKIE"][..], form(&file), 400),
        ("/form/", &[PARTS, "COOKIE"], form(&file.repeat(101)), 400),
        ("/form/", &[PARTS, "COOKIE"], form(&part("a\"", "b").repeat(1000)), 400),
        ("/form/", &[PARTS, "COOKIE"], form(&part("a\"", &"x".repeat(2_700_000))), 413),
        (LOGIN, &[FORM, "COOKIE"], format!("{csrf}{many}"), 400),
        (LOGIN, &[FORM, "COOKIE"], long, 413),
        (LOGIN, &[FORM, "COOKIE", huge], csrf.to_owned(), 413),
        (LOGIN, &chunked, format!("{pieces}0\r\n\r\n"), 413),
    ] {
        let reply = browser.ask(&format!("POST {path}"), lines, &body).await;
        assert_eq!(reply.status, status, "{path} {lines:?} {}", body.len());
    }
}

/// Passwords tried by many at once, whichever worker hears them; and the right one, after a wait.
async fn waits(browser: &Browser<'_>) {
    create(browser.pulse, "bob").await;
    let sign_in = async |password: &str| {
        let form = format!("csrfmiddlewaretoken=TOKEN&username=bob&password={password}");
        browser.ask(&format!("POST {LOGIN}"), &[FORM, "COOKIE"], &form).await
    };
    let begun = Instant::now();
    let tried = join_all((0..FREE + 4).map(|_| sign_in("wrong"))).await;
    // Behind each wait, of a second and then twice as long, one more may try.
    let more = (begun.elapsed().as_secs() + 2).ilog2() as usize;
    let looked_at = tried.iter().filter(|reply| reply.status == 200).count();
    assert!((FREE..=FREE + more).contains(&looked_at), "{looked_at}, {:?}", begun.elapsed());
    assert!(tried.iter().all(|reply| [200, 429].contains(&reply.status)));
    let right = PASSWORD.replace(' ', "+");
    // What is refused meanwhile makes the wait no longer.
    let mut beat = interval(Duration::from_millis(100));
    for _ in 0..600 {
        beat.tick().await;
        let reply = sign_in(&right).await;
        if reply.status == 302 {
            return;
        }
        assert_eq!(reply.status, 429);
        let wait: u64 = reply.header("retry-after").expect("how long").parse().unwrap();
        assert!((1..=16).contains(&wait), "{wait}");
    }
    panic!("behind the wait one may try");
}

/// What stands in the site's folders, and must not be had from outside them.
async fn paths(browser: &Browser<'_>) {
    let folder = browser.pulse.folder();
    fs::create_dir_all(folder.join("static")).unwrap();
    fs::write(folder.join("static/style.css"), "red").unwrap();
    fs::write(folder.join("static/.env"), "SECRET=1").unwrap();
    std::os::unix::fs::symlink("../settings.toml", folder.join("static/link.toml")).unwrap();
    assert_eq!(text(&browser.ask("GET /static/style.css", &[], "").await), "red");
    for path in [
        "../settings.toml",
        "%2e%2e/settings.toml",
        "..%2fsettings.toml",
        "%252e%252e/settings.toml",
        "..%5csettings.toml",
        "a/../../settings.toml",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "style.css%00",
        "style.css/../../settings.toml",
        ".env",
        "link.toml",
        "%ff",
    ] {
        // Uploads lie in a folder that no line of the site shows.
        for folder in ["static", "media"] {
            let reply = browser.ask(&format!("GET /{folder}/{path}"), &[], "").await;
            assert!([400, 404].contains(&reply.status), "{folder} {path}: {}", reply.status);
            for secret in ["debug = true", "SECRET", "root:"] {
                assert!(!text(&reply).contains(secret), "{folder} {path}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_refused_in_one_process_is_refused_by_one_worker_and_by_four() {
    for workers in ["1", "4"] {
        let postbox = Postbox::open().await;
        let port = postbox.port.to_string();
        let settings = [
            ("HULSE_ALLOWED_HOSTS", "localhost,127.0.0.1,chat.example"),
            ("HULSE_MAIL__HOST", "127.0.0.1"),
            ("HULSE_MAIL__PORT", &port),
            ("HULSE_MAIL__SECURITY", "none"),
            ("HULSE_AUTH__LOGIN_ATTEMPTS", &FREE.to_string()),
            ("HULSE_AUTH__PASSWORD_RESET_MAILS", "0"),
            ("HULSE_SECURITY__SSL_REDIRECT", "true"),
            ("HULSE_SECURITY__HSTS_SECONDS", "3600"),
            // Whatever does not begin with a p.
            ("HULSE_SECURITY__REDIRECT_EXEMPT", r#"["^([^p]|$)"]"#),
            ("HULSE_SERVER__PROXY_HEADERS", "unix"),
            ("HULSE_SERVER__MESSAGE_BYTES_MAX", "10000"),
            ("HULSE_SERVER__MESSAGE_RATE", "1"),
            ("HULSE_SERVER__MESSAGE_BURST", "10"),
            ("HULSE_SERVER__SOCKETS_PER_USER", &sockets::OF_A_USER.to_string()),
        ];
        let more = ["--umask", "077", "-b", "unix:site.sock"];
        let mut pulse = start(workers, &settings, &more).await;
        let browser = Browser::new(&pulse).await;
        csrf(&browser).await;
        hosts(&browser).await;
        headers(&browser).await;
        cookies_and_sessions(&browser).await;
        planted_sessions(&browser).await;
        uploads_and_limits(&browser, workers).await;
        paths(&browser).await;
        leading::elsewhere(&browser).await;
        leading::line_breaks(&browser).await;
        leading::to_https(&browser).await;
        letters::forged(&browser).await;
        letters::resets(&browser, postbox).await;
        sockets::foreign_pages(&browser).await;
        sockets::limits(&browser).await;
        sockets::tickets(&browser).await;
        sockets::owners_of_tickets(&browser).await;
        sockets::many_of_one_user(&browser, workers.parse().unwrap()).await;
        waits(&browser).await;
        // Each refusal that a site's people have to know of is a line.
        for line in [
            "hulse::security::csrf",
            "CSRF token missing",
            "refused a WebSocket: its Origin is neither this site nor in csrf.trusted_origins",
            "a socket said more than server.message_rate",
            "a mail was not sent",
        ] {
            pulse.said_after(0, line).await;
        }
        assert!(!pulse.log().contains("panicked"), "{}", pulse.log());
        assert_eq!(pulse.stop().await, 0);
    }
}
