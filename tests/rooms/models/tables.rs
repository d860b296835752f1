//! Sites whose tables migrations have made, with constraints that wait for the commit.

use hulse::channels::Layer;
use hulse::conf::{Secret, Settings};
use hulse::migrations::{Graph, ProjectState, arrange, diff, migrate_all};
use hulse::{Project, Site};
use hulse_tests::{TestDatabase, databases};

/// A site of a project on an empty database.
pub(crate) struct Migrated {
    pub site: Site,
    pub settings: Settings,
    /// Dropped last: it drops the database.
    _database: TestDatabase,
}

/// The project's site on each database, with the tables of its apps.
pub(crate) async fn migrated(project: impl Fn() -> Project) -> Vec<Migrated> {
    let mut all = Vec::new();
    for database in databases().await {
        let mut settings = Settings::default();
        settings.database.url = Secret::new(&database.url);
        let site = open(&project(), &settings).await;
        make_tables(&project(), &site).await;
        all.push(Migrated { site, settings, _database: database });
    }
    all
}

pub(crate) async fn open(project: &Project, settings: &Settings) -> Site {
    project.open(settings.clone(), Layer::memory(&settings.channels)).await.unwrap()
}

async fn make_tables(project: &Project, site: &Site) {
    let models = project.apps().iter().flat_map(|app| app.models());
    let state = ProjectState::of(models);
    let none = Graph::new([]).unwrap();
    let changes = diff(&ProjectState::default(), &state, &[]);
    let graph = Graph::new(arrange(changes, &state, &none, None)).unwrap();
    migrate_all(site.database(), &graph).await.unwrap();
}
