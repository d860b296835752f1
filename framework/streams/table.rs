//! The streams of a site: names with converters, as in the URL table.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::{Stream, socket, transport};
use crate::contrib::auth;
use crate::error::Result;
use crate::http::{Captured, Request};
use crate::site::Site;
use crate::urls::{Resolver, Route, Urls, path};

type Handler = Arc<dyn Fn(Request, Captured) -> BoxFuture<'static, Result<Stream>> + Send + Sync>;

/// One line of [`Streams`].
pub struct StreamRoute {
    name: String,
    handler: Handler,
}

/// The streams called `name`: text with converters, `"liveblog/<slug:slug>"`. `handler` is asked
/// at every join and every send; what the converters captured is a value, a tuple or a struct (`()`
/// if there are none), as in [`Path`](crate::http::Path). Its error refuses: 403 is `denied`, 404
/// `unknown`.
pub fn stream<P, F, Fut>(name: &str, handler: F) -> StreamRoute
where
    P: DeserializeOwned + Send,
    F: Fn(Request, P) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Stream>> + Send + 'static,
{
    let handler: Handler = Arc::new(move |request, captured: Captured| match captured.parse() {
        Ok(captured) => Box::pin(handler(request, captured)),
        Err(error) => Box::pin(async { Err(error) }),
    });
    StreamRoute { name: name.to_owned(), handler }
}

/// The streams behind one URL, tried first to last.
#[derive(Debug)]
pub struct Streams(Vec<StreamRoute>);

impl Streams {
    /// These streams.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = StreamRoute>) -> Self {
        Self(routes.into_iter().collect())
    }

    /// The line of the URL table that serves them, to WebSockets, as events and to polls.
    ///
    /// # Panics
    /// `url` or a stream's name is malformed.
    #[must_use]
    pub fn at(self, url: &str) -> Route {
        let table = Arc::new(Table::new(self.0));
        let resumable = socket::resumable(&table);
        let view = move |State(site): State<Site>, request: axum::extract::Request| {
            let table = Arc::clone(&table);
            async move { transport::answer(table, site, request).await }
        };
        // A POST says by its Origin where it comes from, as a handshake does.
        path(url, view).csrf_exempt().attach(resumable).attach(auth::AsksItself)
    }
}

/// The finished table.
#[derive(Debug)]
pub(super) struct Table(Resolver);

/// What [`Table::find`] found.
pub(super) struct Found {
    handler: Handler,
    captured: Captured,
}

impl Table {
    fn new(routes: Vec<StreamRoute>) -> Self {
        let lines = routes.into_iter().map(|StreamRoute { name, handler }| {
            // Nobody calls the view: the table is asked for names only.
            path(&name, async || "").attach(handler)
        });
        Self(Urls::new(lines).resolver())
    }

    /// The stream of this name.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        let matched = self.0.resolve_text(name)?;
        let handler = matched.line().attached::<Handler>()?.clone();
        Some(Found { handler, captured: matched.captured().clone() })
    }
}

impl Found {
    /// Asks what it is for the one who sends `request`.
    pub(super) async fn ask(self, request: Request) -> Result<Stream> {
        (self.handler)(request, self.captured).await
    }
}

impl fmt::Debug for StreamRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}
