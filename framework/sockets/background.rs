//! Readers of named channels: beside the requests of a worker, or in a process of their own
//! (`manage runworker`).
//!
//! Flow: a message of a channel → the handler of its [`Routing`] → its answer, if somebody asked.
//!
//! Invariants:
//! - A reader takes a message only when it is free to handle it: what waits, waits in the store,
//!   for whoever is free first.
//! - When draining begins nothing more is taken; what is being handled is finished.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;

use super::Routing;
use super::task::log_failure;
use crate::channels::{GroupName, Received, fits};
use crate::conf;
use crate::error::{Error, Result};
use crate::site::Site;
use crate::urls::Resolver;

/// Pause after a failed read.
const PAUSE: Duration = Duration::from_secs(1);

/// A channel and who handles its messages.
type Line = (Routing, GroupName);

/// The channels of each [`Routing`] in the table, in alphabetical order.
#[must_use]
pub fn background_channels(urls: &Resolver) -> Vec<GroupName> {
    let mut names: Vec<GroupName> = lines(urls).into_iter().map(|(_, name)| name).collect();
    names.sort();
    names.dedup();
    names
}

/// The channels that fit one of `only` (all, if there is none) and none of `exclude`; in both `*`
/// stands for any characters and `?` for one.
///
/// # Errors
/// A name or pattern fits no channel there is (`is_usage`); the words list those there are.
pub fn choose_channels(
    urls: &Resolver,
    only: &[String],
    exclude: &[String],
) -> Result<Vec<GroupName>> {
    let mut names = background_channels(urls);
    for pattern in only.iter().chain(exclude) {
        if !names.iter().any(|name| fits(pattern, name.as_str())) {
            return Err(unknown(pattern, &names));
        }
    }
    names.retain(|name| is_chosen(name, only, exclude));
    Ok(names)
}

fn is_chosen(name: &GroupName, only: &[String], exclude: &[String]) -> bool {
    let is_of = |patterns: &[String]| patterns.iter().any(|p| fits(p, name.as_str()));
    (only.is_empty() || is_of(only)) && !is_of(exclude)
}

fn unknown(pattern: &str, names: &[GroupName]) -> Error {
    let texts: Vec<&str> = names.iter().map(GroupName::as_str).collect();
    let known = match (conf::nearest(pattern, texts.iter().copied()), &texts[..]) {
        (_, []) => "no `Routing` of this site reads any".to_owned(),
        (Some(near), _) => format!("did you mean {near}? There are {}", texts.join(", ")),
        (None, _) => format!("there are {}", texts.join(", ")),
    };
    Error::usage(format!("unknown channel {pattern:?}: {known}"))
}

/// Starts one reader for each channel of each [`Routing`] in the table that the settings
/// `server.only_channels` and `server.exclude_channels` leave to the server. They end when draining
/// begins; a message being handled then is finished.
pub fn run_background(site: &Site, urls: &Resolver) {
    let settings = &site.settings().server;
    for line in lines(urls) {
        if is_chosen(&line.1, &settings.only_channels, &settings.exclude_channels) {
            site.lifecycle().spawn(read(site.clone(), vec![line]));
        }
    }
}

/// Starts `count` readers of `channels`, each of which handles one message at a time. They end when
/// draining begins; messages being handled then are finished.
pub fn run_channels(site: &Site, urls: &Resolver, channels: &[GroupName], count: usize) {
    let chosen = || lines(urls).into_iter().filter(|(_, name)| channels.contains(name));
    for _ in 0..count {
        site.lifecycle().spawn(read(site.clone(), chosen().collect()));
    }
}

fn lines(urls: &Resolver) -> Vec<Line> {
    let routings = urls.attached::<Routing>();
    routings
        .into_iter()
        .flat_map(|routing| routing.channels().map(|name| (routing.clone(), name)))
        .collect()
}

async fn read(site: Site, lines: Vec<Line>) {
    let mut next = 0;
    loop {
        let received = tokio::select! {
            biased;
            () = site.lifecycle().draining() => return,
            received = receive(&site, &lines, next) => received,
        };
        match received {
            Ok((index, received)) => {
                next = index + 1;
                let (routing, channel) = &lines[index];
                let call = routing.receive(site.clone(), channel.as_str(), received);
                let done = AssertUnwindSafe(call).catch_unwind().await;
                // Logged; the next message is another matter.
                let _ = log_failure("a background consumer", done);
            }
            Err(error) => {
                tracing::error!(%error, "cannot read a channel");
                tokio::select! {
                    () = site.lifecycle().draining() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// The next message of any channel, and which; `first` is asked first. What another channel hands
/// over at the same moment goes back to it.
async fn receive(site: &Site, lines: &[Line], first: usize) -> Result<(usize, Received)> {
    let waiting = (0..lines.len()).map(|offset| {
        let index = (first + offset) % lines.len();
        Box::pin(async move { (index, site.layer().take(&lines[index].1).await) })
    });
    let ((index, received), ..) = select_all(waiting).await;
    received.map(|received| (index, received))
}
