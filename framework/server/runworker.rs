//! `runworker`: a process beside the server that reads named channels of the site.
//!
//! Flow: the site's layer → [`run_channels`] → a signal → what is being handled is finished → end.
//! A server that is stopped and started again is found again by the layer.

use std::time::Duration;

use tokio::time::timeout;

use super::arbiter::Stop;
use super::beside::running_layer;
use super::child;
use super::signals::Signals;
use crate::apps::Project;
use crate::channels::GroupName;
use crate::conf::Settings;
use crate::error::{Error, Result};
use crate::site::Site;
use crate::sockets::{choose_channels, run_channels};

/// Most messages a process handles at once.
const CONCURRENCY_MAX: usize = 1000;
/// Threads beside those of the settings: name lookups and file reads.
const OTHER_THREADS: usize = 8;
/// How long the database's connections may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// What a [`runworker`] reads, and how.
#[derive(Clone, Debug)]
pub struct Readers {
    /// Names of channels, or patterns of them; none: all there are.
    pub channels: Vec<String>,
    /// Names or patterns of those it leaves out.
    pub exclude: Vec<String>,
    /// Messages handled at once, 1 to 1000.
    pub concurrency: usize,
}

/// Reads named channels of the running site with the handlers of the project until a signal ends
/// it: TERM, INT or HUP once what is being handled is finished (at most `server.graceful_timeout`),
/// QUIT or a second signal at once. `reading` is called with what it reads once it does.
///
/// Call it on the main thread.
///
/// # Errors
/// There is no such channel (`is_usage`), or the site does not run (`is_layer_unavailable`).
pub fn runworker(
    project: &Project,
    settings: Settings,
    readers: &Readers,
    reading: &mut dyn FnMut(&[GroupName]),
) -> Result<()> {
    let count = readers.concurrency;
    if !(1..=CONCURRENCY_MAX).contains(&count) {
        let words = format!("a concurrency of {count}: 1 to {CONCURRENCY_MAX} are possible");
        return Err(Error::usage(words));
    }
    let channels = choose_channels(project.resolver(), &readers.channels, &readers.exclude)?;
    if channels.is_empty() {
        return Err(Error::usage("there is no channel left to read"));
    }
    let threads = settings.server.thread_workers + settings.auth.hashing_threads + OTHER_THREADS;
    child::runtime(threads)?.block_on(async {
        let mut signals = Signals::new()?;
        let layer = running_layer(&settings).await?;
        let site = project.open(settings, layer).await?;
        run_channels(&site, project.resolver(), &channels, count);
        reading(&channels);
        let stop = signals.end().await;
        tracing::info!(?stop, "finishing what is being handled");
        finish(&site, stop, &mut signals).await;
        let _late = timeout(CLOSE_MAX, site.database().close()).await;
        Ok(())
    })
}

async fn finish(site: &Site, stop: Stop, signals: &mut Signals) {
    if stop == Stop::AtOnce {
        return;
    }
    tokio::select! {
        () = drain(site) => {}
        _ = signals.end() => tracing::warn!("a second signal: stopping at once"),
    }
}

async fn drain(site: &Site) {
    let grace = Duration::from_secs(site.settings().server.graceful_timeout);
    if timeout(grace, site.lifecycle().drain()).await.is_err() {
        tracing::error!("a handler did not end within server.graceful_timeout");
    }
}
