//! The old worker's end of the line.

use std::collections::HashMap;
use std::io::Result;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, FusedFuture};
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Word, end_of_line, message, receive, send};
use crate::contrib::sessions;
use crate::http::Request;
use crate::site::Lifecycle;
use crate::sockets::{Offered, Parcel, Successor};

/// How long the end of the line may take, once all is said.
const END_WAIT: Duration = Duration::from_secs(2);

/// Offers that wait to be sent.
const OFFERS_MAX: usize = 16;

/// Short words that wait to be sent: two for each connection that may be on its way.
const WORDS_MAX: usize = 256;

/// How long the new worker may take, of what a worker that leaves has in all.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// To make a connection ready.
    ready: Duration,
    /// To take it, once it may. It is either at it at once or not at all.
    taken: Duration,
}

impl Patience {
    const READY_MAX: Duration = Duration::from_secs(5);
    const TAKEN_MAX: Duration = Duration::from_millis(2500);

    fn of(grace: Duration) -> Self {
        Self { ready: Self::READY_MAX.min(grace / 6), taken: Self::TAKEN_MAX.min(grace / 12) }
    }
}

/// The old worker's end of the line. The line ends when this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Line {
    offers: mpsc::Sender<Outgoing>,
    words: mpsc::Sender<Outgoing>,
    asked: Asked,
    last: AtomicU64,
    patience: Patience,
    /// The new worker is to take nothing more, and says no more than what it has said.
    over: CancellationToken,
}

/// Who waits for an answer, by the number of the connection; `None` once there are none any more.
type Asked = Arc<Mutex<Option<HashMap<u64, mpsc::Sender<Word>>>>>;

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
    /// Told when the kernel has all of it.
    sent: oneshot::Sender<()>,
}

fn lock(asked: &Asked) -> MutexGuard<'_, Option<HashMap<u64, mpsc::Sender<Word>>>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Begins to talk; the task that does ends with the line. `grace` is what is left of the time
    /// of the worker that leaves.
    pub(in crate::server) fn open(
        descriptor: OwnedFd,
        lifecycle: &Lifecycle,
        grace: Duration,
    ) -> Result<Self> {
        let end = end_of_line(descriptor)?;
        let ((offers, offered), (words, worded)) =
            (mpsc::channel(OFFERS_MAX), mpsc::channel(WORDS_MAX));
        let asked: Asked = Arc::new(Mutex::new(Some(HashMap::new())));
        let over = CancellationToken::new();
        lifecycle.spawn(talk(end, (worded, offered), Arc::clone(&asked), over.clone()));
        let (last, patience) = (AtomicU64::new(0), Patience::of(grace));
        Ok(Self { offers, words, asked, last, patience, over })
    }

    /// Offers a connection; whether the new worker has taken it.
    pub(super) async fn offer(&self, parcel: &[u8], stream: OwnedFd) -> Offered {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        // Ready or no, taken, and the end.
        let (told, mut answers) = mpsc::channel(3);
        match &mut *lock(&self.asked) {
            Some(asked) => drop(asked.insert(number, told)),
            None => return Offered::Refused,
        }
        let ready = timeout(self.patience.ready, async {
            let (sent, is_sent) = oneshot::channel();
            let (bytes, descriptor) = (message(Word::Offer, number, parcel), Some(stream));
            self.offers.send(Outgoing { bytes, descriptor, sent }).await.ok()?;
            is_sent.await.ok()?;
            answers.recv().await
        });
        let taken = match ready.await {
            Ok(Some(Word::Ready)) => self.let_go(number, &mut answers).await,
            // The line may have ended, or have been too full for it.
            Ok(_) => Offered::Refused,
            Err(_) => {
                self.say(Word::Stay, number);
                Offered::Refused
            }
        };
        if let Some(asked) = &mut *lock(&self.asked) {
            asked.remove(&number);
        }
        taken
    }

    /// From the word on the new worker may take it at any moment, until it has, or cannot any more.
    async fn let_go(&self, number: u64, answers: &mut mpsc::Receiver<Word>) -> Offered {
        self.say(Word::Go, number);
        let answer = match timeout(self.patience.taken, answers.recv()).await {
            Ok(answer) => answer,
            Err(_) => {
                if !self.over.is_cancelled() {
                    tracing::warn!("the new worker hangs: what it has not taken stays");
                }
                self.over.cancel();
                answers.recv().await
            }
        };
        if answer == Some(Word::Taken) { Offered::Taken } else { Offered::Refused }
    }

    /// Says a short word. A line that takes none any more has ended, or ends.
    fn say(&self, word: Word, number: u64) {
        let bytes = message(word, number, &[]);
        let outgoing = Outgoing { bytes, descriptor: None, sent: oneshot::channel().0 };
        if self.words.try_send(outgoing).is_err() {
            self.over.cancel();
        }
    }
}

