//! The new worker's end of the line.

use std::collections::HashMap;
use std::io::{ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::{Said, Word, end_of_line, message, receive, send};
use crate::contrib::{auth, sessions};
use crate::error::Error;
use crate::http::Request;
use crate::server::accept::Acceptor;
use crate::site::Site;
use crate::sockets::{Arrival, Parcel, Resumed, take_in};
use crate::urls::Resolver;

/// Connections that are being made ready at once, or wait for the word.
const MAKING_MAX: usize = 256;

/// How long an old worker may go on when this one is to be replaced itself; at most a third of the
/// time this one has.
const OVER_MAX: Duration = Duration::from_secs(10);

/// Reasons that are logged.
const REASONS_MAX: usize = 10;

/// How long the old worker may go on once this one drains.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Takes in what an old worker gives up. A clone is the same.
#[derive(Clone, Debug)]
pub(in crate::server) struct Reception {
    site: Site,
    resolver: Resolver,
    acceptor: Acceptor,
    /// A task a line.
    lines: TaskTracker,
    refused: Arc<AtomicUsize>,
}

impl Reception {
    pub(in crate::server) fn new(site: &Site, resolver: &Resolver, acceptor: &Acceptor) -> Self {
        let (site, resolver) = (site.clone(), resolver.clone());
        let (lines, refused) = (TaskTracker::new(), Arc::default());
        Self { site, resolver, acceptor: acceptor.clone(), lines, refused }
    }

    /// Hears what comes over the line; the task that does ends with it.
    pub(in crate::server) fn open(&self, descriptor: OwnedFd) {
        let this = self.clone();
        self.site.lifecycle().spawn(self.lines.track_future(async move {
            let lifecycle = this.site.lifecycle().clone();
            let late = async {
                lifecycle.draining().await;
                sleep(LATE_MAX).await;
            };
            tokio::select! {
                ended = this.hear(descriptor) => if let Err(error) = ended {
                    tracing::warn!(%error, "the line to the old worker broke");
                },
                () = late => {}
            }
        }));
    }

    /// Waits until no old worker gives anything any more, for a part of `grace`. No other may
    /// begin.
    pub(in crate::server) async fn over(&self, grace: Duration) {
        self.lines.close();
        let _late = timeout(OVER_MAX.min(grace / 3), self.lines.wait()).await;
    }

    async fn hear(&self, descriptor: OwnedFd) -> Result<()> {
        let line = Arc::new(end_of_line(descriptor)?);
        let mut making = JoinSet::new();
        self.hear_over(&line, &mut making).await?;
        // Who has his word goes on, the others hear that there is none.
        while making.join_next().await.is_some() {}
        Ok(())
    }

    async fn hear_over(&self, line: &Arc<UnixStream>, making: &mut JoinSet<()>) -> Result<()> {
        let mut unsaid: HashMap<u64, oneshot::Sender<bool>> = HashMap::new();
        while let Some(said) = receive(line).await? {
            while making.try_join_next().is_some() {}
            match said.word {
                Some(Word::Offer) => {
                    if making.len() >= MAKING_MAX {
                        return Err(ErrorKind::InvalidData.into());
                    }
                    let (word, told) = oneshot::channel();
                    unsaid.insert(said.number, word);
                    making.spawn(self.clone().make(Arc::clone(line), said, told));
                }
                Some(Word::Go | Word::Stay) => {
                    if let Some(word) = unsaid.remove(&said.number) {
                        // One that failed hears nothing any more.
                        let _failed = word.send(said.word == Some(Word::Go));
                    }
                }
                Some(Word::Ready | Word::No | Word::Taken) | None => {}
            }
        }
        Ok(())
    }

    /// Makes one ready, and lets it go on if it may.
    async fn make(self, line: Arc<UnixStream>, said: Said, told: oneshot::Receiver<bool>) {
        let number = said.number;
        tokio::pin!(told);
        let resumed = tokio::select! {
            resumed = self.resume(said) => resumed,
            // It stays, or the line has ended.
            _ = &mut told => return,
        };
        let resumed = resumed.inspect_err(|error| {
            // Thousands may have the same reason.
            if self.refused.fetch_add(1, Ordering::Relaxed) < REASONS_MAX {
                tracing::info!(%error, "a WebSocket cannot go on here");
            }
        });
        let word = if resumed.is_ok() { Word::Ready } else { Word::No };
        let is_heard = send(&line, &message(word, number, &[]), None).await.is_ok();
        if let Ok(resumed) = resumed
            && is_heard
            && told.await == Ok(true)
            // It cannot be said any more once the old one keeps it.
            && send(&line, &message(Word::Taken, number, &[]), None).await.is_ok()
        {
            resumed.run();
        }
    }

    async fn resume(&self, said: Said) -> crate::error::Result<Resumed> {
        let stream = said.descriptor.ok_or_else(|| Error::new("it came without its stream"))?;
        let parcel = Parcel::read(&said.payload)?;
        let place = self.acceptor.place_for(parcel.counted_address().map(|address| address.ip()));
        let place = place.ok_or_else(|| Error::new("there are as many connections as may be"))?;
        let beside = sessions::beside_of(&self.site, parcel.session.as_deref());
        let arrival = Arrival { stream, place: Box::new(place), beside, may };
        take_in(&self.site, &self.resolver, parcel, arrival).await
    }
}

/// What the line of the URL table demands, asked again.
fn may(request: &Request) -> BoxFuture<'_, bool> {
    Box::pin(async move { auth::may_pass(request).await.is_ok() })
}
