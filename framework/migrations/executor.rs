//! Runs a plan of migrations, one after the other.
//!
//! Flow: [`migrate`] → the lock → `recorder::applied` → `Graph::plan` → `work` → `run`.
//!
//! Invariants:
//! - One runner at a time on a database, across processes; who waited sees what the other has done.
//! - What can be known to fail (a function that is not there, what cannot be undone) fails before
//!   anything runs.

use std::sync::Arc;

use crate::db::Database;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::site::Site;

use super::functions::DataMigrations;
use super::graph::{Applied, Graph};
use super::plan::{Step as PlanStep, Target};
use super::run::Run;
use super::signals::{self, Planned, PostMigrate, PreMigrate};
use super::{Migration, MigrationKey, recorder, unfinished, work};

/// Name of the lock that keeps two runners apart.
const LOCK: &str = "migrations";

/// What a run tells while it works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// The whole plan, before its first step.
    Plan(&'a [PlanStep<'a>]),
    /// This step begins.
    Begin(PlanStep<'a>),
    /// This step is done, its record included.
    Done {
        /// The step.
        step: PlanStep<'a>,
        /// Whether only its record was made: no table was changed.
        faked: bool,
    },
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only records, changes no table.
    pub fake: bool,
    /// Only records an app's first migration whose tables and columns are all there already.
    pub fake_initial: bool,
}

/// What migrations run on: a database, or a site, which has functions and receivers too.
#[derive(Clone, Copy, Debug)]
pub enum On<'a> {
    /// Only the database: a migration with a function is an error, and nobody is told anything.
    Database(&'a Database),
    /// The site: its data migrations run, its receivers hear [`PreMigrate`] and [`PostMigrate`].
    Site(&'a Site),
}

impl<'a> From<&'a Database> for On<'a> {
    fn from(database: &'a Database) -> Self {
        Self::Database(database)
    }
}

impl<'a> From<&'a Site> for On<'a> {
    fn from(site: &'a Site) -> Self {
        Self::Site(site)
    }
}

impl<'a> On<'a> {
    pub(super) fn database(self) -> &'a Database {
        match self {
            Self::Database(database) => database,
            Self::Site(site) => site.database(),
        }
    }

    pub(super) fn site(self) -> Option<&'a Site> {
        match self {
            Self::Database(_) => None,
            Self::Site(site) => Some(site),
        }
    }

    fn functions(self) -> Arc<DataMigrations> {
        self.site().map_or_else(Arc::default, |site| site.keep(|_| DataMigrations::default()))
    }

    async fn tell<E: Send + Sync + 'static>(self, event: E) -> Result<()> {
        match self.site() {
            Some(site) => site.send_signal(event).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Brings the database to `target`; returns how many migrations were run or undone.
///
/// # Errors
/// Migrations are in conflict or their history has gaps; an operation does not fit or cannot be
/// undone; a function is not there; the database refuses a statement. What was done before the
/// failing migration stays done, that migration leaves nothing (on MariaDB, or with
/// `atomic = false`, what it had done, and the next run goes on from there).
pub async fn migrate<'a>(
    on: impl Into<On<'a>>,
    graph: &Graph,
    target: &Target,
    options: Options,
    progress: &mut (dyn for<'p> FnMut(Progress<'p>) + Send),
) -> Result<usize> {
    let on = on.into();
    let connection = on.database().connection();
    let lock = on.database().exclusive(LOCK).await?;
    recorder::prepare(&connection).await?;
    let (graph, mut applied) = graph.seen(&recorder::applied(&connection).await?)?;
    let plan = graph.plan(target, &applied)?;
    let given_up = unfinished::given_up(&connection, &plan).await?;
    progress(Progress::Plan(&plan));
    let all = work::planned(&graph, &plan, &applied)?;
    let run = Run { on, functions: &on.functions(), options };
    if !options.fake {
        run.check(&plan, &all)?;
    }
    if plan.iter().any(|step| unfinished::is_noted(&connection, step.migration)) {
        unfinished::prepare(&connection).await?;
    }
    if let Some(begun) = given_up {
        run.take_back(&graph, &applied, &begun).await?;
    }
    let told: Vec<Planned> = plan.iter().map(Planned::from).collect();
    let state = graph.state(|key| applied.contains(key))?;
    on.tell(PreMigrate { plan: told.clone(), state }).await?;
    for (&step, work) in plan.iter().zip(&all) {
        progress(Progress::Begin(step));
        let faked = run.migration(step, work).await?;
        note(&mut applied, step);
        progress(Progress::Done { step, faked });
    }
    recorder::replacements(&connection, &graph).await?;
    let state = graph.state(|key| applied.contains(key))?;
    let renamed = signals::renamed(&graph, &applied, &state, &plan);
    on.tell(PostMigrate { plan: told, state, renamed }).await?;
    drop(lock);
    Ok(plan.len())
}

fn note(applied: &mut Applied, step: PlanStep<'_>) {
    if step.backwards {
        applied.remove(&step.migration.key);
    } else {
        applied.insert(step.migration.key.clone());
    }
}

/// What is recorded as applied on the database; see [`Graph::seen`].
///
/// # Errors
/// The database cannot be read.
pub async fn applied(database: &Database) -> Result<Applied> {
    recorder::applied(&database.connection()).await
}

/// Forgets the migrations of `app` that have no file any more, and returns them.
///
/// # Errors
/// A squashed migration still stands for one of them, or the database refuses it.
pub async fn prune(database: &Database, graph: &Graph, app: &str) -> Result<Vec<MigrationKey>> {
    let lock = database.exclusive(LOCK).await?;
    let connection = database.connection();
    let recorded = recorder::applied(&connection).await?;
    let gone = recorded.into_iter().filter(|key| key.app == app && !graph.has_file(key));
    let gone: Vec<MigrationKey> = gone.collect();
    let stands =
        |migration: &&Migration| migration.replaces.iter().any(|replaced| gone.contains(replaced));
    let standing: Vec<String> =
        graph.replacing().filter(stands).map(|migration| migration.key.to_string()).collect();
    if !standing.is_empty() {
        return Err(Error::of(
            ErrorKind::Migration,
            format!(
                "Cannot use --prune because the following squashed migrations have their \
                 'replaces' attributes and may not be recorded as applied: {}. Run 'manage \
                 migrate' and remove `replaces` from these files first.",
                standing.join(", ")
            ),
        ));
    }
    let transaction = connection.begin().await?;
    for key in &gone {
        recorder::forget(&transaction.connection(), key).await?;
    }
    transaction.commit().await?;
    drop(lock);
    Ok(gone)
}
