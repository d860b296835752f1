//! Readers of named channels, beside the requests of a worker.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::Routing;
use super::task::log_failure;
use crate::channels::GroupName;
use crate::site::Site;
use crate::urls::Resolver;

/// Pause after a failed read.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts one reader for each channel of each [`Routing`] in the table. They end when draining
/// begins; a message being handled then is finished.
pub fn run_background(site: &Site, urls: &Resolver) {
    for routing in urls.attached::<Routing>() {
        for channel in routing.channels() {
            site.lifecycle().spawn(read(site.clone(), routing.clone(), channel));
        }
    }
}

async fn read(site: Site, routing: Routing, channel: GroupName) {
    loop {
        let received = tokio::select! {
            biased;
            () = site.lifecycle().draining() => return,
            received = site.layer().receive(&channel) => received,
        };
        match received {
            Ok(message) => {
                let call = routing.receive(site.clone(), channel.as_str(), message);
                let done = AssertUnwindSafe(call).catch_unwind().await;
                // Logged; the next message is another matter.
                let _ = log_failure("a background consumer", done);
            }
            Err(error) => {
                tracing::error!(%error, %channel, "cannot read a channel");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
