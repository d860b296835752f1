//! The old worker's end of the line.

use std::collections::HashMap;
use std::io::Result;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Word, end_of_line, message, receive, send};
use crate::contrib::sessions;
use crate::http::Request;
use crate::site::Lifecycle;
use crate::sockets::{Parcel, Successor};

/// How long the new worker may take to be ready for a connection.
const READY_WAIT: Duration = Duration::from_secs(5);

/// How long the end of the line may take, once all is said.
const END_WAIT: Duration = Duration::from_secs(2);

/// Messages that wait to be sent.
const WAITING_MAX: usize = 16;

/// The old worker's end of the line. The line ends when this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Line {
    outgoing: mpsc::Sender<Outgoing>,
    asked: Asked,
    last: AtomicU64,
}

/// Who waits for an answer, by the number of the connection; `None` once there are none any more.
type Asked = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<bool>>>>>;

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
    /// Told when the kernel has all of it.
    sent: oneshot::Sender<()>,
}

fn lock(asked: &Asked) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<bool>>>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Begins to talk; the task that does ends with the line.
    pub(in crate::server) fn open(descriptor: OwnedFd, lifecycle: &Lifecycle) -> Result<Self> {
        let end = end_of_line(descriptor)?;
        let (outgoing, waiting) = mpsc::channel(WAITING_MAX);
        let asked: Asked = Arc::new(Mutex::new(Some(HashMap::new())));
        lifecycle.spawn(talk(end, waiting, Arc::clone(&asked)));
        Ok(Self { outgoing, asked, last: AtomicU64::new(0) })
    }

    /// Says something; whether the kernel has it. Else nobody will ever hear it.
    async fn say(&self, bytes: Vec<u8>, descriptor: Option<OwnedFd>) -> bool {
        let (sent, is_sent) = oneshot::channel();
        let outgoing = Outgoing { bytes, descriptor, sent };
        self.outgoing.send(outgoing).await.is_ok() && is_sent.await.is_ok()
    }

    async fn offer(&self, parcel: &[u8], stream: OwnedFd) -> bool {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (told, is_ready) = oneshot::channel();
        match &mut *lock(&self.asked) {
            Some(asked) => drop(asked.insert(number, told)),
            None => return false,
        }
        let offered = async {
            self.say(message(Word::Offer, number, parcel), Some(stream)).await
                && is_ready.await == Ok(true)
        };
        if timeout(READY_WAIT, offered).await == Ok(true) {
            return self.say(message(Word::Go, number, &[]), None).await;
        }
        if let Some(asked) = &mut *lock(&self.asked) {
            asked.remove(&number);
        }
        // It need not arrive: without a "go" nobody goes on.
        drop(self.outgoing.try_send(Outgoing {
            bytes: message(Word::Stay, number, &[]),
            descriptor: None,
            sent: oneshot::channel().0,
        }));
        false
    }
}

impl Successor for Line {
    fn take<'a>(
        &'a self,
        request: &'a Request,
        mut parcel: Parcel,
        stream: OwnedFd,
    ) -> BoxFuture<'a, bool> {
        parcel.session = sessions::id_of(request);
        Box::pin(async move {
            let Some(bytes) = parcel.bytes() else { return false };
            self.offer(&bytes, stream).await
        })
    }
}

/// Says what is to be said and hears the answers, until there is nothing more to say or nobody who
/// hears it.
async fn talk(line: UnixStream, mut waiting: mpsc::Receiver<Outgoing>, asked: Asked) {
    let saying = async {
        while let Some(Outgoing { bytes, descriptor, sent }) = waiting.recv().await {
            send(&line, &bytes, descriptor.as_ref().map(AsFd::as_fd)).await?;
            // Who has given up does not hear it.
            let _gone = sent.send(());
        }
        SockRef::from(&line).shutdown(Shutdown::Write)
    };
    let hearing = async {
        while let Some(said) = receive(&line).await? {
            let who = lock(&asked).as_mut().and_then(|asked| asked.remove(&said.number));
            if let (Some(who), Some(Word::Ready | Word::No)) = (who, said.word) {
                let _gone = who.send(said.word == Some(Word::Ready));
            }
        }
        Result::Ok(())
    };
    tokio::pin!(hearing);
    let ended = tokio::select! {
        ended = &mut hearing => ended,
        ended = saying => match ended {
            // What is still unread there must not be lost to a reset.
            Ok(()) => timeout(END_WAIT, hearing).await.unwrap_or(Ok(())),
            Err(error) => Err(error),
        },
    };
    *lock(&asked) = None;
    if let Err(error) = ended {
        tracing::warn!(%error, "the line to the new worker broke: what did not move stays");
    }
}