impl Successor for Line {
    fn take<'a>(
        &'a self,
        request: &'a Request,
        mut parcel: Parcel,
        stream: OwnedFd,
    ) -> BoxFuture<'a, Offered> {
        parcel.session = sessions::id_of(request);
        Box::pin(async move {
            match parcel.bytes() {
                Some(bytes) => self.offer(&bytes, stream).await,
                None => Offered::TooLarge,
            }
        })
    }
}

/// What is said next; short words do not wait for offers. `None`: nothing more.
async fn next(
    words: &mut mpsc::Receiver<Outgoing>,
    offers: &mut mpsc::Receiver<Outgoing>,
) -> Option<Outgoing> {
    tokio::select! {
        biased;
        Some(word) = words.recv() => Some(word),
        Some(offer) = offers.recv() => Some(offer),
        else => None,
    }
}

/// Says what is to be said and hears the answers, until there is nothing more to say or nobody who
/// hears it.
async fn talk(
    line: UnixStream,
    (words, offers): (mpsc::Receiver<Outgoing>, mpsc::Receiver<Outgoing>),
    asked: Asked,
    over: CancellationToken,
) {
    let mut hearing = pin!(hear(&line, &asked).fuse());
    let ended = tokio::select! {
        ended = &mut hearing => ended,
        said = say_all(&line, words, offers) => match said {
            Ok(()) => timeout(END_WAIT, &mut hearing).await.unwrap_or(Ok(())),
            Err(error) => Err(error),
        },
        () = over.cancelled() => Ok(()),
    };
    // From here on it cannot say that it takes anything, so it does not; what it has said before is
    // there to be read.
    let _gone_already = SockRef::from(&line).shutdown(Shutdown::Both);
    if !hearing.is_terminated() {
        let _said_all = hearing.await;
    }
    *lock(&asked) = None;
    if let Err(error) = ended {
        tracing::warn!(%error, "the line to the new worker broke: what did not move stays");
    }
}

/// Says all there is, and that there is no more.
async fn say_all(
    line: &UnixStream,
    mut words: mpsc::Receiver<Outgoing>,
    mut offers: mpsc::Receiver<Outgoing>,
) -> Result<()> {
    while let Some(Outgoing { bytes, descriptor, sent }) = next(&mut words, &mut offers).await {
        if descriptor.is_some() && sent.is_closed() {
            // That it stays was said already.
            continue;
        }
        match send(line, &bytes, descriptor.as_ref().map(AsFd::as_fd)).await {
            // Who has given up does not hear it.
            Ok(()) => drop(sent.send(())),
            // Of all processes of this user too many descriptors are on their way: nothing of this
            // one was sent, and another one may be.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::TOOMANYREFS) => {}
            Err(error) => return Err(error),
        }
    }
    SockRef::from(line).shutdown(Shutdown::Write)
}

/// Hears answers to the end of the line.
async fn hear(line: &UnixStream, asked: &Asked) -> Result<()> {
    while let Some(said) = receive(line).await? {
        let Some(word @ (Word::Ready | Word::No | Word::Taken)) = said.word else { continue };
        if let Some(who) = lock(asked).as_ref().and_then(|asked| asked.get(&said.number)) {
            // More than it may say, or to one that has given up.
            let _unheard = who.try_send(word);
        }
    }
    Ok(())
}
