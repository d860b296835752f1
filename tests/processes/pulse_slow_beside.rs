//! Clients that take their time, beside plain TCP: over TLS, and over a Unix socket.

use std::future::{Future, pending};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hulse_tests::Pulse;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{interval, timeout};

use crate::pulse_tls::Authority;

/// Longest wait for the end of a connection.
const WAIT: Duration = Duration::from_secs(30);

/// Every patience, seconds.
const PATIENCE: [&str; 8] =
    ["--header-timeout", "3", "--body-timeout", "3", "--write-timeout", "1", "--keep-alive", "4"];

/// Nobody is cut before his time, but that the server looks twice a second only.
const THREE: Duration = Duration::from_millis(2900);
const FOUR: Duration = Duration::from_millis(3900);
/// The defaults are 10 s for a head, 30 s for a body.
const HEAD_MAX: Duration = Duration::from_secs(9);
const BODY_MAX: Duration = Duration::from_secs(20);

const HEAD: &str = "POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\n";

const LARGE: usize = 50_000_000;

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Both for S {}

/// A way in.
enum Way<'a> {
    Tls(&'a Authority, &'a Pulse),
    Unix(PathBuf),
}

impl Way<'_> {
    async fn connect(&self) -> Box<dyn Both> {
        match self {
            Self::Tls(authority, pulse) => {
                Box::new(authority.connect(pulse, &["http/1.1"]).await.unwrap())
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        }
    }

    /// Says `words` and nothing more: what comes until the end, and how long that takes.
    async fn says(&self, words: &str) -> (String, Duration) {
        let begun = Instant::now();
        let mut stream = self.connect().await;
        stream.write_all(words.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        (until_the_end(stream.as_mut()).await, begun.elapsed())
    }

    /// Says `words`, then `more` again and again, a byte each 100 ms.
    async fn trickles(&self, words: &str, more: &str) -> (String, Duration) {
        let begun = Instant::now();
        let (mut reading, mut writing) = tokio::io::split(self.connect().await);
        let trickling = async {
            let mut beat = interval(Duration::from_millis(100));
            if writing.write_all(words.as_bytes()).await.is_ok() {
                for byte in more.bytes().cycle() {
                    beat.tick().await;
                    let sent = writing.write_all(&[byte]).await;
                    if sent.and(writing.flush().await).is_err() {
                        break;
                    }
                }
            }
            pending::<String>().await
        };
        let heard = tokio::select! {
            heard = until_the_end(&mut reading) => heard,
            heard = trickling => heard,
        };
        (heard, begun.elapsed())
    }

    /// Every kind of slowness but an unread answer.
    async fn is_tried(&self) {
        let nothing = async |heard: (String, Duration)| {
            assert_eq!(heard.0, "");
            assert!((THREE..HEAD_MAX).contains(&heard.1), "{heard:?}");
        };
        let too_slow = async |heard: (String, Duration)| {
            assert!(heard.0.starts_with("HTTP/1.1 408 "), "{heard:?}");
            assert!((THREE..BODY_MAX).contains(&heard.1), "{heard:?}");
        };
        let idle = async {
            let heard = self.says("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert!(heard.0.starts_with("HTTP/1.1 200 "), "{heard:?}");
            assert!(heard.0.ends_with("Hello World!\n"), "{heard:?}");
            assert!(heard.1 > FOUR, "{heard:?}");
        };
        let half_body = format!("{HEAD}Content-Length: 5\r\n\r\nhe");
        let long_body = format!("{HEAD}Content-Length: 500000\r\n\r\n");
        let chunks = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
        tokio::join!(
            async { nothing(self.says("").await).await },
            async { nothing(self.says("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await).await },
            async { nothing(self.trickles("GET / HTTP/1.1\r\n", "X: y\r\n").await).await },
            async { too_slow(self.says(&half_body).await).await },
            async { too_slow(self.trickles(&long_body, "x").await).await },
            async { too_slow(self.trickles(&chunks, "1\r\nx\r\n").await).await },
            idle,
        );
    }

    /// Asks for a large answer and takes no more than its beginning.
    async fn begins_to_read(&self) -> Box<dyn Both> {
        let mut stream = self.connect().await;
        let request = format!("GET /large/{LARGE}/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut first = [0; 12];
        timeout(WAIT, stream.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    }
}

/// What comes until the other side has had enough, however it ends.
async fn until_the_end(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> String {
    let mut heard = Vec::new();
    let _cut = timeout(WAIT, stream.read_to_end(&mut heard)).await.expect("it ends");
    String::from_utf8_lossy(&heard).into_owned()
}

/// Waits until the workers hold no connection.
async fn all_are_gone(pulse: &Pulse) {
    let mut look = interval(Duration::from_millis(50));
    let gone = async {
        loop {
            look.tick().await;
            let status = pulse.status().await;
            let children = status["children"].as_array().unwrap();
            if children.iter().all(|child| child["connections"].as_u64().unwrap_or(0) == 0) {
                return;
            }
        }
    };
    timeout(WAIT, gone).await.expect("all are cut off");
}

async fn both<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> [T; 2] {
    tokio::join!(one, other).into()
}

#[tokio::test]
async fn who_makes_the_server_wait_is_cut_off_over_tls_and_a_unix_socket_too() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("site.sock");
    let bind = format!("unix:{}", path.display());
    let pulse = authority.start(&[&PATIENCE[..], &["-b", &bind]].concat()).await;
    let (tls, unix) = (Way::Tls(&authority, &pulse), Way::Unix(path));
    let unread = both(tls.begins_to_read(), unix.begins_to_read()).await;
    both(tls.is_tried(), unix.is_tried()).await;
    all_are_gone(&pulse).await;
    for mut stream in unread {
        let heard = until_the_end(stream.as_mut()).await.len();
        assert!(heard < LARGE, "all of it came");
    }
    assert_eq!(pulse.stop().await, 0);
}
