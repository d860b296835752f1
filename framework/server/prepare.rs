//! What is made sure of once, before any child is started.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::apps::Project;
use crate::channels::{self, Layer, is_store_socket, store_socket};
use crate::conf::Settings;
use crate::db::Database;
use crate::error::{Error, Kind, Result};
use crate::migrations::{self, Graph};
use crate::server::Options;
use crate::server::address::{self, Address, Listener};
use crate::server::control::LISTENERS_MAX;
use crate::sockets::choose_channels;

/// Which data store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataStore {
    /// A child of the arbiter.
    Pulse,
    /// Inside the one worker.
    Memory,
    /// Elsewhere. There is no child for it: also what only this machine's workers share would be
    /// missed by the others.
    Redis,
}

/// The data store and how many workers there are to be.
pub(super) fn workers(settings: &Settings) -> Result<(DataStore, usize)> {
    let asked = settings.server.workers;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if asked == 0 { cores() } else { asked };
    let url = &settings.server.data_store;
    match url.expose() {
        "pulse://" => Ok((DataStore::Pulse, workers)),
        redis if is_redis(redis) => {
            channels::check_redis(redis)?;
            Ok((DataStore::Redis, workers))
        }
        "memory://" if asked <= 1 => Ok((DataStore::Memory, 1)),
        "memory://" => Err(Error::of(
            Kind::Usage,
            format!(
                "--data-store memory:// lives inside one worker, but {asked} were asked for: \
                 use -w 1, or pulse://"
            ),
        )),
        _ => Err(Error::of(
            Kind::Usage,
            format!("unknown data store {url:?}: there are pulse://, memory:// and redis://"),
        )),
    }
}

pub(super) fn is_redis(url: &str) -> bool {
    url.starts_with("redis://") || url.starts_with("rediss://")
}

/// The layer of a child whose arbiter keeps a store at `path`, if it keeps one.
pub(super) fn layer(settings: &Settings, path: Option<&Path>) -> Result<Layer> {
    match (settings.server.data_store.expose(), path) {
        (redis, _) if is_redis(redis) => Layer::redis(redis, &settings.channels),
        (_, Some(path)) => Ok(Layer::pulse(path, &settings.channels)),
        (_, None) => Ok(Layer::memory(&settings.channels)),
    }
}

/// Checks that the channels its workers are to read, or not to read, are some of the site's.
pub(super) fn channels(project: &Project, settings: &Settings) -> Result<()> {
    let server = &settings.server;
    choose_channels(project.resolver(), &server.only_channels, &server.exclude_channels).map(drop)
}

/// Binds all addresses; a relative socket file starts at `settings.base`.
pub(super) fn bind(settings: &Settings) -> Result<Vec<Listener>> {
    let binds = &settings.server.bind;
    if binds.len() > LISTENERS_MAX {
        return Err(Error::of(Kind::Usage, format!("more than {LISTENERS_MAX} addresses")));
    }
    let addresses: Vec<Address> = binds.iter().map(|b| b.parse()).collect::<Result<_>>()?;
    addresses.iter().map(|address| address.bind(&settings.base)).collect()
}

/// Binds where the metrics are asked for, if anywhere.
pub(super) fn bind_metrics(settings: &Settings) -> Result<Option<Listener>> {
    let address = &settings.server.metrics_bind;
    if address.is_empty() {
        return Ok(None);
    }
    address.parse::<Address>()?.bind(&settings.base).map(Some)
}

/// Binds the store's socket in a folder only this user may enter. Its name has the arbiter's
/// process id, so that two may run in one folder; those of dead ones are removed.
pub(super) fn bind_store(settings: &Settings) -> Result<(PathBuf, Listener)> {
    let folder = settings.resolve(&settings.server.runtime_dir);
    let failed = |path: &PathBuf, error| {
        let words = format!("making the data store's socket {}", path.display());
        Error::because(Kind::Server, words, error)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|e| failed(&folder, e))?;
    for entry in fs::read_dir(&folder).map_err(|e| failed(&folder, e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_store_socket(&name) {
            address::remove_stale(&entry.path());
        }
    }
    let path = folder.join(store_socket(std::process::id()));
    let listener = address::bind_unix(&path).map_err(|e| failed(&path, e))?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(|e| failed(&path, e))?;
    Ok((path, listener))
}

/// Sees that the database can be reached and is as the models want it.
///
/// It is closed again: no connection of the arbiter's outlives this.
pub(super) async fn database(
    project: &Project,
    settings: &Settings,
    options: &Options,
) -> Result<()> {
    let migrations = project.migrations()?;
    if options.migrate {
        // Data migrations and receivers want a site. What they send reaches no browser yet.
        let layer = Layer::memory(&settings.channels);
        let site = project.open(settings.clone(), layer).await?;
        let migrated = migrations::migrate_all(&site, &migrations).await;
        site.database().close().await;
        tracing::info!(migrations = migrated?, "the database is migrated");
        return Ok(());
    }
    let database = Database::connect(&settings.database, &settings.base).await?;
    let checked = check(&database, &migrations, options).await;
    database.close().await;
    checked
}

async fn check(database: &Database, migrations: &Graph, options: &Options) -> Result<()> {
    if options.allow_unmigrated {
        return Ok(());
    }
    let unapplied = migrations::unapplied(database, migrations).await?;
    let Some(first) = unapplied.first() else { return Ok(()) };
    Err(Error::of(
        Kind::Server,
        format!(
            "{} unapplied migration(s), {first} first: run `migrate`, or start with --migrate \
             or --allow-unmigrated",
            unapplied.len()
        ),
    ))
}
