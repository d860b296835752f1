//! `manage check`: everything that can be told wrong without serving a visitor.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hulse::apps::{Check as Finding, Level};
use hulse::{Error, Result};

use crate::context::Context;

/// Looks for mistakes in the project without serving it.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Looks also at what is careless on a server that others can reach.
    #[arg(long)]
    deploy: bool,
    /// Tells only what is about this; may be given several times.
    #[arg(long = "tag", short = 't', value_name = "TAG")]
    tags: Vec<String>,
    /// Lists the tags.
    #[arg(long)]
    list_tags: bool,
    /// Exits with 1 from this level on.
    #[arg(long, value_enum, ignore_case = true, default_value = "ERROR")]
    fail_level: FailLevel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
enum FailLevel {
    Critical,
    Error,
    Warning,
    Info,
    Debug,
}

impl Check {
    #[expect(clippy::print_stdout, reason = "this crate is the one that prints")]
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let project = context.project();
        let known = project.check_tags();
        if self.list_tags {
            known.iter().for_each(|tag| println!("{tag}"));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(tag) = self.tags.iter().find(|tag| !known.contains(tag.as_str())) {
            return Err(Error::new(format!("There is no system check with the {tag:?} tag.")));
        }
        let settings = context.settings()?;
        let found = match self.deploy {
            true => project.check_deploy(&settings),
            false => project.check(&settings),
        };
        let about = found.into_iter().filter(|finding| self.is_about(finding));
        let (silenced, told): (Vec<_>, Vec<_>) =
            about.partition(|finding| finding.is_silenced(&settings));
        for finding in &told {
            println!("{finding}");
        }
        let count = match told.len() {
            0 => "no issues".to_owned(),
            1 => "1 issue".to_owned(),
            count => format!("{count} issues"),
        };
        println!("System check identified {count} ({} silenced).", silenced.len());
        let failed = told.iter().any(|finding| finding.level >= self.fail_level.level());
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn is_about(&self, finding: &Finding) -> bool {
        self.tags.is_empty() || self.tags.iter().any(|tag| tag == finding.tag())
    }
}

impl FailLevel {
    fn level(self) -> Level {
        match self {
            Self::Critical => Level::Critical,
            Self::Error => Level::Error,
            Self::Warning => Level::Warning,
            Self::Info => Level::Info,
            Self::Debug => Level::Debug,
        }
    }
}
