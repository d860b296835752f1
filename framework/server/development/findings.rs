//! What a reload has brought and should not have, in the log. What a start brings, `runserver` says
//! itself.

use std::time::Duration;

use tokio::time::timeout;

use crate::apps::Project;
use crate::error::Result;
use crate::migrations;
use crate::site::Site;

/// How long a database that does not answer may hold up the worker that looks.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// How the first release of a site ends, whose number stands behind its process'.
const FIRST: &str = "-1";

/// Looks for mistakes in a project that was reloaded, and for migrations that are not applied; one
/// worker does. Nothing that it finds keeps anybody from serving: pages show it, too.
pub(in crate::server) async fn tell_findings(project: &Project, site: &Site, release: &str) {
    let settings = site.settings();
    if !settings.server.reload || release.ends_with(FIRST) {
        return;
    }
    let mut found = project.check(settings);
    found.retain(|check| !check.is_silenced(settings));
    let unapplied = match timeout(LOOK_MAX, unapplied(project, site)).await {
        Ok(Ok(0)) => None,
        Ok(Ok(count)) => Some(format!("{count} migrations are not applied: run `manage migrate`")),
        Ok(Err(error)) => Some(format!("looking for migrations that are not applied: {error}")),
        Err(_) => Some("cannot say whether migrations are applied: no answer".to_owned()),
    };
    let found = found.iter().map(|check| match &check.hint {
        Some(hint) => format!("{}: {}; {hint}", check.id, check.message),
        None => format!("{}: {}", check.id, check.message),
    });
    found.chain(unapplied).for_each(|words| tracing::warn!("{words}"));
}

async fn unapplied(project: &Project, site: &Site) -> Result<usize> {
    let graph = project.migrations()?;
    Ok(migrations::unapplied(site.database(), &graph).await?.len())
}
