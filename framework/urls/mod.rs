//! One URL table for HTTP and WebSocket: converters, include, names, reverse.

use std::fmt;

use axum::handler::Handler;

use crate::site::{Reverse, Site};

/// A list of routes, tried first to last.
#[derive(Default)]
pub struct Urls {}

/// One line of the table.
pub struct Route {}

impl Urls {
    /// A table of these lines.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let _ = routes.into_iter();
        todo!()
    }

    /// The names, for building URLs back.
    #[must_use]
    pub fn reverse(&self) -> Reverse {
        todo!()
    }
}

/// A view at `route`: text with converters in angle brackets, without the leading slash:
/// `"polls/<int:id>/"`.
///
/// # Panics
/// The route is malformed.
pub fn path<H, T>(route: &str, view: H) -> Route
where
    H: Handler<T, Site>,
    T: 'static,
{
    let _ = view;
    todo!("{route}")
}

/// All lines of `urls` below the prefix `route`.
///
/// # Panics
/// The route is malformed.
#[must_use]
pub fn include(route: &str, urls: Urls) -> Route {
    let _ = urls;
    todo!("{route}")
}

impl Route {
    /// Gives it a name to be reversed by.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        todo!("{name}")
    }
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Urls").finish_non_exhaustive()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}
