//! A connection's parts in groups, as another process goes on with them.
//!
//! Invariant: whoever takes one over is counted as present before the one who gives it up is
//! uncounted, and goes on right behind the last message that was handed out.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::members::Part;
use super::protocol::{Ask, Key, Person};
use super::{Connection, GroupName, Policy, Position};
use crate::error::{Error, Result};

/// What a connection has in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stake {
    group: String,
    /// The last message it has.
    at: Position,
    #[serde(default)]
    policy: Policy,
    /// Messages go to the client.
    is_joined: bool,
    /// Messages go to the consumer.
    is_listening: bool,
    somebody: Option<Somebody>,
}

/// Who is counted as present by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Somebody {
    key: Box<str>,
    grace_ms: u64,
    since: Position,
    #[serde(with = "blob")]
    joined: Vec<u8>,
    #[serde(with = "blob")]
    left: Vec<u8>,
}

impl Stake {
    pub(super) fn new(
        group: &GroupName,
        (at, policy): (Position, Policy),
        (is_joined, is_listening): (bool, bool),
        person: Option<&Person>,
    ) -> Self {
        let somebody = person.map(|person| Somebody {
            key: person.key.clone(),
            grace_ms: u64::try_from(person.grace.as_millis()).unwrap_or(u64::MAX),
            since: person.since,
            joined: person.joined.bytes().to_vec(),
            left: person.left.bytes().to_vec(),
        });
        let group = group.as_str().to_owned();
        Self { group, at, policy, is_joined, is_listening, somebody }
    }

    /// The group's name.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }
}

impl Somebody {
    fn person(&self) -> Result<Person> {
        let frame = |bytes: &[u8]| Frame::parse(Bytes::copy_from_slice(bytes));
        let (Some(joined), Some(left)) = (frame(&self.joined), frame(&self.left)) else {
            return Err(Error::new("a presence that was handed over has no messages"));
        };
        let grace = Duration::from_millis(self.grace_ms);
        Ok(Person { key: self.key.clone(), grace, since: self.since, joined, left })
    }
}

impl Connection {
    /// What it has in its groups; `None` while it is on its way into one.
    pub(crate) fn stakes(&self) -> Option<Vec<Stake>> {
        self.worker.table().stakes(self.id)
    }

    /// Goes on where a connection of another process was; whether nothing is lost to it. Who was
    /// present by it is not yet. As [`join_at`](Self::join_at), whose errors it has.
    pub(crate) async fn take_over(&self, stake: &Stake) -> Result<bool> {
        let group = GroupName::new(&stake.group)?;
        let first = if stake.is_joined { Part::Join(stake.policy) } else { Part::Listen };
        let came = self.take_part_at(&group, Some(stake.at), first).await?;
        if stake.is_joined && stake.is_listening {
            self.take_part(&group, Part::Listen).await?;
        }
        Ok(came.recovered)
    }

    /// Counts who was present by a connection of another process, in the group that was taken over
    /// before. The group knows of them already: nobody is told, and unlike `enter` it costs the
    /// store no roster.
    pub(crate) async fn count(&self, stake: &Stake) -> Result<()> {
        let Some(somebody) = &stake.somebody else { return Ok(()) };
        let (group, person) = (GroupName::new(&stake.group)?, somebody.person()?);
        self.worker.change(|table| table.count(self.id, &group, person));
        // The store answers in order: then it has counted. Of no messages it is the cheapest answer
        // that any store gives about a group.
        let (since, limit) = (Some(stake.at), 0);
        let make = |key: Key| Ask::History { request: key.request, group, since, limit };
        self.worker.request(0, make).await.map(drop)
    }
}

/// Bytes in base64, as they stand in what one process hands to another.
pub(crate) mod blob {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(de::Error::custom)
    }
}
