//! Which request is at work, for the lines of the log that it causes.
//!
//! A span at the level of those lines would do the same for a tenth of what a small page costs: it
//! is written out whether a line comes or not. So there is one for who looks at debug lines, and
//! this.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Uri};
use serde_json::{Value, json};
use tokio::task_local;
use tracing::{Instrument, Span};

task_local! {
    static NAMED: Arc<Named>;
}

/// A request, as lines of the log name it.
#[derive(Debug)]
pub(crate) struct Named {
    id: Arc<str>,
    method: Method,
    uri: Uri,
}

/// What goes along with work that is done elsewhere: the request it is for.
#[derive(Debug)]
pub(crate) struct Carried {
    named: Option<Arc<Named>>,
    span: Span,
}

impl Named {
    pub(crate) fn new(id: Arc<str>, parts: &Parts) -> Arc<Self> {
        Arc::new(Self { id, method: parts.method.clone(), uri: parts.uri.clone() })
    }

    /// The request this task, or this call, works for.
    pub(crate) fn current() -> Option<Arc<Self>> {
        NAMED.try_with(Arc::clone).ok()
    }

    /// Does `work` for the request.
    pub(crate) fn during<W: Future>(
        self: &Arc<Self>,
        work: W,
    ) -> impl Future<Output = W::Output> + use<W> {
        let span = tracing::debug_span!("request", id = %self.id, method = %self.method,
            path = self.uri.path());
        NAMED.scope(Arc::clone(self), work.instrument(span))
    }

    /// Makes `call` for the request.
    pub(crate) fn in_scope<T>(self: &Arc<Self>, call: impl FnOnce() -> T) -> T {
        NAMED.sync_scope(Arc::clone(self), call)
    }

    /// As a value beside what a line says.
    pub(crate) fn json(&self) -> Value {
        json!({ "id": &*self.id, "method": self.method.as_str(), "path": self.uri.path() })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, method, uri } = self;
        write!(f, "request={id} method={method} path={}", uri.path())
    }
}

impl Carried {
    /// That of the task, or call, this is called in.
    pub(crate) fn here() -> Self {
        Self { named: Named::current(), span: Span::current() }
    }

    /// Makes `call` for the request.
    pub(crate) fn in_scope<T>(self, call: impl FnOnce() -> T) -> T {
        let Self { named, span } = self;
        match named {
            Some(named) => NAMED.sync_scope(named, || span.in_scope(call)),
            None => span.in_scope(call),
        }
    }

    /// Does `work` for the request.
    pub(crate) async fn during<W: Future>(self, work: W) -> W::Output {
        let Self { named, span } = self;
        match named {
            Some(named) => NAMED.scope(named, work.instrument(span)).await,
            None => work.instrument(span).await,
        }
    }
}
