//! Named URLs and how to build them back. `urls` fills the table; templates and redirects read it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Kind, Result};

/// What a path keeps as it is: RFC 3986's unreserved characters and sub-delimiters, `/`, `:`, `@`.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// URL names (`polls:detail`) and the pieces of their paths. A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Reverse {
    /// Several routes may share a name and differ in their arguments.
    routes: Arc<BTreeMap<String, Vec<Vec<ReversePart>>>>,
}

/// A piece of a path.
#[derive(Clone)]
pub enum ReversePart {
    /// Text as it stands.
    Literal(String),
    /// An argument: its name, and whether a text fits its converter.
    Argument {
        /// Name in the route.
        name: String,
        /// Whether a text fits.
        fits: fn(&str) -> bool,
    },
}

impl fmt::Debug for ReversePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => write!(f, "{text}"),
            Self::Argument { name, .. } => write!(f, "<{name}>"),
        }
    }
}

impl Reverse {
    /// Adds a name. Of several with one name, the first that the arguments fit is used.
    pub fn insert(&mut self, name: String, parts: Vec<ReversePart>) {
        Arc::make_mut(&mut self.routes).entry(name).or_default().push(parts);
    }

    /// The URL called `name`, arguments in order.
    ///
    /// # Errors
    /// `is_no_reverse_match`
    pub fn url(&self, name: &str, arguments: &[&dyn fmt::Display]) -> Result<String> {
        let texts: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        self.build(name, &texts, |parts| {
            let mut texts = texts.iter();
            let url = fill(parts, |_| texts.next().map(String::as_str))?;
            texts.next().is_none().then_some(url)
        })
    }

    /// The URL called `name`, arguments by the names in the route.
    ///
    /// # Errors
    /// `is_no_reverse_match`
    pub fn url_with(&self, name: &str, arguments: &[(&str, String)]) -> Result<String> {
        let texts: Vec<String> =
            arguments.iter().map(|(name, text)| format!("{name}={text}")).collect();
        self.build(name, &texts, |parts| {
            let wanted = parts.iter().filter(|part| matches!(part, ReversePart::Argument { .. }));
            let url = fill(parts, |wanted| {
                let found = arguments.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, text)| text.as_str())
            })?;
            (wanted.count() == arguments.len()).then_some(url)
        })
    }

    /// Whether something is called `name`.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.routes.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.routes.keys().map(String::as_str)
    }

    fn build(
        &self,
        name: &str,
        arguments: &[String],
        fill: impl FnMut(&[ReversePart]) -> Option<String>,
    ) -> Result<String> {
        let Some(routes) = self.routes.get(name) else {
            return Err(self.unknown(name));
        };
        routes.iter().map(Vec::as_slice).find_map(fill).map_or_else(
            || {
                let tried: Vec<_> = routes.iter().map(|parts| route(parts)).collect();
                let (arguments, tried) = (arguments.join(", "), tried.join(", "));
                Err(Error::of(
                    Kind::NoReverseMatch,
                    format!("URL {name:?} does not take ({arguments}); its route: {tried}"),
                ))
            },
            |path| Ok(encode(&path)),
        )
    }

    fn unknown(&self, name: &str) -> Error {
        let mut words = format!("no URL is called {name:?}");
        if let Some(near) = crate::conf::nearest(name, self.names()) {
            words.push_str(&format!("; did you mean {near:?}?"));
        } else if let Some(near) = self.names().find(|known| {
            // `detail` for `polls:detail`, the commonest slip.
            known.rsplit(':').next() == Some(name)
        }) {
            words.push_str(&format!("; did you mean {near:?}?"));
        }
        Error::of(Kind::NoReverseMatch, words)
    }
}

/// The path, not yet encoded; `None` if an argument is missing or does not fit.
fn fill<'a>(
    parts: &[ReversePart],
    mut argument: impl FnMut(&str) -> Option<&'a str>,
) -> Option<String> {
    let mut path = String::from("/");
    for part in parts {
        match part {
            ReversePart::Literal(text) => path.push_str(text),
            ReversePart::Argument { name, fits } => {
                path.push_str(argument(name).filter(|text| fits(text))?);
            }
        }
    }
    Some(path)
}

/// Percent-encodes a path. Two slashes in front would make it a URL of another host.
fn encode(path: &str) -> String {
    let encoded = utf8_percent_encode(path, PATH).to_string();
    match encoded.strip_prefix("//") {
        Some(rest) => format!("/%2F{rest}"),
        None => encoded,
    }
}

fn route(parts: &[ReversePart]) -> String {
    parts.iter().map(|part| format!("{part:?}")).collect()
}

impl Error {
    /// A URL name is unknown or its arguments do not fit.
    #[must_use]
    pub fn is_no_reverse_match(&self) -> bool {
        self.kind() == Kind::NoReverseMatch
    }
}

/// The URL called by a name, with the arguments in the route's order:
/// `url!(site, "polls:detail", id)?`.
///
/// The site may be a `&Site` or anything that derefs to one.
#[macro_export]
macro_rules! url {
    ($site:expr, $name:expr $(, $argument:expr)* $(,)?) => {
        $site.reverse($name, &[$(&$argument as &dyn ::std::fmt::Display),*])
    };
}
