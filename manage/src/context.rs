//! What every command may need: the project, its settings, a runtime, an open site.

use std::path::PathBuf;

use hulse::conf::{self, Override, Settings};
use hulse::{Project, Result, Site};

use crate::cli::Cli;

/// The project and the part of the command line all commands share.
#[derive(Debug)]
pub(crate) struct Context {
    project: Project,
    settings_file: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(project: Project, cli: &Cli) -> Self {
        Self { project, settings_file: cli.settings.clone() }
    }

    pub(crate) fn project(&self) -> &Project {
        &self.project
    }

    /// Loads and checks the settings; the log goes where they say from now on.
    pub(crate) fn settings(&self) -> Result<Settings> {
        self.settings_with(Vec::new())
    }

    /// The same, with a command's own flags on top.
    pub(crate) fn settings_with(&self, flags: Vec<Override>) -> Result<Settings> {
        let settings = conf::load(conf::Sources {
            file: self.settings_file.clone(),
            folder: self.project.folder().to_owned(),
            sections: self.project.sections(),
            flags,
        })?;
        hulse::server::start_log(&settings.log)?;
        Ok(settings)
    }

    /// Runs `work` to its end on a runtime of its own.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
    }

    /// Opens the site, runs `work` with it and closes it. What it sends to groups and channels
    /// reaches the running server, if there is one.
    pub(crate) fn with_site<T>(&self, work: impl AsyncFnOnce(&Site) -> Result<T>) -> Result<T> {
        let settings = self.settings()?;
        self.block_on(async {
            let layer = hulse::server::layer_beside(&settings).await;
            let site = self.project.open(settings, layer).await?;
            let outcome = work(&site).await;
            site.database().close().await;
            outcome
        })
    }
}
