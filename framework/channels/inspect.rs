//! Looking at groups: who is present, which connections take part, numbers; and emptying all.

use std::time::Duration;

use super::groups::GroupAsk;
use super::members::Reply;
use super::protocol::{Ask, Key};
use super::{GroupName, Layer, Message};
use crate::error::Result;

/// Connections of a group that are enumerated; who asks gets no more.
pub(crate) const MEMBERS_MAX: usize = 100_000;

/// Somebody who is present in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Who.
    pub key: String,
    /// What the others were told: whatever there is to know about them.
    pub joined: Message,
    /// How many connections they have; 0 in the grace period after the last.
    pub connections: u32,
}

/// What the data store holds of a group, or of all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatistics {
    /// Groups the store knows: 1 or 0, if it was asked about one.
    pub groups: u64,
    /// Processes with members; of all groups together, processes linked to the store.
    pub workers: u64,
    /// Who is present, each once a group.
    pub present: u64,
    /// Messages since the store knows the group, or since it started.
    pub messages: u64,
    /// Messages it has still.
    pub kept: u64,
    /// Bytes of them.
    pub kept_bytes: u64,
    /// How often a worker was told that it missed messages for good.
    pub gaps: u64,
    /// Age of the oldest message it has still.
    pub oldest: Option<Duration>,
}

impl Layer {
    /// Who is present in `group`, in the order of their keys; at most 8 MiB of them.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn present(&self, group: &GroupName) -> Result<Vec<Present>> {
        let group = group.clone();
        match self.ask_group(|request| GroupAsk::Present { request, group }).await? {
            Reply::Present(people) => Ok(people
                .into_iter()
                .map(|person| Present {
                    key: person.key.into(),
                    joined: person.joined.message(),
                    connections: person.connections,
                })
                .collect()),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// The [names](super::Connection::name) of all connections that take part in `group`, in all
    /// processes, in their order; at most 100,000. Every process with members is asked.
    ///
    /// # Errors
    /// The store or one of those processes does not answer in time.
    pub async fn group_channels(&self, group: &GroupName) -> Result<Vec<GroupName>> {
        let group = group.clone();
        match self.ask_group(|request| GroupAsk::Members { request, group }).await? {
            Reply::Members(names) => Ok(names),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// What the data store holds of `group`.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn group_statistics(&self, group: &GroupName) -> Result<GroupStatistics> {
        self.group_numbers(Some(group.clone())).await
    }

    /// What the data store holds of all groups together.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn groups_statistics(&self) -> Result<GroupStatistics> {
        self.group_numbers(None).await
    }

    async fn group_numbers(&self, group: Option<GroupName>) -> Result<GroupStatistics> {
        match self.ask_group(|request| GroupAsk::Inspect { request, group }).await? {
            Reply::GroupNumbers(numbers) => Ok(numbers),
            reply => Err(super::unexpected(&reply)),
        }
    }

    /// The groups with members in this process, and how many each has.
    pub(crate) fn local_groups(&self) -> Vec<(String, u64)> {
        self.worker().table().members_of_groups()
    }

    /// Empties everything, in all processes: no connection is in any group any more, and nobody is
    /// told; histories, unread messages, values and locks are gone. For tests and for beginning
    /// again.
    ///
    /// # Errors
    /// The store cannot be reached in time.
    pub async fn flush(&self) -> Result<()> {
        match self.ask_group(|request| GroupAsk::Flush { request }).await? {
            Reply::Done => Ok(()),
            reply => Err(super::unexpected(&reply)),
        }
    }

    async fn ask_group(&self, make: impl FnOnce(u64) -> GroupAsk) -> Result<Reply> {
        self.worker().request(0, |key: Key| Ask::Group(make(key.request))).await
    }
}
