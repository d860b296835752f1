//! What a consumer gives to the process that goes on with its connection.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Longest state, bytes of its JSON. A consumer with a longer one stays.
const STATE_BYTES_MAX: usize = 64 * 1024;

/// What a consumer gives to the worker that goes on with its connection at a reload; see
/// [`Consumer::handoff`](super::Consumer::handoff).
///
/// ```
/// use hulse::prelude::*;
/// use hulse::sockets::Handoff;
///
/// #[derive(Default)]
/// struct Counter {
///     count: u64,
/// }
///
/// impl Consumer for Counter {
///     async fn receive(&mut self, socket: &mut Socket, _: &str) -> Result<()> {
///         self.count += 1;
///         socket.send(self.count.to_string()).await
///     }
///
///     fn handoff(&self) -> Handoff {
///         Handoff::new(1, &self.count)
///     }
///
///     async fn resume(&mut self, _: &mut Socket, handoff: &Handoff) -> Result<()> {
///         self.count = handoff.state(1)?;
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    carried: Carried,
    /// Groups of which messages are lost, in whose place the consumer says what is now.
    gaps: Vec<String>,
    outlives_gaps: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Carried {
    /// The connection cannot move.
    Stays,
    /// There is nothing to carry.
    Nothing,
    State {
        version: u32,
        json: String,
    },
}

impl Handoff {
    /// The connection cannot move: it is closed with 1012, and its client comes back.
    #[must_use]
    pub fn stays() -> Self {
        Self::of_carried(Carried::Stays)
    }

    /// The consumer has no state.
    #[must_use]
    pub fn stateless() -> Self {
        Self::of_carried(Carried::Nothing)
    }

    /// The consumer's state. Give it another `version` whenever it means something else than
    /// before, or when other groups are joined: what the new program does not read, it closes with
    /// 1012. State that is no JSON, or longer than 64 KiB, stays where it is.
    #[must_use]
    pub fn new(version: u32, state: &(impl Serialize + ?Sized)) -> Self {
        Self::of_carried(match serde_json::to_string(state) {
            Ok(json) if json.len() <= STATE_BYTES_MAX => Carried::State { version, json },
            Ok(json) => {
                tracing::warn!(bytes = json.len(), "a consumer's state is too long to move");
                Carried::Stays
            }
            Err(error) => {
                tracing::warn!(%error, "a consumer's state cannot move");
                Carried::Stays
            }
        })
    }

    /// The state, if it is of this version.
    ///
    /// # Errors
    /// It is of another one, is none, or does not fit `T`: return the error, and the connection is
    /// closed with 1012.
    pub fn state<T: DeserializeOwned>(&self, version: u32) -> Result<T> {
        match &self.carried {
            Carried::State { version: of, json } if *of == version => {
                serde_json::from_str(json).map_err(Into::into)
            }
            Carried::State { version: of, .. } => {
                Err(Error::new(format!("the consumer's state is of version {of}, not {version}")))
            }
            Carried::Nothing | Carried::Stays => Err(Error::new("the consumer gave no state")),
        }
    }

    /// The default of a consumer: of a type without size, there is nothing to carry.
    pub(super) fn of<C: ?Sized>(consumer: &C) -> Self {
        if size_of_val(consumer) == 0 { Self::stateless() } else { Self::stays() }
    }

    /// The default of one that goes on.
    pub(super) fn check<C: ?Sized>(&self, consumer: &C) -> Result<()> {
        if self.carried == Carried::Nothing && size_of_val(consumer) == 0 {
            return Ok(());
        }
        Err(Error::new("the consumer reads no state, or was given one"))
    }

    /// The consumer knows what to do about messages that are lost.
    pub(crate) fn through_gaps(self) -> Self {
        Self { outlives_gaps: true, ..self }
    }

    /// The groups of which messages are lost.
    pub(crate) fn gaps(&self) -> &[String] {
        &self.gaps
    }

    fn of_carried(carried: Carried) -> Self {
        Self { carried, gaps: Vec::new(), outlives_gaps: false }
    }

    /// As it travels; `None`: it does not.
    pub(super) fn pack(self) -> Option<Packed> {
        let state = match self.carried {
            Carried::Stays => return None,
            Carried::Nothing => None,
            Carried::State { version, json } => Some((version, json)),
        };
        Some(Packed { state, outlives_gaps: self.outlives_gaps })
    }
}

/// As it travels.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Packed {
    state: Option<(u32, String)>,
    outlives_gaps: bool,
}

impl Packed {
    /// As the consumer gets it, with the groups of which messages are lost.
    pub(super) fn unpack(self, gaps: Vec<String>) -> Result<Handoff> {
        if !gaps.is_empty() && !self.outlives_gaps {
            return Err(Error::new(format!("messages of {} are lost", gaps.join(", "))));
        }
        let carried = match self.state {
            None => Carried::Nothing,
            Some((version, json)) => Carried::State { version, json },
        };
        Ok(Handoff { carried, gaps, outlives_gaps: self.outlives_gaps })
    }
}

#[cfg(test)]
mod tests {
    use super::{Handoff, STATE_BYTES_MAX};

    fn moved(handoff: Handoff) -> Handoff {
        let packed = serde_json::to_string(&handoff.pack().unwrap()).unwrap();
        serde_json::from_str::<super::Packed>(&packed).unwrap().unpack(Vec::new()).unwrap()
    }

    #[test]
    fn a_state_is_read_by_who_knows_its_version() {
        let handoff = moved(Handoff::new(2, &("ann", 3)));
        assert_eq!(handoff.state::<(String, u8)>(2).unwrap(), ("ann".to_owned(), 3));
        assert!(handoff.state::<(String, u8)>(1).is_err());
        assert!(handoff.state::<u8>(2).is_err());
        assert!(handoff.check(&()).is_err(), "somebody must read it");
    }

    #[test]
    fn only_types_without_size_have_nothing_to_carry() {
        assert!(moved(Handoff::of(&())).check(&()).is_ok());
        assert!(moved(Handoff::of(&())).check(&0_u8).is_err());
        assert!(moved(Handoff::of(&())).state::<u8>(0).is_err());
        assert!(Handoff::of(&0_u8).pack().is_none());
    }

    #[test]
    fn a_long_state_stays() {
        assert!(Handoff::new(1, &"x".repeat(STATE_BYTES_MAX - 2)).pack().is_some());
        assert!(Handoff::new(1, &"x".repeat(STATE_BYTES_MAX - 1)).pack().is_none());
    }

    #[test]
    fn who_knows_nothing_of_gaps_goes_no_further() {
        let gaps = || vec!["g".to_owned()];
        let unpack = |handoff: Handoff| handoff.pack().unwrap().unpack(gaps());
        assert!(unpack(Handoff::stateless()).is_err());
        assert_eq!(unpack(Handoff::stateless().through_gaps()).unwrap().gaps(), gaps());
    }
}
