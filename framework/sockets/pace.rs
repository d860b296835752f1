//! How often a client may say something.

use std::time::Duration;

use tokio::time::Instant;

use crate::conf;

/// The pace of one connection: a bucket that fills at `server.message_rate` and holds
/// `server.message_burst`, kept as the moment at which it will be full again.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// Whether another message may come at this moment; it counts then.
    pub(super) fn allows(&mut self, settings: &conf::Server) -> bool {
        let Some(each) = Duration::from_secs(1).checked_div(settings.message_rate) else {
            return true;
        };
        let now = Instant::now();
        let full = self.0.unwrap_or(now).max(now) + each;
        let is_allowed = full - now <= each.saturating_mul(settings.message_burst.max(1));
        if is_allowed {
            self.0 = Some(full);
        }
        is_allowed
    }
}
