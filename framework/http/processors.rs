//! Rendering for a request: the view's values, and those that belong to the request.

use std::fmt;
use std::sync::Arc;

use axum::response::{Html, IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::Request;
use crate::error::Result;
use crate::template::{Context, Value};

/// A value every template may use, computed from the request when one does (Django's context
/// processor): `user`, `messages`.
#[derive(Clone)]
pub struct Processor {
    name: &'static str,
    value: Arc<Compute>,
}

type Compute = dyn Fn(Request) -> BoxFuture<'static, Result<Value>> + Send + Sync;

/// All processors of a site; the handler leaves them with it.
#[derive(Clone, Debug, Default)]
pub struct Processors(Arc<[Processor]>);

impl Processor {
    /// `value` computes the variable `name`.
    pub fn new<F, Fut>(name: &'static str, value: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value>> + Send + 'static,
    {
        Self { name, value: Arc::new(move |request| Box::pin(value(request))) }
    }

    /// The variable it computes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl FromIterator<Processor> for Processors {
    fn from_iter<I: IntoIterator<Item = Processor>>(processors: I) -> Self {
        Self(processors.into_iter().collect())
    }
}

/// Renders the template `name` into a 200 `text/html; charset=utf-8` answer.
///
/// # Errors
/// The template is missing or wrong, or a value it uses could not be computed.
pub async fn render(request: &Request, name: &str, context: Context) -> Result<Response> {
    render_to_string(request, name, context).await.map(|text| Html(text).into_response())
}

/// Renders the template `name` with the view's values and the request's. The view's win.
///
/// # Errors
/// As [`render`].
pub async fn render_to_string(
    request: &Request,
    name: &str,
    mut context: Context,
) -> Result<String> {
    let templates = request.site().templates();
    let processors = request.site().kept::<Processors>();
    for processor in processors.iter().flat_map(|processors| processors.0.iter()) {
        if !context.contains_key(processor.name) && templates.mentions(name, processor.name) {
            context.insert_value(processor.name, (processor.value)(request.clone()).await?);
        }
    }
    templates.render(name, &context)
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor").field("name", &self.name).finish_non_exhaustive()
    }
}
