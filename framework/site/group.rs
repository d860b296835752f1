//! `site.group("chat").send(..)`: sending to a group, with respect for transactions.

use crate::channels::{GroupName, Message, Position};
use crate::error::Result;
use crate::site::Site;

/// A group of connections, seen from a [`Site`]: inside a transaction a send waits for the commit.
#[derive(Clone, Debug)]
pub struct Group {
    site: Site,
    name: String,
}

impl Group {
    pub(crate) fn new(site: Site, name: String) -> Self {
        Self { site, name }
    }

    /// Sends `message` to every member, in every process. Outside a transaction it is on its way,
    /// with its place in the group's order, when this returns.
    ///
    /// # Errors
    /// The name is bad, the message too large, or the store cannot be reached.
    pub async fn send(&self, message: impl Into<Message>) -> Result<()> {
        self.publish(message).await.map(drop)
    }

    /// As [`send`](Self::send), once however often it is said: a message with a `name` that came
    /// before is not sent again. See [`Layer::publish_once`](crate::channels::Layer::publish_once).
    ///
    /// # Errors
    /// As [`send`](Self::send), or `name` has not 1 to 200 bytes.
    pub async fn send_once(
        &self,
        name: impl Into<String>,
        message: impl Into<Message>,
    ) -> Result<()> {
        let group = GroupName::new(&self.name)?;
        let (name, message) = (name.into(), message.into());
        self.site
            .on_commit(move |site| async move {
                site.layer().publish_once(&group, &name, message).await.map(drop)
            })
            .await
    }

    /// As [`send`](Self::send), as the latest `of` something (a price, a cursor): members that lag
    /// and joined with [`Policy::Latest`](crate::channels::Policy::Latest) get only the last.
    ///
    /// # Errors
    /// As [`send`](Self::send), or `of` has not 1 to 200 bytes.
    pub async fn send_latest(
        &self,
        of: impl Into<String>,
        message: impl Into<Message>,
    ) -> Result<()> {
        let group = GroupName::new(&self.name)?;
        let (of, message) = (of.into(), message.into());
        self.site
            .on_commit(move |site| async move {
                site.layer().publish_latest(&group, &of, message).await.map(drop)
            })
            .await
    }

    /// As [`send`](Self::send), with the message's place in the group's order: a client that is
    /// told it knows when it has seen what it caused. `None` inside a transaction, where it has no
    /// place before the commit.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn publish(&self, message: impl Into<Message>) -> Result<Option<Position>> {
        let name = GroupName::new(&self.name)?;
        let message = message.into();
        if !self.site.in_transaction() {
            return self.site.layer().publish(&name, message).await.map(Some);
        }
        self.site
            .on_commit(
                move |site| async move { site.layer().publish(&name, message).await.map(drop) },
            )
            .await
            .map(|()| None)
    }
}
