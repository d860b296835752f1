//! A site of one test.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use rand::RngExt;
use tokio::sync::OnceCell;

use super::client::{Client, HOST_NAME};
use super::listener::Listener;
use super::socket::SocketClient;
use crate::apps::Project;
use crate::channels::Layer;
use crate::conf::{self, MailBackend, Override, Secret, Settings, Sources};
use crate::error::Result;
use crate::migrations::{Graph, arrange, diff, migrate_all};
use crate::server;
use crate::services::run_here;
use crate::site::Site;
use crate::sockets::run_background;

/// A year: no ping comes of itself.
const PING_SECONDS: u64 = 365 * 24 * 3600;

/// A running site with a database of its own, gone when it and its clients are dropped.
///
/// It derefs to its [`Site`], so it goes wherever models want one.
#[derive(Debug)]
pub struct TestSite {
    running: Arc<Running>,
}

/// Shared by the test site and its clients.
pub(super) struct Running {
    pub(super) site: Site,
    pub(super) handler: Router,
    /// Opened when the first socket connects.
    listener: OnceCell<Listener>,
    /// Where the SQLite file lies; removed at the end.
    #[expect(dead_code, reason = "removed when it is dropped")]
    folder: Option<Folder>,
}

impl TestSite {
    /// A site of `project` on a new SQLite database.
    ///
    /// # Panics
    /// The project cannot be opened; the message says why.
    pub async fn new(project: Project) -> Self {
        Self::with(project, |_| {}).await
    }

    /// A site of `project` on the empty database at `database_url`.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub async fn on(project: Project, database_url: &str) -> Self {
        let url = Secret::new(database_url);
        Self::with(project, |settings| settings.database.url = url).await
    }

    /// A site of `project` whose settings `change` has changed. They begin as those of the project,
    /// with `debug`, a random secret, cheap password hashes and a new SQLite database.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub async fn with(project: Project, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = Folder::new();
        let mut settings = match settings(&project, &folder) {
            Ok(settings) => settings,
            Err(error) => super::answer::fail(&format!("the settings of the test site: {error}")),
        };
        let own = settings.database.url.expose().to_owned();
        change(&mut settings);
        let folder = (settings.database.url.expose() == own).then_some(folder);
        match open(&project, settings).await {
            Ok((site, handler)) => {
                let listener = OnceCell::new();
                Self { running: Arc::new(Running { site, handler, listener, folder }) }
            }
            Err(error) => super::answer::fail(&format!("opening the test site: {error}")),
        }
    }

    /// The site.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.running.site
    }

    /// A new visitor.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.running))
    }

    /// A WebSocket of a new visitor.
    ///
    /// # Panics
    /// The site refuses it.
    pub async fn socket(&self, path: &str) -> SocketClient {
        self.client().socket(path).await
    }

    /// Where it listens: for tests that speak HTTP themselves.
    ///
    /// # Panics
    /// The loopback has no free port.
    pub async fn address(&self) -> SocketAddr {
        self.running.address().await
    }
}

impl Running {
    pub(super) async fn address(&self) -> SocketAddr {
        let open = self.listener.get_or_try_init(|| Listener::open(self.handler.clone())).await;
        open.expect("a free port on the loopback").address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who reads channels holds the site, and ends now.
        self.site.lifecycle().stop();
    }
}

impl Deref for TestSite {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("site", &self.site).finish_non_exhaustive()
    }
}

fn settings(project: &Project, folder: &Folder) -> Result<Settings> {
    let secret: u128 = rand::rng().random();
    let mut settings = conf::load(Sources {
        file: None,
        folder: project.folder().to_owned(),
        sections: project.sections(),
        flags: vec![
            Override::new("debug", "the test site", "true"),
            Override::new("secret_key", "the test site", format!("{secret:032x}{secret:032x}")),
        ],
    })?;
    let file = folder.0.join("db.sqlite3");
    settings.database.url = Secret::new(format!("sqlite://{}", file.display()));
    let names = [HOST_NAME, ".localhost", "127.0.0.1", "[::1]"];
    settings.allowed_hosts.extend(names.map(str::to_owned));
    // The least argon2 takes: a test should not wait for what makes attackers wait.
    settings.auth.argon2_memory_kib = 8;
    settings.auth.argon2_passes = 1;
    settings.mail.backend = Some(MailBackend::Memory);
    // A test that lets hours pass on a paused clock says nothing meanwhile.
    settings.server.ping_interval = PING_SECONDS;
    Ok(settings)
}

async fn open(project: &Project, settings: Settings) -> Result<(Site, Router)> {
    let layer = Layer::memory(&settings.channels);
    let migrations = graph(project)?;
    let site = project.open(settings, layer).await?;
    migrate_all(&site, &migrations).await?;
    run_background(&site, project.resolver());
    run_here(&site, &project.services()?);
    let handler = server::handler(project, &site);
    Ok((site, handler))
}

/// The project's migrations; an app without any gets the tables its models describe today.
fn graph(project: &Project) -> Result<Graph> {
    let graph = project.migrations()?;
    let state = project.state();
    let mut changes = diff(&graph.state(|_| true)?, &state, &[]);
    changes.retain(|change| graph.of(&change.app).next().is_none());
    let made = arrange(changes, &state, &graph, None);
    Graph::new(graph.migrations().cloned().chain(made))
}

/// A temporary folder; dropping it removes it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name: u128 = rand::rng().random();
        let path = std::env::temp_dir().join(format!("hulse-test-{name:032x}"));
        fs::create_dir(&path).expect("a folder for temporary files");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is swept with the other temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}
