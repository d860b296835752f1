//! `site.channel("thumbnails").send(..)`: sending to the one reader of a named channel.

use crate::channels::{GroupName, Message};
use crate::error::Result;
use crate::site::Site;

/// A named channel, seen from a [`Site`]: inside a transaction a send waits for the commit.
#[derive(Clone, Debug)]
pub struct Channel {
    site: Site,
    name: String,
}

impl Channel {
    pub(crate) fn new(site: Site, name: String) -> Self {
        Self { site, name }
    }

    /// Sends `message` to whoever reads the channel next. Outside a transaction it waits there when
    /// this returns.
    ///
    /// # Errors
    /// The name is bad, the message too large, the channel full, or the store cannot be reached.
    pub async fn send(&self, message: impl Into<Message>) -> Result<()> {
        let name = GroupName::new(&self.name)?;
        let message = message.into();
        self.site
            .on_commit(move |site| async move { site.layer().send(&name, message).await })
            .await
    }
}
