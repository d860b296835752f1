//! The finished table: every line with its whole route, tried first to last.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;

use super::pattern::{Part, Pattern};
use super::{Attached, Route, Target, Urls};
use crate::http::{Beside, Captured};
use crate::site::{Reverse, ReversePart, Site};

/// Longest path that is matched at all, bytes after decoding. Longer ones are not found: no site
/// has such a URL, and matching is quadratic in the length of a segment with several captures.
const PATH_BYTES_MAX: usize = 4096;

/// A view with its types erased.
pub(super) type View =
    Arc<dyn Fn(axum::extract::Request, Site) -> BoxFuture<'static, Response> + Send + Sync>;

/// All URLs of a site, ready to be matched. Made by [`Urls::resolver`].
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    lines: Arc<[Line]>,
    reverse: Reverse,
    /// What tables carry beside their lines.
    attached: Arc<[Attached]>,
}

/// One line of the finished table.
pub struct Line {
    pattern: Pattern,
    name: Option<String>,
    csrf_exempt: bool,
    attached: Vec<Attached>,
    view: View,
}

/// The line a path fits; in the request's extensions from the beginning, so that every middleware
/// can ask for it.
#[derive(Clone, Debug)]
pub struct Matched {
    lines: Arc<[Line]>,
    index: usize,
    captured: Captured,
}

impl Resolver {
    pub(super) fn of(urls: &Urls) -> Result<Self, String> {
        let mut lines = Vec::new();
        let mut reverse = Reverse::default();
        let outer = Outer::default();
        flatten(urls, &outer, &mut lines, &mut reverse)?;
        let mut attached = Vec::new();
        gather(urls, &mut attached);
        Ok(Self { lines: lines.into(), reverse, attached: attached.into() })
    }

    /// The first line that `path` (percent-encoded, as it came) fits.
    ///
    /// The path is decoded once, as a whole: `%2F` is a slash. One that is not UTF-8, holds a NUL
    /// (no database takes it) or is overlong fits nothing.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Option<Matched> {
        let decoded = percent_decode_str(path).decode_utf8().ok()?;
        self.resolve_text(decoded.strip_prefix('/')?)
    }

    /// The first line that this text fits as it is.
    pub(crate) fn resolve_text(&self, path: &str) -> Option<Matched> {
        if path.len() > PATH_BYTES_MAX || path.contains('\0') {
            return None;
        }
        self.lines.iter().enumerate().find_map(|(index, line)| {
            let captured = Captured::new(line.pattern.matches(path)?);
            Some(Matched { lines: Arc::clone(&self.lines), index, captured })
        })
    }

    /// All lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The names, for building URLs back.
    #[must_use]
    pub fn reverse(&self) -> &Reverse {
        &self.reverse
    }

    /// Everything of type `T` that lines and tables carry (see [`Route::attach`] and
    /// [`Urls::attach`]), in order, lines first.
    pub fn attached<T: Any + Send + Sync>(&self) -> impl Iterator<Item = &T> {
        let of_tables = self.attached.iter().filter_map(|value| value.downcast_ref());
        self.lines.iter().filter_map(Line::attached).chain(of_tables)
    }
}

impl Line {
    /// The whole route: `polls/<int:id>/`.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.pattern.text
    }

    /// Its name with namespaces: `polls:detail`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether a POST needs no CSRF token.
    #[must_use]
    pub fn is_csrf_exempt(&self) -> bool {
        self.csrf_exempt
    }

    /// What it carries of type `T`.
    #[must_use]
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.all_attached().next()
    }

    /// Everything of type `T` that it and the includes around it carry, its own first, those
    /// furthest out last.
    pub fn all_attached<T: Any + Send + Sync>(&self) -> impl Iterator<Item = &T> {
        self.attached.iter().filter_map(|value| value.downcast_ref())
    }
}

impl Matched {
    /// The line.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.lines[self.index]
    }

    /// What the path holds at the converters.
    #[must_use]
    pub fn captured(&self) -> &Captured {
        &self.captured
    }

    /// States itself and what was captured beside the request.
    pub(crate) fn state(self, beside: &Beside) {
        if !self.captured.is_empty() {
            beside.state(self.captured.clone());
        }
        beside.state(self);
    }

    pub(super) fn view(&self) -> &View {
        &self.line().view
    }
}

/// What the includes around a table add to its lines.
#[derive(Clone, Default)]
struct Outer {
    prefix: Pattern,
    namespaces: Vec<Namespace>,
    converters: Vec<super::converter::Converter>,
    csrf_exempt: bool,
    attached: Vec<Attached>,
}

/// One `include`'s part of a name: its own word and, if it differs, the app's.
#[derive(Clone)]
struct Namespace {
    instance: String,
    app: String,
}

impl Outer {
    fn names(&self, name: &str) -> (String, String) {
        let join = |part: fn(&Namespace) -> &str| {
            let spaces = self.namespaces.iter().map(part);
            spaces.chain([name]).collect::<Vec<_>>().join(":")
        };
        (join(|space| &space.instance), join(|space| &space.app))
    }
}

fn flatten(
    urls: &Urls,
    outer: &Outer,
    lines: &mut Vec<Line>,
    reverse: &mut Reverse,
) -> Result<(), String> {
    let mut converters = outer.converters.clone();
    converters.extend(&urls.converters);
    for route in &urls.routes {
        let Route { text, pieces, .. } = route;
        let pattern = outer.prefix.join(text, pieces, &converters)?;
        let csrf_exempt = outer.csrf_exempt || route.csrf_exempt;
        let mut attached = route.attached.clone();
        attached.extend(outer.attached.iter().cloned());
        match &route.target {
            Target::View(view) => {
                let name = route.name.as_deref().map(|name| outer.names(name));
                if let Some((instance, app)) = &name {
                    reverse.insert(instance.clone(), reverse_parts(&pattern));
                    if app != instance {
                        reverse.insert(app.clone(), reverse_parts(&pattern));
                    }
                }
                let (name, view) = (name.map(|(instance, _)| instance), Arc::clone(view));
                lines.push(Line { pattern, name, csrf_exempt, attached, view });
            }
            Target::Include(inner) => {
                let mut namespaces = outer.namespaces.clone();
                let instance = route.name.as_ref().or(inner.app_name.as_ref());
                if let Some(instance) = instance {
                    let app = inner.app_name.as_ref().unwrap_or(instance).clone();
                    namespaces.push(Namespace { instance: instance.clone(), app });
                }
                let converters = converters.clone();
                let outer =
                    Outer { prefix: pattern, namespaces, converters, csrf_exempt, attached };
                flatten(inner, &outer, lines, reverse)?;
            }
        }
    }
    Ok(())
}

/// What `urls` and the tables it includes carry.
fn gather(urls: &Urls, attached: &mut Vec<Attached>) {
    attached.extend(urls.attached.iter().cloned());
    for route in &urls.routes {
        if let Target::Include(inner) = &route.target {
            gather(inner, attached);
        }
    }
}

fn reverse_parts(pattern: &Pattern) -> Vec<ReversePart> {
    let parts = pattern.parts.iter().map(|part| match part {
        Part::Literal(text) => ReversePart::Literal(text.clone()),
        Part::Capture { name, converter } => {
            ReversePart::Argument { name: name.to_string(), fits: converter.fits }
        }
    });
    parts.collect()
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("route", &self.route()).field("name", &self.name).finish()
    }
}
