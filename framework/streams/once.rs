//! A send that comes again because its sender has not heard: handled once, answered as often as it
//! is asked.
//!
//! Flow: the name of the send is claimed among the site's values → the handler runs → its answer
//! takes the claim's place. Who comes meanwhile is to try again; who comes later gets the answer.
//!
//! Invariants:
//! - A claim lasts as long as its handler; nobody changes or ends another's.
//! - The claim of a worker that died ends by itself; then the send is handled again, and
//!   [`Sender::publish`](super::Sender::publish) recognises by its own key what was published.
//! - A store that keeps no values costs this guarantee and nothing else.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use crate::channels::{Position, Version};
use crate::error::Result;
use crate::site::Site;

/// How long after its worker's last word a send counts as one that nobody handles any more.
const CLAIM_AGE: Duration = Duration::from_secs(5);

/// What stands in an answer's place.
const UNDER_WAY: &[u8] = b"?";

/// Whose turn it is to handle a send.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// This one's.
    Mine(Claim<'a>),
    /// It was handled; its message is at this place, if it made one.
    Done(Option<Position>),
    /// It is being handled, or its worker has just died.
    UnderWay,
}

/// The right to handle a send; nothing if it has no name.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    site: &'a Site,
    /// Its name, and which claim of it this is.
    claim: Option<(&'a str, Version)>,
}

impl<'a> Turn<'a> {
    /// Takes the turn to handle the send of this name, if it has one and nobody else has it.
    pub(super) async fn take(site: &'a Site, name: Option<&'a str>) -> Result<Self> {
        let Some(name) = name else { return Ok(Self::Mine(Claim { site, claim: None })) };
        let claimed = site.values().add(name, UNDER_WAY, Some(CLAIM_AGE)).await;
        match claimed {
            Ok(Some(version)) => Ok(Self::Mine(Claim { site, claim: Some((name, version)) })),
            Ok(None) => {
                let known = site.values().get(name).await?.map(|value| value.bytes);
                let known = known.as_deref().map(|bytes| std::str::from_utf8(bytes));
                Ok(match known {
                    Some(Ok("")) => Self::Done(None),
                    Some(Ok(at)) => match at.parse() {
                        Ok(at) => Self::Done(Some(at)),
                        Err(_) => Self::UnderWay,
                    },
                    Some(Err(_)) | None => Self::UnderWay,
                })
            }
            Err(error) if error.is_layer_unavailable() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "a send cannot be claimed: it may be handled twice");
                Ok(Self::Mine(Claim { site, claim: None }))
            }
        }
    }
}

impl Claim<'_> {
    /// Does `work`, and keeps the claim meanwhile.
    pub(super) async fn hold<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(CLAIM_AGE / 3) => self.put(UNDER_WAY.to_vec(), CLAIM_AGE).await,
            }
        }
    }

    /// It was handled: who repeats it gets this answer.
    pub(super) async fn done(mut self, at: Option<Position>) {
        let answer = at.map(|at| at.to_string()).unwrap_or_default();
        let lasts = Duration::from_secs(self.site.settings().channels.history_seconds);
        self.put(answer.into_bytes(), lasts).await;
    }

    /// It was refused: who repeats it is heard anew.
    pub(super) async fn give_back(mut self) {
        self.put(UNDER_WAY.to_vec(), CLAIM_AGE).await;
        let Some((name, _)) = self.claim else { return };
        if let Err(error) = self.site.values().remove(name).await {
            tracing::debug!(%error, "a claim ends by itself");
        }
    }

    /// Writes `bytes` in the claim's place, if it is this one's still.
    async fn put(&mut self, bytes: Vec<u8>, lasts: Duration) {
        let Some((name, version)) = self.claim else { return };
        match self.site.values().swap(name, version, bytes, Some(lasts)).await {
            Ok(version) => {
                if version.is_none() {
                    tracing::warn!("a send's claim was lost: it may be handled twice");
                }
                self.claim = version.map(|version| (name, version));
            }
            Err(error) => tracing::warn!(%error, "a send's claim cannot be kept"),
        }
    }
}
