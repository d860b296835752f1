//! Requests that nobody would write, at random.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Browser, FORM, LOGIN, PARTS, part, start};

/// How long an answer to a mutated request is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long one to a request as it should be is.
const WAIT: Duration = Duration::from_secs(20);

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
async fn statuses(address: &str, bytes: &[u8], patience: Duration) -> Vec<u16> {
    let mut read = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        if timeout(patience, stream.read_buf(&mut read)).await.is_err() {
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
    let by_chance = || if long { u64::from(std::process::id()) << 20 } else { 1 };
    let seed: u64 = seed.unwrap_or_else(by_chance);
    let pulse = start("2", &[], &["--body-timeout", "2", "--header-timeout", "2"]).await;
    let browser = Browser::new(&pulse).await;
    let (address, workers) = (pulse.address().to_owned(), pulse.workers());
    let seeds = seeds(&address, &browser.token);
    for whole in &seeds {
        let told = statuses(&address, whole, WAIT).await;
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
            let told = statuses(&address, &bytes, PATIENCE).await;
            answered.fetch_add(usize::from(!told.is_empty()), Ordering::Relaxed);
            let bad = told.iter().find(|status| matches!(**status, 500 | 502 | 504));
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(bad, None, "HULSE_TEST_SEED={}\n{shown}", seed.wrapping_add(number as u64));
        }
    });
    join_all(visitors).await;
    println!("{count} requests, {} answered", answered.load(Ordering::Relaxed));
    // A busy machine answers few of them in time.
    assert!(answered.load(Ordering::Relaxed) > if long { count / 2 } else { 0 });
    assert_eq!(pulse.workers(), workers, "nobody died");
    assert!(!pulse.log().contains("panicked"), "{}", pulse.log());
    assert_eq!(pulse.stop().await, 0);
}
