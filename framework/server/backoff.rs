//! How long a place stays empty after its process died.

use std::time::Duration;

use tokio::time::Instant;

/// A process that lived this long was healthy; its death is the first again.
const HEALTHY: Duration = Duration::from_secs(5);

/// The second death in a row waits this long, each further one twice as long.
const SHORTEST: Duration = Duration::from_millis(100);

/// Never longer, so that a mended site serves again within seconds.
const LONGEST: Duration = Duration::from_secs(4);

/// Two that have died before are not started closer to each other than this: what many places wait,
/// each by itself, would add up to dozens of starts a second.
const APART: Duration = Duration::from_millis(100);

/// The first moment from `wanted` on that is apart from all that are `taken`.
pub(super) fn apart(wanted: Instant, taken: impl Iterator<Item = Instant>) -> Instant {
    let mut taken: Vec<Instant> = taken.filter(|taken| *taken + APART > wanted).collect();
    taken.sort_unstable();
    taken.into_iter().fold(wanted, |due, taken| match due + APART > taken {
        true => due.max(taken + APART),
        false => due,
    })
}

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
