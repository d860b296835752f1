//! Named URLs and how to build them back. `urls` fills the table; templates and redirects read it.

use std::collections::HashMap;
use std::fmt;

use crate::error::{Error, Kind, Result};

/// URL names (`polls:detail`) and the pieces of their paths.
#[derive(Clone, Debug, Default)]
pub struct Reverse {
    routes: HashMap<String, Vec<ReversePart>>,
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
    /// Adds a name. The first one of a name wins.
    pub fn insert(&mut self, name: String, parts: Vec<ReversePart>) {
        self.routes.entry(name).or_insert(parts);
    }

    /// The URL called `name`, arguments in order.
    ///
    /// # Errors
    /// `is_no_reverse_match`
    pub fn url(&self, name: &str, arguments: &[&dyn fmt::Display]) -> Result<String> {
        let _ = (&self.routes, arguments);
        Err(Error::of(Kind::NoReverseMatch, format!("no URL is called {name:?}")))
    }
}

impl Error {
    /// A URL name is unknown or its arguments do not fit.
    #[must_use]
    pub fn is_no_reverse_match(&self) -> bool {
        self.kind() == Kind::NoReverseMatch
    }
}
