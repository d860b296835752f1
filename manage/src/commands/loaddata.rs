//! `manage loaddata`: rows from Django's JSON.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hulse::fixtures::{self, Load, Source};
use hulse::{Error, Result};

use crate::context::Context;
use crate::output::tell;
use crate::progress::Progress;

/// Endings of fixtures, for names without one.
const ENDINGS: [&str; 2] = ["json", "jsonl"];

/// Reads fixtures, all or none: rows whose keys are there are updated. Hooks are called and signals
/// sent, `raw`.
#[derive(Debug, Args)]
pub(crate) struct Loaddata {
    /// Files, here or in the project's `fixtures/`; `.json` and `.jsonl` may be left out. `-` is
    /// standard input.
    #[arg(required = true)]
    fixtures: Vec<String>,
    /// Passes over models and fields that the site does not have.
    #[arg(short, long)]
    ignorenonexistent: bool,
}

impl Loaddata {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let settings = context.settings()?;
        let folders = [
            PathBuf::new(),
            settings.base.join("fixtures"),
            context.project().folder().join("fixtures"),
        ];
        let sources = self.fixtures.iter().map(|name| find(name, &folders));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let options = Load { ignore_nonexistent: self.ignorenonexistent };
        context.with_site(async |site| {
            let mut progress = Progress::new(None);
            let loaded =
                fixtures::load(site, &sources, options, &mut |done| progress.show(done)).await;
            progress.end();
            let loaded = loaded?;
            let (objects, files) = (loaded.objects, loaded.fixtures);
            tell(format!("Installed {objects} object(s) from {files} fixture(s)\n"));
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn find(name: &str, folders: &[PathBuf]) -> Result<Source> {
    if name == "-" {
        return Ok(Source::Stdin);
    }
    for folder in folders {
        let path = folder.join(name);
        let with =
            ENDINGS.iter().map(|ending| PathBuf::from(format!("{}.{ending}", path.display())));
        if let Some(found) = std::iter::once(path.clone()).chain(with).find(|path| is_file(path)) {
            return Ok(Source::File(found));
        }
    }
    Err(Error::new(format!("No fixture named '{name}' found.")))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}
