//! How long children may take, and how much they may do.

use std::time::Duration;

use tokio::time::Instant;

use crate::conf::Settings;
use crate::server::children::Running;

/// How long what may take, and how much. A reload reads them anew.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Times {
    /// Of a child that was ready and says nothing.
    timeout: Duration,
    /// Of one that is to end.
    pub(in crate::server) graceful: Duration,
    /// To the first "ready"; a heartbeat comes only after it.
    pub(in crate::server) start: Duration,
    /// Requests of a worker, about; 0: without end.
    requests_max: u64,
}

impl Times {
    pub(in crate::server) fn new(settings: &Settings) -> Self {
        let server = &settings.server;
        Self {
            timeout: Duration::from_secs(server.timeout),
            graceful: Duration::from_secs(server.graceful_timeout),
            start: Duration::from_secs(server.start_timeout),
            requests_max: server.worker_requests_max,
        }
    }

    /// A worker's own bound on its requests: not all are to be replaced at one time.
    pub(super) fn requests_max(&self) -> u64 {
        match self.requests_max {
            0 => u64::MAX,
            most => most.saturating_add(rand::random_range(0..=most / 10)),
        }
    }

    /// When a child that says nothing more is taken for hung.
    pub(in crate::server) fn silent_at(&self, child: &Running) -> Instant {
        child.heard + if child.is_ready { self.timeout } else { child.start_wait }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Times;
    use crate::conf::Settings;

    #[test]
    fn each_worker_may_answer_as_many_as_is_said_and_up_to_a_tenth_more() {
        let mut settings = Settings::default();
        assert_eq!(Times::new(&settings).requests_max(), u64::MAX);
        settings.server.worker_requests_max = 1000;
        let times = Times::new(&settings);
        let bounds: BTreeSet<u64> = (0..1000).map(|_| times.requests_max()).collect();
        assert!(bounds.iter().all(|bound| (1000..=1100).contains(bound)), "{bounds:?}");
        // By chance alone there are fewer once in more than 10^100 runs.
        assert!(bounds.len() > 20, "{bounds:?}");
    }
}
