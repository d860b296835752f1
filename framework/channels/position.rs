//! Places in a group's order, and what they were called before the store restarted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Kind, Result};

/// Earlier epochs a group's positions are still known by: a store may crash so often before a
/// client that was away all the time is told that its position means nothing any more.
const EPOCHS_MAX: usize = 8;

/// A place in a group's order. Offsets begin at 1 in each epoch and have no holes; a later epoch is
/// larger, and begins when the store has lost what came before.
///
/// Its text is `epoch-offset`, which is what browsers keep: they hand it back as it is. In JSON it
/// is that text too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which order it is a place in.
    pub epoch: u64,
    /// Its place there; 0 is before the first message.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = Error;

    /// # Errors
    /// The text is no position (`is_bad_position`).
    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (epoch, offset) = text.split_once('-')?;
            Some(Self { epoch: number(epoch)?, offset: number(offset)? })
        };
        parse().ok_or_else(|| {
            let shown: String = text.chars().take(50).collect();
            Error::of(Kind::BadPosition, format!("bad position {shown:?}: two numbers and a `-`"))
        })
    }
}

/// A number as it is written here: digits, and no more of them than it needs.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_plain && is_short).then(|| text.parse().ok()).flatten()
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The last position of each earlier epoch, oldest first, whose offsets go on in the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage(Vec<Position>);

impl Lineage {
    /// From the ends of epochs, oldest first.
    pub(crate) fn new(ends: Vec<Position>) -> Option<Self> {
        (ends.len() <= EPOCHS_MAX).then_some(Self(ends))
    }

    /// The ends of epochs, oldest first.
    pub(crate) fn ends(&self) -> &[Position] {
        &self.0
    }

    /// The epoch of `last` ends there; the next one goes on from it. What lay behind that in
    /// earlier ones is no part of it: who was told of it last knew less, and is all there is left.
    pub(crate) fn end(&mut self, last: Position) {
        for end in &mut self.0 {
            end.offset = end.offset.min(last.offset);
        }
        if self.0.len() >= EPOCHS_MAX {
            self.0.remove(0);
        }
        self.0.push(last);
    }

    /// Whether the current epoch goes on from `position` of an earlier one.
    pub(crate) fn leads_from(&self, position: Position) -> bool {
        self.0.iter().any(|end| end.epoch == position.epoch && position.offset <= end.offset)
    }

    /// What `position` is called in the epoch of `top`; `None` if it is no place on the way there.
    pub(crate) fn renamed(&self, position: Position, top: Position) -> Option<Position> {
        let is_known = position.epoch == top.epoch || self.leads_from(position);
        (is_known && position.offset <= top.offset)
            .then_some(Position { epoch: top.epoch, offset: position.offset })
    }
}

impl Error {
    /// A text is not the position of a message, `epoch-offset`.
    ///
    /// If you see this, a client sent something else than the position it was given: let it join
    /// without one.
    #[must_use]
    pub fn is_bad_position(&self) -> bool {
        self.kind() == Kind::BadPosition
    }
}
