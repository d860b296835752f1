//! `site.channel("thumbnails").send(..)`: sending to the one reader of a named channel.

use std::time::Duration;

use crate::channels::{ChannelStatistics, GroupName, Message};
use crate::error::{Error, Kind, Result};
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

    /// As [`send`](Self::send), but the message comes to the channel only after `delay`, at most a
    /// week; in a transaction that is counted from the commit. It waits in the store: it survives
    /// the end of its sender, but like all messages of channels not that of the store.
    ///
    /// # Errors
    /// As [`send`](Self::send), `delay` is too long, or too many messages are delayed
    /// (`channels.delayed_messages`: `is_channel_full`).
    pub async fn send_after(&self, delay: Duration, message: impl Into<Message>) -> Result<()> {
        let name = GroupName::new(&self.name)?;
        let message = message.into();
        let send =
            move |site: Site| async move { site.layer().send_after(&name, delay, message).await };
        self.site.on_commit(send).await
    }

    /// Sends `message` and waits for what its handler answers (`event.answer(..)`), which nobody
    /// else gets. An answer that comes after `wait` goes nowhere.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use hulse::{Result, Site};
    /// # async fn example(site: &Site) -> Result<()> {
    /// let size = site.channel("thumbnails").ask("7", Duration::from_secs(2)).await?;
    /// assert_eq!(size.text(), Some("64x64"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no answer (`is_no_answer`); as [`send`](Self::send); or this is inside a
    /// transaction (`is_nested_transaction`): the question could leave only after the commit, and
    /// its answer is wanted now.
    pub async fn ask(&self, message: impl Into<Message>, wait: Duration) -> Result<Message> {
        let name = GroupName::new(&self.name)?;
        if self.site.in_transaction() {
            let words = format!("asking channel {name} inside an atomic block: ask before it");
            return Err(Error::of(Kind::NestedTransaction, words));
        }
        self.site.layer().ask(&name, message.into(), wait).await
    }

    /// What it holds and has done.
    ///
    /// # Errors
    /// The name is bad, or the store cannot be reached.
    pub async fn statistics(&self) -> Result<ChannelStatistics> {
        self.site.layer().channel_statistics(&GroupName::new(&self.name)?).await
    }

    /// Drops what waits in it, delayed messages too; at once, also in a transaction.
    ///
    /// # Errors
    /// The name is bad, or the store cannot be reached.
    pub async fn flush(&self) -> Result<()> {
        self.site.layer().flush_channel(&GroupName::new(&self.name)?).await
    }
}
