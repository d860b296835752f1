//! What the rooms' tests try in one process, tried on a running site, with one worker and with
//! four: the same table, in raw requests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hulse_tests::{Program, Pulse, Reply, Surroundings, Visitor, Wire};
use rustix::process::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PASSWORD: &str = "correct horse battery";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PARTS: &str = "Content-Type: multipart/form-data; boundary=b";
const LOGIN: &str = "/accounts/login/";
/// How long an answer to a mutated request is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

async fn start(workers: &str, more: &[&str]) -> Pulse {
    let settings = [
        ("TESTSITE_ACCOUNTS", "yes"),
        // A mail server nobody has.
        ("HULSE_MAIL__BACKEND", "smtp"),
        ("HULSE_MAIL__PORT", "1"),
        ("HULSE_AUTH__ARGON2_MEMORY_KIB", "64"),
        ("HULSE_AUTH__ARGON2_PASSES", "1"),
        ("HULSE_AUTH__LOGIN_ATTEMPTS", "0"),
    ];
    let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let surroundings = Surroundings { program: Program::Testsite, database: None, environment };
    let pulse = Pulse::start_in(surroundings, &[&["-w", workers], more].concat()).await;
    let ann = ["createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.org"];
    pulse.manage(&ann, &[("HULSE_SUPERUSER_PASSWORD", PASSWORD)]).await;
    pulse
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
        let mut wire = Wire::connect(self.pulse.address()).await;
        wire.send(format!("{head}Connection: close\r\n\r\n{body}")).await;
        wire.reply().await.unwrap_or_else(|| panic!("{request} {lines:?}: no answer"))
    }

    async fn login(&self, more: &str) -> Reply {
        let form = format!(
            "csrfmiddlewaretoken=TOKEN&username=ann&password={}{more}",
            PASSWORD.replace(' ', "+")
        );
        self.ask(&format!("POST {LOGIN}"), &[FORM, "COOKIE"], &form).await
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
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
    let split = browser.ask("GET /x%0D%0ASet-Cookie:%20a=b", &[], "").await;
    assert!(split.header("set-cookie").is_none() && !split.head.contains("\r\na=b"), "{split:?}");
}

