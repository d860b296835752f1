//! One URL table for HTTP and WebSocket: converters, include, names, reverse.
//!
//! Flow: [`path`], [`include`] → [`Urls`] → [`Urls::resolver`] → [`Resolver::resolve`] finds the
//! line before any middleware asks for it → `dispatch` calls its view.
//!
//! Invariants:
//! - First to last; the first line that fits wins, whatever the method.
//! - A path is decoded once, before matching; what a view gets is never decoded again.
//! - A malformed table is a panic at start, never an answer to a visitor.

mod converter;
mod dispatch;
mod pattern;
mod resolver;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use axum::handler::Handler;
use axum::response::Response;
use futures_util::future::BoxFuture;

use crate::site::{Reverse, Site};
use converter::Converter;
use pattern::Piece;

pub(crate) use dispatch::dispatch;
pub use resolver::{Line, Matched, Resolver};

/// A list of routes, tried first to last.
#[derive(Default)]
pub struct Urls {
    routes: Vec<Route>,
    app_name: Option<String>,
    converters: Vec<Converter>,
    attached: Vec<Attached>,
}

/// One line of the table.
pub struct Route {
    text: String,
    pieces: Vec<Piece>,
    /// Its name; of an include, its namespace.
    name: Option<String>,
    csrf_exempt: bool,
    attached: Vec<Attached>,
    target: Target,
}

/// Something a line carries for whoever asks; shared with the finished table.
type Attached = Arc<dyn Any + Send + Sync>;

enum Target {
    View(resolver::View),
    Include(Urls),
}

impl Urls {
    /// A table of these lines.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self { routes: routes.into_iter().collect(), ..Self::default() }
    }

    /// The namespace of its names: `polls` makes `detail` into `polls:detail` once it is included.
    #[must_use]
    pub fn app_name(mut self, name: &str) -> Self {
        self.app_name = Some(name.to_owned());
        self
    }

    /// Teaches this table, and those it includes, the converter `<name:..>`: `fits` says which
    /// texts it takes (never one with a slash). The view's type says what they become.
    #[must_use]
    pub fn converter(mut self, name: &'static str, fits: fn(&str) -> bool) -> Self {
        self.converters.push(Converter { name, fits, slashes: false });
        self
    }

    /// Lets the table carry a value that belongs to no line, such as a
    /// [`Routing`](crate::sockets::Routing) that only reads channels; found again with
    /// [`Resolver::attached`].
    #[must_use]
    pub fn attach<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.attached.push(Arc::new(value));
        self
    }

    /// The finished table.
    ///
    /// # Panics
    /// A route uses an unknown converter or a name twice.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        Resolver::of(self).unwrap_or_else(|malformed| refuse(&malformed))
    }

    /// The names, for building URLs back.
    ///
    /// # Panics
    /// As [`resolver`](Self::resolver).
    #[must_use]
    pub fn reverse(&self) -> Reverse {
        self.resolver().reverse().clone()
    }
}

/// A view at `route`: text with converters in angle brackets, without the leading slash:
/// `"polls/<int:id>/"`. The view is any axum handler; a
/// [`MethodRouter`](axum::routing::MethodRouter) answers 405 to other methods.
///
/// # Panics
/// The route is malformed.
pub fn path<H, T>(route: &str, view: H) -> Route
where
    H: Handler<T, Site>,
    T: 'static,
{
    let view: resolver::View =
        Arc::new(move |request, site| boxed(view.clone().call(request, site)));
    Route::new(route, Target::View(view))
}

/// The future behind a pointer. That of a function is already, in axum, and stays as it is.
fn boxed<F: Future<Output = Response> + Send + 'static>(future: F) -> BoxFuture<'static, Response> {
    let mut future = Some(future);
    let already = (&mut future as &mut dyn Any).downcast_mut::<Option<BoxFuture<'static, _>>>();
    match already.and_then(Option::take) {
        Some(boxed) => boxed,
        None => Box::pin(future.expect("it was not taken")),
    }
}

/// All lines of `urls` below the prefix `route`.
///
/// # Panics
/// The route is malformed.
#[must_use]
pub fn include(route: &str, urls: Urls) -> Route {
    Route::new(route, Target::Include(urls))
}

impl Route {
    fn new(route: &str, target: Target) -> Self {
        let pieces = pattern::pieces(route).unwrap_or_else(|malformed| refuse(&malformed));
        let text = route.to_owned();
        Self { text, pieces, name: None, csrf_exempt: false, attached: Vec::new(), target }
    }

    /// Gives it a name to be reversed by. Of an include: the namespace of this one inclusion, in
    /// place of the table's [`app_name`](Urls::app_name) (which keeps finding the first inclusion).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Takes POSTs without a CSRF token: for callers that are no browsers and prove who they are in
    /// another way than by a cookie. Of an include: all lines in it.
    #[must_use]
    pub fn csrf_exempt(mut self) -> Self {
        self.csrf_exempt = true;
        self
    }

    /// Lets the line carry a value, found again with [`Line::attached`] and
    /// [`Resolver::attached`]. Of an include: all lines in it.
    #[must_use]
    pub fn attach<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.attached.push(Arc::new(value));
        self
    }
}

impl Route {
    /// Changes the value of this type that the line itself carries, one made anew if it has none.
    pub(crate) fn attach_changed<T>(mut self, change: impl FnOnce(&mut T)) -> Self
    where
        T: Any + Send + Sync + Clone + Default,
    {
        let place = self.attached.iter().position(|value| value.is::<T>());
        let known = place.and_then(|at| self.attached.remove(at).downcast_ref().cloned());
        let mut value: T = known.unwrap_or_default();
        change(&mut value);
        self.attach(value)
    }
}

/// A malformed table is the programmer's error and stops the program at start.
#[expect(clippy::panic, reason = "a malformed URL table cannot be served")]
fn refuse(malformed: &str) -> ! {
    panic!("{malformed}")
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Urls").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("route", &self.text).finish_non_exhaustive()
    }
}
