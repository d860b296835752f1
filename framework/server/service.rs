//! The process of a service: one runtime, one open site, no visitors.
//!
//! Flow: start from the arbiter → layer, site → the service's own start → "ready" → ticks and
//! messages (`services`) → drain: what is in its hands is finished, it puts away what it holds →
//! end. A panic or an error of its start ends the process; the arbiter starts another one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::apps::Project;
use crate::error::{Error, Kind, Result};
use crate::server::child::{self, Begun, Control, Heard, ORPHAN_SECONDS_MAX};
use crate::server::control::Counts;
use crate::server::prepare;
use crate::server::signals::Signals;
use crate::services::{Declared, Tally};
use crate::site::Site;

/// Threads beside `server.thread_workers` and `auth.hashing_threads`: name lookups and file reads.
const OTHER_THREADS: usize = 8;

/// How long the database's connections may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The life of one instance.
pub(super) fn keep(project: &Project) -> Result<()> {
    let Begun { mut control, start, settings, .. } = child::begin(project)?;
    let threads = settings.server.thread_workers + settings.auth.hashing_threads + OTHER_THREADS;
    child::runtime(threads)?.block_on(async {
        // A terminal's INT and a service manager's TERM go to the whole group. They pass unheard:
        // workers that drain may still ask it, and the arbiter says when they no longer do.
        let _unheard = Signals::new()?;
        let opened = async {
            let name = start.service.as_deref().unwrap_or_default();
            let declared = project.services()?.into_iter().find(|one| one.name() == name);
            let words = || format!("this build has no service {name:?}");
            let declared = declared.ok_or_else(|| Error::of(Kind::Server, words()))?;
            let layer = prepare::layer(&settings, start.store.as_deref())?;
            let site = project.open(settings, layer).await?;
            site.layer().ready().await?;
            Ok::<_, Error>((site, declared))
        };
        let opened = opened.await.inspect_err(|error| control.failed(error));
        let (site, declared) = opened?;
        let lived = live(&mut control, &site, declared).await;
        lived.inspect_err(|error| control.failed(error))
    })
}

async fn live(control: &mut Control, site: &Site, declared: Declared) -> Result<()> {
    let tally = Arc::<Tally>::default();
    let counted = Arc::clone(&tally);
    control.count_with(move || Counts {
        handled: counted.handled(),
        waiting: counted.waiting(),
        ..Counts::default()
    });
    let life = declared.live(site.clone(), Arc::clone(&tally));
    tokio::pin!(life);
    let mut is_ready = false;
    let lived = loop {
        tokio::select! {
            lived = &mut life => break lived,
            () = tally.ready(), if !is_ready => {
                is_ready = true;
                control.ready();
            }
            heard = control.heard() => match heard {
                Heard::Groups(id) => control.groups(id, Vec::new()),
                Heard::Drain(..) => site.lifecycle().stop(),
                Heard::TakeIn(_) => {}
                Heard::Orphaned => {
                    site.lifecycle().stop();
                    let rest = Duration::from_secs(ORPHAN_SECONDS_MAX);
                    break timeout(rest, &mut life).await.unwrap_or(Ok(()));
                }
            },
        }
    };
    let _late = timeout(CLOSE_MAX, site.lifecycle().drain()).await;
    let _late = timeout(CLOSE_MAX, site.database().close()).await;
    lived
}
