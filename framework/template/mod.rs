//! Templates: Tera, with the site's, the apps' and the framework's files.
//!
//! Flow: `apps` lists the [`Sources`] → [`Templates::load`] parses them all once →
//! `http::render` asks [`Templates::mentions`] which values a template wants, then
//! [`Templates::render`].
//!
//! Invariants:
//! - Of two files with one name the first source's wins: disk, project, apps, framework.
//! - `.html`, `.htm`, `.xml` and `.svg` escape `& < > " '` in every value.
//! - In debug a changed file on disk is read again at the next rendering; otherwise nothing is read
//!   after loading.
//! - Knows no request; what belongs to one is in the context.

mod context;
mod files;
mod filters;
mod mentions;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tera::Tera;

use crate::error::{Error, Kind, Result};
use files::Stamp;
use mentions::Mentions;

pub use tera::{Context, Value};

/// Where templates come from, first wins.
pub struct Sources {
    /// Folders on disk; one that does not exist has no templates.
    pub folders: Vec<PathBuf>,
    /// Files in the binary: name (`chat/index.html`) and text.
    pub embedded: Vec<(String, Cow<'static, [u8]>)>,
    /// Whether a change on disk is picked up at the next rendering.
    pub watch: bool,
    /// Adds the functions that templates may call.
    pub functions: Box<dyn Fn(&mut Tera) + Send + Sync>,
}

/// The loaded templates. A cheap clone.
#[derive(Clone)]
pub struct Templates(Arc<Shared>);

struct Shared {
    sources: Sources,
    /// Replaced as a whole when a watched file changed; renderings under way keep the old one.
    loaded: RwLock<Arc<Loaded>>,
}

/// All templates at one moment.
struct Loaded {
    tera: Tera,
    mentions: Mentions,
    /// What the folders looked like when they were read.
    stamp: Stamp,
}

impl Templates {
    /// Reads and parses every template.
    ///
    /// # Errors
    /// A file cannot be read or is wrong; the message names it and the line.
    pub fn load(sources: Sources) -> Result<Self> {
        let loaded = Loaded::read(&sources, files::stamp(&sources.folders))?;
        Ok(Self(Arc::new(Shared { sources, loaded: RwLock::new(Arc::new(loaded)) })))
    }

    /// Renders the template `name` with `context` and returns the text.
    ///
    /// # Errors
    /// The template is missing or wrong (`is_template`).
    pub fn render(&self, name: &str, context: &Context) -> Result<String> {
        let loaded = self.current()?;
        loaded.tera.render(name, context).map_err(|error| wrong(&error, "rendering", name))
    }

    /// Whether there is a template `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.current().is_ok_and(|loaded| loaded.tera.contains_template(name))
    }

    /// Whether the template `name`, or one it extends, includes or takes components from, uses the
    /// variable or function `word`. May say yes too often, never too rarely.
    #[must_use]
    pub fn mentions(&self, name: &str, word: &str) -> bool {
        self.current().is_ok_and(|loaded| loaded.mentions.has(name, word))
    }

    /// The templates as they are now on disk, if they are watched.
    fn current(&self) -> Result<Arc<Loaded>> {
        let shared = &*self.0;
        let loaded = Arc::clone(&shared.loaded.read().unwrap_or_else(PoisonError::into_inner));
        if !shared.sources.watch {
            return Ok(loaded);
        }
        // Debug only: looking at the files blocks this thread for a moment, like reading them.
        let stamp = files::stamp(&shared.sources.folders);
        if stamp == loaded.stamp {
            return Ok(loaded);
        }
        let fresh = Arc::new(Loaded::read(&shared.sources, stamp)?);
        let mut slot = shared.loaded.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::clone(&fresh);
        Ok(fresh)
    }
}

impl Loaded {
    fn read(sources: &Sources, stamp: Stamp) -> Result<Self> {
        let texts = files::texts(sources)?;
        let mut tera = Tera::new();
        tera.autoescape_on([".html", ".htm", ".xml", ".svg"]);
        tera.set_escape_fn(filters::escape);
        filters::register(&mut tera);
        (sources.functions)(&mut tera);
        tera.add_raw_templates(&texts).map_err(|error| wrong(&error, "reading", "templates"))?;
        Ok(Self { tera, mentions: Mentions::of(&texts), stamp })
    }
}

/// `text` with `& < > " '` made harmless in HTML.
#[must_use]
pub fn escaped(text: &str) -> String {
    filters::escaped(text)
}

/// Tera's error in one line: which template, which line, what.
fn wrong(error: &tera::Error, doing: &str, name: &str) -> Error {
    use tera::ErrorKind::{RenderingError, SyntaxError, TemplateNotFound};
    let words = match error.kind() {
        SyntaxError(report) | RenderingError(report) => {
            let (line, column) = (report.span().start_line, report.span().start_col + 1);
            let what = report.message();
            format!("{doing} {:?}, line {line}, column {column}: {what}", report.filename())
        }
        TemplateNotFound(missing) if missing == name => {
            return Error::of(Kind::Template, format!("there is no template {name:?}"));
        }
        _ => format!("{doing} {name:?}: {error}"),
    };
    Error::of(Kind::Template, words)
}

impl Error {
    /// A template is missing or wrong.
    ///
    /// If you see this, the message says which template and line.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.kind() == Kind::Template
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("folders", &self.folders).finish_non_exhaustive()
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("sources", &self.0.sources).finish_non_exhaustive()
    }
}
