//! Writing to a service: what it is sent waits in a named channel of its own.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Service;
use super::declared::Declarations;
use crate::channels::{ChannelStatistics, GroupName, Message};
use crate::error::{Error, Result};
use crate::site::{Channel, Site};

/// What the channels of services begin with.
const PREFIX: &str = "service.";

/// How long a question waits for its answer, unless it says otherwise.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The mailbox of a service, seen from a [`Site`].
///
/// It is the named channel `service.<name>`: as many messages wait there as `channels.capacity` (or
/// `channels.capacities`) says, for `channels.expiry_seconds`; beyond it a send is an error. Inside
/// a transaction a send waits for the commit, and a rollback drops it. Sends of one process arrive
/// in their order, each once or, if the service dies with it in its hands, not at all.
pub struct Mailbox<S> {
    site: Site,
    wait: Duration,
    of: PhantomData<fn() -> S>,
}

impl Site {
    /// The service `S` of this site, to be written to.
    #[must_use]
    pub fn service<S: Service>(&self) -> Mailbox<S> {
        Mailbox { site: self.clone(), wait: ANSWER_WAIT, of: PhantomData }
    }
}

impl<S: Service> Mailbox<S> {
    /// Another time to wait for answers than 5 seconds.
    #[must_use]
    pub fn within(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sends `message`. `Ok` once it waits in the mailbox, or will with the commit.
    ///
    /// # Errors
    /// The project has no such service, the mailbox is full (`is_channel_full`), the
    /// message too large, or the store away.
    pub async fn send(&self, message: &S::Message) -> Result<()> {
        self.channel()?.send(write::<S>(message)?).await
    }

    /// As [`send`](Self::send), after `delay`, at most a week.
    ///
    /// # Errors
    /// As [`send`](Self::send), or too many messages are delayed.
    pub async fn send_after(&self, delay: Duration, message: &S::Message) -> Result<()> {
        self.channel()?.send_after(delay, write::<S>(message)?).await
    }

    /// Sends `message` and waits for what the service answers.
    ///
    /// # Errors
    /// There is no answer (`is_no_answer`): not in time, or it failed; as [`send`](Self::send); or
    /// this is inside a transaction (`is_nested_transaction`).
    pub async fn ask(&self, message: &S::Message) -> Result<S::Answer> {
        let answer = self.channel()?.ask(write::<S>(message)?, self.wait).await?;
        read(&answer).map_err(|error| error.context(format!("the answer of {}", S::NAME)))
    }

    /// How many messages wait, and what its channel has done.
    ///
    /// # Errors
    /// The project has no such service, or the store cannot be reached.
    pub async fn statistics(&self) -> Result<ChannelStatistics> {
        self.channel()?.statistics().await
    }

    /// Its channel; nobody reads that of a service the project does not have.
    fn channel(&self) -> Result<Channel> {
        if !self.site.kept::<Declarations>().is_some_and(|known| known.has(S::NAME)) {
            let words = format!(
                "the project has no service {:?}: Project::service(service::<..>()) adds it",
                S::NAME
            );
            return Err(Error::usage(words));
        }
        Ok(self.site.channel(format!("{PREFIX}{}", S::NAME)))
    }
}

impl<S: Service> fmt::Debug for Mailbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the mailbox of {}", S::NAME)
    }
}

/// The channel of the service called `name`.
pub(super) fn channel_name(name: &str) -> Result<GroupName> {
    GroupName::new(&format!("{PREFIX}{name}"))
        .map_err(|error| error.context(format!("the name of the service {name:?}")))
}

fn write<S: Service>(message: &S::Message) -> Result<Message> {
    let text = written(message);
    text.map_err(|error| error.context(format!("a message to {}", S::NAME)))
}

/// A value as JSON.
pub(super) fn written(value: &impl Serialize) -> Result<Message> {
    Ok(Message::from(serde_json::to_string(value)?))
}

/// A value of JSON.
pub(super) fn read<T: DeserializeOwned>(message: &Message) -> Result<T> {
    Ok(serde_json::from_slice(message.as_bytes())?)
}
