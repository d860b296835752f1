//! How long a place stays empty after its process died.

use std::time::Duration;

/// A process that lived this long was healthy; its death is the first again.
const HEALTHY: Duration = Duration::from_secs(5);

/// The second death in a row waits this long, each further one twice as long.
const SHORTEST: Duration = Duration::from_millis(100);

/// Never longer, so that a mended site serves again within seconds.
const LONGEST: Duration = Duration::from_secs(4);

/// Deaths in a row of one place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// How long to wait now that a process died after `lived`: the first is replaced at once.
    pub(super) fn wait(&mut self, lived: Duration) -> Duration {
        self.deaths = if lived >= HEALTHY { 1 } else { self.deaths.saturating_add(1) };
        match self.deaths {
            1 => Duration::ZERO,
            again => SHORTEST.saturating_mul(1 << (again - 2).min(16)).min(LONGEST),
        }
    }
}
