//! Why a connection that was let in is asked again.

use crate::channels::Suspicion;
use crate::error::{Error, Result};

/// Why a connection is asked whether it may stay; see
/// [`Consumer::reauthorize`](super::Consumer::reauthorize).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// What its visitor may do has changed.
    Changed,
    /// The data store was away or restarted, and a change may have been missed. It is the same
    /// visitor still: that has been looked at.
    Perhaps,
}

impl Doubt {
    pub(super) fn of(suspicion: Suspicion) -> Self {
        if suspicion.is_certain() { Self::Changed } else { Self::Perhaps }
    }

    /// What is done about it unless somebody looks.
    ///
    /// # Errors
    /// Something has changed.
    pub(super) fn refuse_certain(self) -> Result<()> {
        match self {
            Self::Changed => Err(Error::new("what its visitor may do has changed")),
            Self::Perhaps => Ok(()),
        }
    }
}
