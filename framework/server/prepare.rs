//! What is made sure of once, before any child is started.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::apps::Project;
use crate::channels::{self, Layer, is_store_socket, store_socket};
use crate::conf::Settings;
use crate::db::Database;
use crate::error::{Error, Kind, Result};
use crate::migrations::{self, Graph};
use crate::server::Options;
use crate::server::address::{self, Address, Listener, Who};
use crate::server::arbiter::Duty;
use crate::server::control::LISTENERS_MAX;
use crate::server::log_file;
use crate::server::privileges::{self, Identity};
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

/// The services that are to have processes. Checks that the channels its workers are to read, or
/// not to read, are some of the site's.
pub(super) fn background(
    project: &Project,
    settings: &Settings,
    data_store: DataStore,
) -> Result<Vec<Duty>> {
    let server = &settings.server;
    choose_channels(project.resolver(), &server.only_channels, &server.exclude_channels)?;
    let services = project.services()?;
    // Inside the worker is the store, so they are there too.
    let have_processes = data_store != DataStore::Memory;
    Ok(services.iter().filter(|_| have_processes).flat_map(Duty::of).collect())
}

/// Binds all addresses; a relative socket file starts at `settings.base`. Descriptors that a
/// service manager hands down are taken instead of them.
///
/// What a predecessor bound as the same is taken over. With each is what it was bound as.
pub(super) fn bind(
    settings: &Settings,
    handed: &[i32],
    mut bound: Vec<(String, Listener)>,
) -> Result<(Vec<String>, Vec<Listener>)> {
    let handed: Vec<String> = handed.iter().map(|number| format!("fd:{number}")).collect();
    let binds = if handed.is_empty() { &settings.server.bind } else { &handed };
    let binds = match bound.iter().any(|(name, _)| name.starts_with("fd:")) {
        // Of a service manager, which has not started this process.
        true => bound.iter().map(|(name, _)| name.clone()).collect(),
        false => binds.clone(),
    };
    if binds.len() > LISTENERS_MAX {
        return Err(Error::of(Kind::Usage, format!("more than {LISTENERS_MAX} addresses")));
    }
    let addresses: Vec<Address> = binds.iter().map(|b| b.parse()).collect::<Result<_>>()?;
    let mut bind = |(name, address): (&String, &Address)| match bound
        .iter()
        .position(|(bound, _)| bound == name)
    {
        Some(index) => Ok(bound.swap_remove(index).1),
        None => address.bind(&settings.base),
    };
    let listeners = binds.iter().zip(&addresses).map(&mut bind).collect::<Result<_>>()?;
    Ok((binds, listeners))
}

/// Becomes another user, who owns the socket files, the log file, and the folders of sockets that
/// are still to come.
pub(super) fn become_user(
    settings: &Settings,
    identity: &Identity,
    listeners: &[Listener],
) -> Result<()> {
    let control = settings.resolve(&settings.server.control);
    let folders = [
        Some(settings.resolve(&settings.server.runtime_dir)),
        control.parent().map(Path::to_owned),
    ];
    let mut own = Vec::new();
    for folder in folders.into_iter().flatten() {
        own.extend(privileges::missing_folders(&folder));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    }
    let files = listeners.iter().filter_map(|listener| listener.file().map(Path::to_owned));
    own.extend(files.chain(log_file::path().map(Path::to_owned)));
    identity.own(own)?;
    identity.assume()
}

/// What the metrics' socket is called among those a successor gets.
pub(super) const METRICS: &str = "metrics";

/// Binds where the metrics are asked for, if anywhere; a predecessor's socket is taken over.
pub(super) fn bind_metrics(
    settings: &Settings,
    bound: &mut Vec<(String, Listener)>,
) -> Result<Option<Listener>> {
    let before = bound.iter().position(|(name, _)| name == METRICS);
    let before = before.map(|index| bound.swap_remove(index).1);
    let address = &settings.server.metrics_bind;
    if address.is_empty() {
        return Ok(None);
    }
    match before {
        Some(before) => Ok(Some(before)),
        None => address.parse::<Address>()?.bind(&settings.base).map(Some),
    }
}

/// The socket of the store's child, if there is to be one.
pub(super) fn store(
    data_store: DataStore,
    settings: &Settings,
) -> Result<Option<(PathBuf, Listener)>> {
    match data_store {
        DataStore::Pulse => bind_store(settings).map(Some),
        DataStore::Memory | DataStore::Redis => Ok(None),
    }
}

/// Binds the store's socket in a folder only this user may enter. Its name has the arbiter's
/// process id, so that two may run in one folder; those of dead ones are removed.
fn bind_store(settings: &Settings) -> Result<(PathBuf, Listener)> {
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
    let listener = address::bind_unix(&path, Who::Owner).map_err(|e| failed(&path, e))?;
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
