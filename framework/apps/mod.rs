//! What a site is put together from: `App`, `Project`, assets, checks, commands.
//!
//! Flow: `main` builds a [`Project`] → `manage` loads settings → [`Project::open`] makes the
//! `Site`.

mod assets;
mod check;
mod deploy;
mod migrations;
mod open;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use tower_layer::Layer as TowerLayer;
use tower_service::Service;

use crate::conf::{Section, Sections, Settings};
use crate::error::Result;
use crate::http::{Marker, Processor};
use crate::migrations::DataMigrations;
use crate::models::Meta;
use crate::services::{Declared, all_of};
use crate::signals::Signals;
use crate::site::Site;
use crate::urls::{Resolver, Urls};

pub use assets::{__rust_embed, Assets};
pub use check::{Check, Level};

/// An installable part of a site: models, templates, static files, migrations.
pub trait App: Send + Sync + 'static {
    /// Short, unique, lower case: the first part of its tables' names.
    fn label(&self) -> &'static str;

    /// Its models, in an order in which their tables may be read by a person.
    fn models(&self) -> Vec<&'static Meta> {
        Vec::new()
    }

    /// What it adds to every template that uses it: `user`, `messages`.
    fn context(&self) -> Vec<Processor> {
        Vec::new()
    }

    /// On whose word a connection is that outlives its request, so that it ends with it.
    fn markers(&self) -> Vec<Marker> {
        Vec::new()
    }

    /// Its `templates/`, `static/` and `migrations/`; an app inside the project's own crate has
    /// none of its own, the project's cover it.
    fn assets(&self) -> Assets {
        Assets::none()
    }

    /// The functions that its migrations name: `run = "blog.fill_slugs"`.
    fn data_migrations(&self) -> DataMigrations {
        DataMigrations::default()
    }

    /// What it finds wrong with itself and its settings.
    fn checks(&self, settings: &Settings) -> Vec<Check> {
        let _ = settings;
        Vec::new()
    }

    /// What it finds careless on a server that others can reach, for `manage check --deploy`.
    fn deploy_checks(&self, settings: &Settings) -> Vec<Check> {
        let _ = settings;
        Vec::new()
    }

    /// What it finds wrong with the project it is installed in: other apps' models, the URLs.
    fn project_checks(&self, project: &Project, settings: &Settings) -> Vec<Check> {
        let _ = (project, settings);
        Vec::new()
    }

    /// Connects its receivers, called before those of [`Project::on`].
    fn signals(&self, signals: &mut Signals<Site>) {
        let _ = signals;
    }

    /// Called once for every site that is opened, when it has all its parts: for what the app keeps
    /// with it ([`Site::keep`](crate::Site::keep)).
    fn ready(&self, site: &Site) {
        let _ = site;
    }

    /// What of it runs all the time, beside visitors.
    fn services(&self) -> Vec<Declared> {
        Vec::new()
    }

    /// Its own sections of `settings.toml`.
    fn sections(&self) -> Sections {
        Sections::default()
    }
}

/// A site before it runs: its apps and URLs.
pub struct Project {
    name: &'static str,
    folder: PathBuf,
    apps: Vec<Arc<dyn App>>,
    resolver: Resolver,
    layers: Vec<AddLayer>,
    signals: Signals<Site>,
    assets: Assets,
    sections: Sections,
    services: Vec<Declared>,
}

/// Puts one of the site's own layers around what is inside it.
type AddLayer = Arc<dyn Fn(Router) -> Router + Send + Sync>;

impl Project {
    /// A project without apps. `folder` is where its sources lie (`env!("CARGO_MANIFEST_DIR")`):
    /// settings are looked for there last, and migrations are read from and written to it while it
    /// exists.
    #[must_use]
    pub fn new(name: &'static str, folder: impl Into<PathBuf>) -> Self {
        Self {
            name,
            folder: folder.into(),
            apps: Vec::new(),
            resolver: Resolver::default(),
            layers: Vec::new(),
            signals: Signals::default(),
            assets: Assets::none(),
            sections: Sections::default(),
            services: Vec::new(),
        }
    }

    /// Adds an app; order matters for templates (first wins) and commands.
    #[must_use]
    pub fn install(mut self, app: impl App) -> Self {
        self.apps.push(Arc::new(app));
        self
    }

    /// Sets the URL table.
    ///
    /// # Panics
    /// A route is malformed.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the table is given away, as in `include`")]
    pub fn urls(mut self, urls: Urls) -> Self {
        self.resolver = urls.resolver();
        self
    }

    /// Adds a tower layer between the framework's middleware and the views. The first one added
    /// sees a request first.
    ///
    /// Who may see a URL is asked behind it. So a layer that answers in the views' place, with a
    /// page it has kept, has to obey `Vary: Cookie`, which all pages made for one visitor carry.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: TowerLayer<axum::routing::Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.layers.push(Arc::new(move |router| router.layer(layer.clone())));
        self
    }

    /// Calls `receiver` whenever something sends an event of type `E` with
    /// [`Site::send_signal`](crate::Site::send_signal), after the receivers added before.
    #[must_use]
    pub fn on<E, F, Fut>(mut self, receiver: F) -> Self
    where
        E: Send + Sync + 'static,
        F: Fn(Site, Arc<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.signals.connect(receiver);
        self
    }

    /// Embeds the project's own `templates/`, `static/` and `migrations/` (see
    /// [`assets!`](crate::assets)).
    #[must_use]
    pub fn assets(mut self, assets: Assets) -> Self {
        self.assets = assets;
        self
    }

    /// Adds a section of the project's own to `settings.toml`; apps bring theirs in
    /// `App::sections`.
    #[must_use]
    pub fn section<S: Section>(mut self) -> Self {
        self.sections = self.sections.with::<S>();
        self
    }

    /// Adds a service: a part of the site that runs all the time, in a process of its own. Apps
    /// bring theirs in `App::services`.
    #[must_use]
    pub fn service(mut self, service: Declared) -> Self {
        self.services.push(service);
        self
    }

    /// All services, the apps' and the project's.
    ///
    /// # Errors
    /// Two have one name, or one is no name (`is_bad_group_name`).
    pub fn services(&self) -> Result<Vec<Declared>> {
        let of_apps = self.apps.iter().flat_map(|app| app.services());
        all_of(of_apps.chain(self.services.iter().copied()).collect())
    }

    /// All sections, the apps' and the project's.
    #[must_use]
    pub fn sections(&self) -> Sections {
        let own = self.sections.clone();
        self.apps.iter().fold(own, |all, app| all.and(app.sections()))
    }

    /// What it embeds itself; each app has its own.
    #[must_use]
    pub fn embedded(&self) -> Assets {
        self.assets
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its sources lie, or lay when it was built.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The installed apps, in order.
    #[must_use]
    pub fn apps(&self) -> &[Arc<dyn App>] {
        &self.apps
    }

    /// The finished URL table.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(crate) fn layers(&self) -> &[AddLayer] {
        &self.layers
    }
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project").field("name", &self.name).finish_non_exhaustive()
    }
}
