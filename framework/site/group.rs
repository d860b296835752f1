//! `site.group("chat").send(..)`: sending to a group, with respect for transactions.

use crate::channels::{GroupName, Message};
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
        let name = GroupName::new(&self.name)?;
        let message = message.into();
        self.site
            .on_commit(
                move |site| async move { site.layer().publish(&name, message).await.map(drop) },
            )
            .await
    }
}
