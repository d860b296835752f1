//! The old worker's end of the line, and a new worker that does what the test says.

use std::fs::File;
use std::io::Result;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Pair;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Line, PARCEL_BYTES_MAX, Said, Word, end_of_line, message, receive, send};
use crate::site::Lifecycle;
use crate::sockets::Offered;

const WAIT: Duration = Duration::from_secs(10);
/// Of which the new worker has so much that no test waits for its end by chance.
const LONG: Duration = Duration::from_secs(60);
/// Of which it has a second to be ready and half a one to take what it may.
const SHORT: Duration = Duration::from_secs(6);

struct Taker(UnixStream);

impl Taker {
    async fn hears(&self, word: Word) -> u64 {
        let said = timeout(WAIT, receive(&self.0)).await.unwrap().unwrap();
        let Said { word: heard, number, .. } = said.expect("the line goes on");
        assert_eq!(heard, Some(word));
        number
    }

    async fn says(&self, word: Word, number: u64) -> Result<()> {
        send(&self.0, &message(word, number, b""), None).await
    }

    /// Whether nothing more comes.
    async fn is_at_end(&self) -> bool {
        timeout(WAIT, receive(&self.0)).await.unwrap().unwrap().is_none()
    }
}

/// A line over which a connection is offered, what comes of it, and the other end.
fn offering(grace: Duration) -> (Arc<Line>, JoinHandle<Offered>, Taker) {
    let (old, new) = Pair::pair().unwrap();
    let line = Line::open(OwnedFd::from(old), &Lifecycle::default(), grace).unwrap();
    let line = Arc::new(line);
    (Arc::clone(&line), offer(&line), Taker(end_of_line(OwnedFd::from(new)).unwrap()))
}

fn offer(line: &Arc<Line>) -> JoinHandle<Offered> {
    let (line, stream) = (Arc::clone(line), OwnedFd::from(File::open("/dev/null").unwrap()));
    tokio::spawn(async move { line.offer(b"a parcel", stream).await })
}

async fn came_of(offered: JoinHandle<Offered>) -> Offered {
    timeout(WAIT, offered).await.unwrap().unwrap()
}

#[tokio::test]
async fn who_says_taken_has_it_also_if_that_is_the_last_word() {
    let (_line, offered, taker) = offering(LONG);
    let number = taker.hears(Word::Offer).await;
    taker.says(Word::Ready, number).await.unwrap();
    assert_eq!(taker.hears(Word::Go).await, number);
    taker.says(Word::Taken, number).await.unwrap();
    drop(taker);
    assert_eq!(came_of(offered).await, Offered::Taken);
}

#[tokio::test]
async fn who_dies_with_go_unread_or_unanswered_has_not_taken_it() {
    for is_read in [false, true] {
        let (line, offered, taker) = offering(LONG);
        let number = taker.hears(Word::Offer).await;
        taker.says(Word::Ready, number).await.unwrap();
        if is_read {
            taker.hears(Word::Go).await;
        } else {
            let peek = || SockRef::from(&taker.0).peek(&mut [MaybeUninit::uninit()]);
            taker.0.async_io(Interest::READABLE, peek).await.unwrap();
        }
        drop(taker);
        assert_eq!(came_of(offered).await, Offered::Refused);
        // And so it is with all that come after it.
        assert_eq!(came_of(offer(&line)).await, Offered::Refused);
    }
}

#[tokio::test]
async fn who_hangs_with_go_cannot_take_it_later() {
    let (line, first, taker) = offering(SHORT);
    let one = taker.hears(Word::Offer).await;
    let second = offer(&line);
    let other = taker.hears(Word::Offer).await;
    taker.says(Word::Ready, one).await.unwrap();
    taker.says(Word::Ready, other).await.unwrap();
    taker.hears(Word::Go).await;
    taker.hears(Word::Go).await;
    // One in time, the other not.
    taker.says(Word::Taken, one).await.unwrap();
    assert_eq!(came_of(first).await, Offered::Taken);
    assert_eq!(came_of(second).await, Offered::Refused);
    assert!(taker.says(Word::Taken, other).await.is_err());
    assert!(taker.is_at_end().await);
}

#[tokio::test]
async fn who_is_not_ready_in_time_hears_that_it_stays_and_the_line_goes_on() {
    let (line, slow, taker) = offering(SHORT);
    let number = taker.hears(Word::Offer).await;
    assert_eq!(came_of(slow).await, Offered::Refused);
    assert_eq!(taker.hears(Word::Stay).await, number);
    let next = offer(&line);
    let number = taker.hears(Word::Offer).await;
    taker.says(Word::Ready, number).await.unwrap();
    taker.hears(Word::Go).await;
    taker.says(Word::Taken, number).await.unwrap();
    assert_eq!(came_of(next).await, Offered::Taken);
}

#[tokio::test]
async fn a_word_of_a_newer_build_is_passed_over() {
    let (_line, offered, taker) = offering(LONG);
    let number = taker.hears(Word::Offer).await;
    let mut unknown = message(Word::No, number, b"why");
    unknown[0] = b'?';
    send(&taker.0, &unknown, None).await.unwrap();
    taker.says(Word::Ready, number).await.unwrap();
    taker.hears(Word::Go).await;
    taker.says(Word::Taken, number).await.unwrap();
    assert_eq!(came_of(offered).await, Offered::Taken);
}

#[tokio::test]
async fn messages_arrive_whole_with_what_was_beside_them() {
    let (old, new) = UnixStream::pair().unwrap();
    let handed = OwnedFd::from(File::open("/dev/null").unwrap());
    let large = vec![7; PARCEL_BYTES_MAX];
    let saying = async {
        send(&old, &message(Word::Ready, 1, b""), None).await.unwrap();
        send(&old, &message(Word::Offer, 2, &large), Some(handed.as_fd())).await.unwrap();
        send(&old, &[b'?', 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0], None).await.unwrap();
        drop(old);
    };
    let hearing = async {
        let said = receive(&new).await.unwrap().unwrap();
        assert_eq!((said.word, said.number), (Some(Word::Ready), 1));
        assert!(said.descriptor.is_none());
        let said = receive(&new).await.unwrap().unwrap();
        assert_eq!((said.word, said.number), (Some(Word::Offer), 2));
        assert!(said.payload == large && said.descriptor.is_some());
        let said = receive(&new).await.unwrap().unwrap();
        assert_eq!((said.word, said.number), (None, 3));
        assert!(receive(&new).await.unwrap().is_none());
    };
    tokio::join!(saying, hearing);
}

#[tokio::test]
async fn a_message_that_claims_to_be_too_long_ends_the_line() {
    let (old, new) = UnixStream::pair().unwrap();
    send(&old, &[b'O', 0xFF, 0xFF, 0xFF, 0xFF], None).await.unwrap();
    assert!(receive(&new).await.is_err());
}