async fn cookies_and_sessions(browser: &Browser<'_>) {
    let planted = "Cookie: sessionid=AAAAAAAAAAAAAAAAAAAAAA";
    let kept = browser.ask("GET /remember/a/", &[planted], "").await;
    let cookie = kept.header("set-cookie").expect("a session").to_owned();
    assert!(!cookie.contains("AAAAAAAAAA"), "never adopted: {cookie}");
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

async fn next_and_reset(browser: &Browser<'_>) {
    for next in [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/%5Cevil.example",
        "http:///evil.example",
        "javascript:alert(1)",
        "%09//evil.example",
        "nowhere",
        "http://HOST@evil.example/",
    ] {
        assert_eq!(location(&browser.login(&format!("&next={next}")).await), "/", "{next}");
    }
    assert_eq!(location(&browser.login("&next=/page/").await), "/page/");
    for email in ["ann@example.org", "nobody@example.org"] {
        let form = format!("csrfmiddlewaretoken=TOKEN&email={email}");
        let reset = "POST /accounts/password_reset/";
        let reply = browser.ask(reset, &[FORM, "COOKIE"], &form).await;
        assert_eq!((reply.status, location(&reply)), (302, "/accounts/password_reset/done/"));
    }
    for forged in ["MQ/cxt9qm-0123456789abcdef0123456789abcdef", "MQ/set-password", "AA/x-y"] {
        let reply = browser.ask(&format!("GET /accounts/reset/{forged}/"), &[], "").await;
        assert_eq!(reply.status, 200, "{forged}");
        assert!(text(&reply).contains("no longer good"), "{forged}");
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

async fn a_foreign_page_opens_no_socket(browser: &Browser<'_>) {
    let upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for path in ["/echo/", "/stream/"] {
        let lines = [upgrade[0], upgrade[1], key, "Origin: http://evil.example"];
        let mut wire = Wire::connect(browser.pulse.address()).await;
        let host = format!("Host: {}\r\nConnection: Upgrade", browser.pulse.address());
        let request = format!("GET {path} HTTP/1.1\r\n{host}\r\n{}\r\n\r\n", lines.join("\r\n"));
        wire.send(request).await;
        assert_eq!(wire.reply().await.expect("an answer").status, 403, "{path}");
    }
}

#[tokio::test]
async fn what_is_refused_in_one_process_is_refused_by_one_worker_and_by_four() {
    for workers in ["1", "4"] {
        let mut pulse = start(workers, &["--umask", "077"]).await;
        let browser = Browser::new(&pulse).await;
        csrf(&browser).await;
        hosts(&browser).await;
        headers(&browser).await;
        cookies_and_sessions(&browser).await;
        next_and_reset(&browser).await;
        uploads_and_limits(&browser, workers).await;
        a_foreign_page_opens_no_socket(&browser).await;
        // Each refusal that a site's people have to know of is a line.
        for line in [
            "hulse::security::csrf",
            "CSRF token missing",
            "refused a WebSocket: its Origin is neither this site nor in csrf.trusted_origins",
            "a mail was not sent",
        ] {
            pulse.said_after(0, line).await;
        }
        assert!(!pulse.log().contains("panicked"), "{}", pulse.log());
        assert_eq!(pulse.stop().await, 0);
    }
}

/// What is mutated: requests as they should be.
fn seeds(address: &str, token: &str) -> Vec<Vec<u8>> {
    let head = |line: &str, more: &str, body: &str| {
        let length = body.len();
        format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nCookie: csrftoken={token}; sessionid=abc\r\n\
             {more}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    };
    let login = format!("csrfmiddlewaretoken={token}&username=ann&password=x&next=%2Fpage%2F");
    let parts = format!(
        "{}{}--b--\r\n",
        part("csrfmiddlewaretoken\"", token),
        part("file\"; filename=\"a.txt\"", "content")
    );
    let reset = format!("csrfmiddlewaretoken={token}&email=ann%40example.org");
    let session =
        format!("X-CSRFToken: {token}\r\nAccept: text/html, */*;q=0.1\r\nRange: bytes=0-");
    vec![
        head(&format!("POST {LOGIN}?next=/who/"), FORM, &login),
        head("POST /form/", PARTS, &parts),
        head("POST /accounts/password_reset/", FORM, &reset),
        head("GET /accounts/login/?next=%2F%2Fx", &session, ""),
        head("GET /accounts/reset/MQ/cxt9qm-0123456789abcdef/", &session, ""),
        head("GET /stream/?join=chat/a&wait=0&at=1-2", "Accept: application/json", ""),
        head("POST /stream/", "Content-Type: application/json", "{\"send\":\"chat/a\",\"data\":1}"),
        head("GET /remembered/key/", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", ""),
    ]
}

const WORDS: [&[u8]; 22] = [
    b"\0",
    b"\r\n",
    b"\n",
    b"%00",
    b"%",
    b"%zz",
    b"%ff%fe",
    b"\xff\xfe",
    b"\xf0\x9f\x92\xa9",
    b"--b",
    b"\"",
    b";",
    b"=",
    b"&",
    b",",
    b"../",
    b"\\",
    b"99999999999999999999",
    b"-1",
    b": ",
    b"\x1b[31m",
    b"{{7*7}}",
];

/// splitmix64: the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

fn mutated(chance: &mut Chance, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..1 + chance.below(5) {
        let at = chance.below(bytes.len());
        let end = (at + 1 + chance.below(39)).min(bytes.len());
        match chance.below(6) {
            0 => bytes[at] = chance.next().to_le_bytes()[0],
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len());
                let piece = other[from..(from + 30).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
            4 => {
                let many = 1 + chance.below(3000);
                bytes.splice(at..at, std::iter::repeat_n(b'a', many));
            }
            _ => {
                let word = WORDS[chance.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    // Half of the time the length is what it should be, so that the body is looked at.
    if chance.below(2) == 0 {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (at, name) = (bytes.windows(16).position(|w| w == b"Content-Length: "), 16);
        if let (Some(end), Some(at)) = (end, at.filter(|at| end.is_some_and(|end| *at < end))) {
            let stop = bytes[at..].iter().position(|byte| *byte == b'\r').map_or(end, |n| at + n);
            let length = bytes.len() - end - 4;
            bytes.splice(at + name..stop.max(at + name), length.to_string().into_bytes());
        }
    }
    bytes
}

/// The status of each answer to these bytes. Who waits for more is told that there is none.
async fn statuses(address: &str, bytes: &[u8]) -> Vec<u16> {
    let mut read = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        if timeout(PATIENCE, stream.read_buf(&mut read)).await.is_err() {
            stream.shutdown().await?;
        }
        while timeout(PATIENCE, stream.read_buf(&mut read))
            .await
            .is_ok_and(|read| matches!(read, Ok(count) if count > 0))
        {}
        std::io::Result::Ok(())
    };
    // It may be cut while it still sends.
    let _cut = exchange.await;
    let text = String::from_utf8_lossy(&read);
    let lines = text.lines().filter_map(|line| line.strip_prefix("HTTP/1."));
    lines.filter_map(|line| line.get(2..5)?.parse().ok()).collect()
}

#[tokio::test]
async fn no_mutated_request_is_an_error_of_the_site() {
    let long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|long| !long.is_empty());
    let (count, at_once) = (if long { 40_000 } else { 600 }, 24);
    let seed = std::env::var("HULSE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let pulse = start("2", &["--body-timeout", "2", "--header-timeout", "2"]).await;
    let browser = Browser::new(&pulse).await;
    let (address, workers) = (pulse.address().to_owned(), pulse.workers());
    let seeds = seeds(&address, &browser.token);
    for whole in &seeds {
        let told = statuses(&address, whole).await;
        assert!(told.iter().all(|status| *status < 500) && !told.is_empty(), "{told:?}");
    }
    let (next, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let visitors = (0..at_once).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let mut chance = Chance(seed.wrapping_add(number as u64));
            let bytes = mutated(&mut chance, &seeds);
            let told = statuses(&address, &bytes).await;
            answered.fetch_add(usize::from(!told.is_empty()), Ordering::Relaxed);
            let bad = told.iter().find(|status| matches!(**status, 500 | 502 | 504));
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(bad, None, "HULSE_TEST_SEED={}\n{shown}", seed.wrapping_add(number as u64));
        }
    });
    join_all(visitors).await;
    println!("{count} requests, {} answered", answered.load(Ordering::Relaxed));
    assert!(answered.load(Ordering::Relaxed) > count / 2);
    assert_eq!(pulse.workers(), workers, "nobody died");
    assert!(!pulse.log().contains("panicked"), "{}", pulse.log());
    assert_eq!(pulse.stop().await, 0);
}

/// Processor time the workers have used.
fn cpu_time(pulse: &Pulse) -> Duration {
    let ticks = pulse.workers().into_iter().map(|worker| {
        let path = format!("/proc/{}/stat", worker.as_raw_nonzero());
        let stat = fs::read_to_string(path).expect("it lives");
        let (_, behind_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields = behind_name.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>()
    });
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn peak_kib(process: Pid) -> u64 {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(path).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Bodies that cost as much as can be had for their length.
fn costly(size: usize) -> Vec<(&'static str, String)> {
    let fields = 900;
    let each = size / fields;
    let field = |text: &str| text.repeat(each / text.len() + 1)[..each].to_owned();
    let urlencoded: String = (0..fields).map(|n| format!("&a{n}={}", field("%C3%A4+"))).collect();
    let parts: String = (0..fields).map(|_| part("a\"", &field("\r\n--c\r"))).collect();
    let boundaries = part("a\"", &"\r\n--".repeat(size / 4));
    vec![
        (FORM, format!("csrfmiddlewaretoken=x{urlencoded}")),
        (FORM, "&".repeat(size)),
        (FORM, "%".repeat(size)),
        (PARTS, format!("{parts}--b--\r\n")),
        (PARTS, format!("{boundaries}--b--\r\n")),
    ]
}

#[tokio::test]
async fn costly_bodies_take_linear_time_and_bounded_memory() {
    let long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|long| !long.is_empty());
    let at_once = if long { 10 } else { 2 };
    let pulse = start("1", &[]).await;
    let browser = Browser::new(&pulse).await;
    let header = "X-CSRFToken: TOKEN";
    let mut took = Vec::new();
    let before = pulse.workers().into_iter().map(peak_kib).max().unwrap();
    for size in [600_000, 2_400_000] {
        let mut times = Vec::new();
        for (kind, body) in costly(size) {
            let begun = cpu_time(&pulse);
            let lines = [kind, "COOKIE", header];
            let posts = (0..at_once).map(|_| browser.ask("POST /form/", &lines, &body));
            for reply in join_all(posts).await {
                assert!([200, 400, 413].contains(&reply.status), "{kind}: {}", reply.status);
            }
            times.push(cpu_time(&pulse) - begun);
        }
        took.push(times);
    }
    let grown = pulse.workers().into_iter().map(peak_kib).max().unwrap() - before;
    println!("{took:?}, {grown} KiB more");
    for (small, large) in took[0].iter().zip(&took[1]) {
        // Quadratic is sixteen times. The kernel counts in hundredths of a second.
        let bound = *small * 8 + Duration::from_millis(200);
        assert!(*large < bound, "four times as much: {small:?}, then {large:?}");
    }
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert_eq!(pulse.stop().await, 0);
}
