//! `manage dumpdata`: rows as Django's JSON.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hulse::fixtures::{self, Dump};
use hulse::models::Meta;
use hulse::{Error, Project, Result};

use crate::context::Context;
use crate::progress::Progress;

/// Writes rows as a fixture: Django's JSON, or an object a line into a file that ends in `.jsonl`.
#[derive(Debug, Args)]
pub(crate) struct Dumpdata {
    /// Labels of apps or models (`blog`, `blog.Post`); without any, all.
    labels: Vec<String>,
    /// An app or model to leave out; may be given several times.
    #[arg(short, long, value_name = "LABEL")]
    exclude: Vec<String>,
    /// Indents the output by this many blanks.
    #[arg(long)]
    indent: Option<usize>,
    /// The file to write; without one, standard output.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Names rows that others point to by their natural keys, where they have some.
    #[arg(long)]
    natural_foreign: bool,
    /// Leaves out the keys of rows that have natural ones.
    #[arg(long)]
    natural_primary: bool,
    /// Only the rows of one model with these keys, divided by commas.
    #[arg(long, value_delimiter = ',')]
    pks: Vec<String>,
}

impl Dumpdata {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let models = self.models(context.project())?;
        if !self.pks.is_empty() && models.len() != 1 {
            return Err(Error::new("You can only use --pks option with one model"));
        }
        let lines =
            self.output.as_ref().is_some_and(|path| path.extension() == Some("jsonl".as_ref()));
        let what = Dump {
            models,
            keys: self.pks,
            natural_foreign: self.natural_foreign,
            natural_primary: self.natural_primary,
            indent: self.indent,
            lines,
        };
        context.with_site(async |site| {
            let Some(path) = self.output else {
                let mut out = BufWriter::new(stdout());
                fixtures::dump(site, &what, &mut out, &mut |_| {}).await?;
                return Ok(ExitCode::SUCCESS);
            };
            let file = File::create(&path)
                .map_err(|failed| Error::usage(format!("creating {}: {failed}", path.display())))?;
            let mut out = BufWriter::with_capacity(1 << 16, file);
            let mut progress = Progress::new(Some(fixtures::count(site, &what).await?));
            fixtures::dump(site, &what, &mut out, &mut |done| progress.show(done)).await?;
            out.flush()?;
            progress.end();
            Ok(ExitCode::SUCCESS)
        })
    }

    /// The models asked for, in the order of their apps.
    fn models(&self, project: &Project) -> Result<Vec<&'static Meta>> {
        let (wanted, unwanted) = (chosen(project, &self.labels)?, chosen(project, &self.exclude)?);
        let all = installed(project);
        let has = |list: &[&'static Meta], meta: &'static Meta| {
            list.iter().any(|other| std::ptr::eq(*other, meta))
        };
        let models = all
            .into_iter()
            .filter(|meta| (self.labels.is_empty() || has(&wanted, meta)) && !has(&unwanted, meta));
        Ok(models.collect())
    }
}

fn installed(project: &Project) -> Vec<&'static Meta> {
    project.apps().iter().flat_map(|app| app.models()).collect()
}

/// The models that labels name.
fn chosen(project: &Project, labels: &[String]) -> Result<Vec<&'static Meta>> {
    let all = installed(project);
    let mut chosen = Vec::new();
    for label in labels {
        let (app, model) = label.split_once('.').unwrap_or((label, ""));
        if !project.apps().iter().any(|installed| installed.label() == app) {
            return Err(Error::new(format!("No installed app with label '{app}'.")));
        }
        let mut of_app = all.iter().copied().filter(|meta| meta.app == app);
        if model.is_empty() {
            chosen.extend(of_app);
            continue;
        }
        let found = of_app.find(|meta| meta.model.eq_ignore_ascii_case(model));
        let found = found.ok_or_else(|| Error::new(format!("Unknown model: {label}")))?;
        chosen.push(found);
    }
    Ok(chosen)
}
