//! Where the migrations of an installed app lie: in the project's folder while it is there, else in
//! the project's binary, else with the app, else with the framework.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::migrations::{Graph, ProjectState, Source};

use super::{App, Assets, Project};

impl Project {
    /// The migrations of all installed apps, read and put in order. Reads files: not for a request.
    ///
    /// # Errors
    /// A file cannot be read or is wrong, a dependency is missing, or they go round in a circle.
    pub fn migrations(&self) -> Result<Graph> {
        self.migrations_with(None)
    }

    /// The same, but what lies in `folder/<app>/` goes before everything else.
    ///
    /// # Errors
    /// As [`migrations`](Self::migrations).
    pub fn migrations_with(&self, folder: Option<&Path>) -> Result<Graph> {
        let mut sources = Vec::new();
        for app in self.apps() {
            let first = folder.map(|folder| Source::in_folder(app.label(), folder)).transpose()?;
            let source = match first.flatten() {
                Some(source) => Some(source),
                None => match self.own_migrations(app.label())? {
                    Some(source) => Some(source),
                    None => foreign_migrations(app.as_ref())?,
                },
            };
            sources.extend(source);
        }
        Graph::load(&sources)
    }

    /// What the models of all installed apps look like today.
    #[must_use]
    pub fn state(&self) -> ProjectState {
        ProjectState::of(self.apps().iter().flat_map(|app| app.models()))
    }

    /// Where `makemigrations` writes: `<project's folder>/migrations`.
    #[must_use]
    pub fn migrations_folder(&self) -> PathBuf {
        self.folder().join("migrations")
    }

    /// Whether the migrations of `app` come with the app or the framework, so that this project
    /// does not write them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn has_foreign_migrations(&self, app: &dyn App) -> Result<bool> {
        if self.own_migrations(app.label())?.is_some() {
            return Ok(false);
        }
        Ok(foreign_migrations(app)?.is_some())
    }

    fn own_migrations(&self, label: &str) -> Result<Option<Source>> {
        match Source::in_folder(label, &self.migrations_folder())? {
            Some(source) => Ok(Some(source)),
            None => embedded(label, &self.assets),
        }
    }
}

fn foreign_migrations(app: &dyn App) -> Result<Option<Source>> {
    match embedded(app.label(), &app.assets())? {
        Some(source) => Ok(Some(source)),
        None => Source::shipped(app.label()),
    }
}

fn embedded(label: &str, assets: &Assets) -> Result<Option<Source>> {
    let paths = assets.below(&format!("migrations/{label}/"));
    let files = paths.into_iter().filter_map(|path: Cow<'static, str>| {
        let bytes = assets.read(&path)?;
        Some((path.into_owned(), bytes))
    });
    Source::embedded(label, files)
}
