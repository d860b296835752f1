//! A send that comes again because its sender has not heard: handled once, answered as often as it
//! is asked.
//!
//! Flow: the name of the send is claimed among the site's values → the handler runs → its answer
//! takes the claim's place. Who comes meanwhile is to try again; who comes later gets the answer.
//!
//! Invariants:
//! - The claim of a worker that died ends by itself; then the send is handled again, and
//!   [`Sender::publish`](super::Sender::publish) recognises by its own key what was published.
//! - A store that keeps no values costs this guarantee and nothing else.

use std::time::Duration;

use crate::channels::Position;
use crate::error::Result;
use crate::site::Site;

/// How long a handler may take before its send counts as one that nobody handles any more.
const CLAIM_AGE: Duration = Duration::from_secs(5);

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
    name: Option<&'a str>,
}

impl<'a> Turn<'a> {
    /// Takes the turn to handle the send of this name, if it has one and nobody else has it.
    pub(super) async fn take(site: &'a Site, name: Option<&'a str>) -> Result<Self> {
        let Some(name) = name else { return Ok(Self::Mine(Claim { site, name: None })) };
        let claimed = site.values().add(name, &b"?"[..], Some(CLAIM_AGE)).await;
        match claimed {
            Ok(Some(_)) => Ok(Self::Mine(Claim { site, name: Some(name) })),
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
                Ok(Self::Mine(Claim { site, name: None }))
            }
        }
    }
}

impl Claim<'_> {
    /// It was handled: who repeats it gets this answer.
    pub(super) async fn done(self, at: Option<Position>) {
        let Some(name) = self.name else { return };
        let answer = at.map(|at| at.to_string()).unwrap_or_default();
        let lasts = Duration::from_secs(self.site.settings().channels.history_seconds);
        if let Err(error) = self.site.values().set(name, answer, Some(lasts)).await {
            tracing::warn!(%error, "the answer to a send cannot be kept");
        }
    }

    /// It was refused: who repeats it is heard anew.
    pub(super) async fn give_back(self) {
        let Some(name) = self.name else { return };
        if let Err(error) = self.site.values().remove(name).await {
            tracing::debug!(%error, "a claim ends by itself");
        }
    }
}
