//! What a reload has brought and should not have, in the log. What a start brings, `runserver` says
//! itself.

use crate::apps::Project;
use crate::error::Result;
use crate::migrations;
use crate::site::Site;

/// How the first release of a site ends, whose number stands behind its process'.
const FIRST: &str = "-1";

/// Looks for mistakes in a project that was reloaded, and for migrations that are not applied.
/// Nothing that it finds keeps anybody from serving: pages show it, too.
pub(in crate::server) async fn tell_findings(project: &Project, site: &Site, release: &str) {
    let settings = site.settings();
    if !settings.server.reload || release.ends_with(FIRST) {
        return;
    }
    let mut found = project.check(settings);
    found.retain(|check| !check.is_silenced(settings));
    let unapplied = match unapplied(project, site).await {
        Ok(0) => None,
        Ok(count) => Some(format!("{count} migrations are not applied: run `manage migrate`")),
        Err(error) => Some(format!("looking for migrations that are not applied: {error}")),
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
