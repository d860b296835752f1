//! What answers a request: the one ordered list of pieces around the URL table.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use tower::ServiceExt;
use tower_service::Service;

use crate::apps::Project;
use crate::contrib::staticfiles::StaticFiles;
use crate::contrib::{auth, sessions};
use crate::http::{Beside, Markers, Processors, Request as View, Seen, vary};
use crate::middleware::admit as throttle;
use crate::middleware::{Logged, Security, Slashed, caught, csrf, errors, hosts, request_values};
use crate::server::development::Page;
use crate::server::staying::Staying;
use crate::site::Site;
use crate::urls::{self, Resolver};

/// The service for all requests to `site`, for whoever wants a router: the test client, a test
/// with a listener of its own.
pub fn handler(project: &Project, site: &Site) -> Router {
    Router::new().fallback_service(Handler::new(project, site))
}

/// The service for all requests to a site. Built once a process; a cheap clone.
#[derive(Clone, Debug)]
pub struct Handler(Arc<Stack>);

#[derive(Debug)]
struct Stack {
    site: Site,
    resolver: Resolver,
    files: StaticFiles,
    security: Security,
    /// What goes into pages in development.
    development: Option<Page>,
    /// The views behind the site's own layers, if it has any.
    layered: Option<Router>,
}

impl Handler {
    /// The handler of `site`, which was opened from `project`.
    #[must_use]
    pub fn new(project: &Project, site: &Site) -> Self {
        let values = request_values().chain(project.apps().iter().flat_map(|app| app.context()));
        let (values, resolver): (Processors, _) = (values.collect(), project.resolver().clone());
        let markers: Markers = project.apps().iter().flat_map(|app| app.markers()).collect();
        site.keep(|_| markers);
        // What pages ask for: the values of templates, the table of the debug page.
        site.keep(|_| values);
        site.keep(|_| resolver.clone());
        let layered = (!project.layers().is_empty()).then(|| {
            let inside = site.clone();
            let view = tower::service_fn(move |request: Request| {
                let answer = layered_view(inside.clone(), request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let views = Router::new().fallback_service(view);
            project.layers().iter().rev().fold(views, |router, layer| layer(router))
        });
        Self(Arc::new(Stack {
            site: site.clone(),
            resolver,
            files: StaticFiles::of(project, site),
            security: Security::of(&site.settings().security),
            development: Page::of(site),
            layered,
        }))
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let beside = Beside::default();
        let logged = Logged::begin(&self.0.site.settings().log, &parts, &beside);
        parts.extensions.insert(beside.clone());
        let mut inside = pin!(Some(self.0.inside(parts, body, beside)));
        let response = logged.during(caught(Staying::new(inside.as_mut()))).await;
        let mut response = logged.end(response);
        if is_head {
            behead(&mut response);
        }
        response
    }
}

/// The list. What a request passes on its way in stands in this order, what its answer passes on
/// the way out in the order behind.
///
/// All of it is one future, made anew for each request: what few requests need is boxed where it
/// is needed, so that the others do not carry its place.
impl Stack {
    async fn inside(&self, mut parts: Parts, body: Body, beside: Beside) -> Response {
        let (site, settings) = (&self.site, self.site.settings());
        let marked = self.development.as_ref().filter(|page| page.is_wanted(&parts.headers));
        if let Some(page) = marked {
            page.ask_whole(&mut parts.headers);
        }
        let is_head = parts.method == Method::HEAD;
        let slashed = match self.resolver.resolve(parts.uri.path()) {
            Some(matched) => {
                matched.state(&beside);
                None
            }
            None => Slashed::of(settings, &self.resolver, &parts),
        };
        let (response, seen) = match self.admit(&parts, body).await {
            Ok(body) => self.views(parts, body).await,
            Err(response) => (response, View::new(site.clone(), &parts)),
        };
        beside.set_answered();
        let mut response = response;
        if let Err(error) = csrf::send_cookie(&settings.csrf, &beside, &mut response) {
            response = error.into_response();
        }
        response = sessions::keep(&seen, response).await;
        if let Some(slashed) = slashed {
            response = slashed.instead(settings, response);
        }
        let mut response = errors(&seen, response).await;
        self.security.add(&seen, response.headers_mut());
        match marked {
            Some(page) => page.mark(is_head, response),
            None => response,
        }
    }

    /// What may answer in place of a view.
    async fn admit(&self, parts: &Parts, body: Body) -> Result<Body, Response> {
        hosts(self.site.settings(), parts).map_err(IntoResponse::into_response)?;
        if let Some(response) = self.security.redirect(parts) {
            return Err(response);
        }
        match self.files.serve(parts).await {
            Some(response) => Err(response),
            None => csrf::admit(&self.site, parts, body).await,
        }
    }

    /// The view's answer, behind the site's own layers if there are any.
    async fn views(&self, parts: Parts, body: Body) -> (Response, View) {
        if let Some(page) = self.development.as_ref().filter(|page| page.has(parts.uri.path())) {
            let seen = View::new(self.site.clone(), &parts);
            let answer = Box::pin(page.answer(self.site.clone(), parts, body));
            return (answer.await, seen);
        }
        let Some(layered) = self.layered.clone() else {
            return view(&self.site, parts, body).await;
        };
        let seen = View::new(self.site.clone(), &parts);
        let answer = layered.oneshot(Request::from_parts(parts, body));
        (caught(async { answer.await.unwrap_or_else(|never| match never {}) }).await, seen)
    }
}

/// The view's answer for the site's own layers. One that keeps answers is told whose this is; the
/// session and the token say it to browsers later.
async fn layered_view(site: Site, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let beside = parts.extensions.get::<Beside>().cloned();
    let (mut response, _) = view(&site, parts, body).await;
    let is_own = |beside: &Beside| sessions::is_asked(beside) || csrf::is_used(beside);
    if beside.as_ref().is_some_and(is_own) {
        vary(response.headers_mut(), "Cookie");
    }
    response
}

/// The view, and the page of its error: here the session and the user are known, so the site's own
/// error pages can show them.
async fn view(site: &Site, mut parts: Parts, body: Body) -> (Response, View) {
    let seen = View::new(site.clone(), &parts);
    parts.extensions.insert(Seen(seen.clone()));
    let limit = site.settings().http.data_upload_max_memory_size;
    let has_body = !body.is_end_stream();
    let mut request = Request::from_parts(parts, body);
    if has_body {
        DefaultBodyLimit::max(limit).apply(&mut request);
    }
    let answer = async {
        if let Err(refused) = throttle(&seen).await {
            return refused.into_response();
        }
        match auth::admit(&seen).await {
            Ok(()) => urls::dispatch(&seen, request).await,
            Err(refused) => refused,
        }
    };
    let response = caught(answer).await;
    (errors(&seen, response).await, seen)
}

/// Leaves of an answer what a HEAD asks for: everything but the body, and the body's length.
fn behead(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

impl Service<Request> for Handler {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move { Ok(handler.answer(request).await) })
    }
}
