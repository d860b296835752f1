//! All that a worker tells for the metrics: what its connections count, what the groups did, what
//! the process takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::db::Sql;
use crate::server::accept::Acceptor;
use crate::server::balance::Share;
use crate::server::figures::{Figures, Snapshot};
use crate::server::monitor::DATABASE_AWAY;
use crate::site::Site;
use crate::sockets::{CLOSE_CODES, Cap};

/// How often the database is asked whether it is there, and how long it may take to say so.
const DATABASE_INTERVAL: Duration = Duration::from_secs(2);
const DATABASE_WAIT: Duration = Duration::from_secs(2);

/// Where it comes from. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Told {
    site: Site,
    share: Share,
    figures: Arc<Figures>,
    sockets: Arc<Cap>,
    is_database_away: Arc<AtomicBool>,
}

impl Told {
    pub(super) fn new(site: &Site, acceptor: &Acceptor) -> Self {
        Self {
            site: site.clone(),
            share: acceptor.share().clone(),
            figures: acceptor.figures(),
            sockets: Cap::of(site),
            is_database_away: Arc::default(),
        }
    }

    /// Asks the database again and again, for ever.
    pub(super) async fn watch_database(self) {
        let mut beat = interval(DATABASE_INTERVAL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let asked = timeout(DATABASE_WAIT, self.site.db().fetch(Sql::raw("SELECT 1"))).await;
            let is_there = matches!(asked, Ok(Ok(_)));
            self.is_database_away.store(!is_there, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut told = self.figures.snapshot();
        told.gauge("hulse_connections", self.share.held().into());
        told.gauge(DATABASE_AWAY, self.is_database_away.load(Ordering::Relaxed).into());
        let pool = self.site.database().pool_counts();
        told.gauge("hulse_database_connections{state=\"used\"}", pool.used);
        told.gauge("hulse_database_connections{state=\"idle\"}", pool.idle);
        told.add("hulse_database_waits_total", pool.waits);
        let sockets = self.sockets.counts();
        told.gauge("hulse_sockets", sockets.held);
        told.add("hulse_sockets_total", sockets.opened);
        told.add("hulse_sockets_refused_total", sockets.refused);
        told.add("hulse_socket_joins_refused_total", sockets.groups_refused);
        told.add("hulse_socket_messages_total", sockets.heard);
        told.add("hulse_sockets_moved_total", sockets.moved);
        told.add("hulse_sockets_sent_on_total", sockets.sent_on);
        for (code, count) in CLOSE_CODES.iter().zip(sockets.closed) {
            let code = if *code == 0 { "other".to_owned() } else { code.to_string() };
            told.add(&format!("hulse_sockets_closed_total{{code=\"{code}\"}}"), count);
        }
        let layer = self.site.layer().statistics();
        told.gauge("hulse_groups", layer.groups as u64);
        told.gauge("hulse_group_history_bytes", layer.history_bytes as u64);
        told.add("hulse_group_messages_total", layer.delivered);
        told.add("hulse_group_members_overrun_total", layer.overruns);
        told.add("hulse_group_messages_dropped_total", layer.dropped);
        told.add("hulse_store_links_total", layer.links);
        told.gauge("hulse_resident_bytes", resident().unwrap_or(0));
        told.gauge("hulse_open_descriptors", descriptors());
        told
    }
}

/// What the process has in memory, bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Files and sockets it holds.
fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64)
}
