//! A site without a socket: requests go straight into the handler the server uses.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hulse::Project;
use hulse::channels::Layer;
use hulse::conf::Settings;
use hulse::server::handler;
use hulse::site::Site;
use tempfile::TempDir;
use tower::ServiceExt;

/// A project, opened on an empty database.
pub(crate) struct Opened {
    pub(crate) site: Site,
    router: Router,
    #[expect(dead_code, reason = "holds the database; removed when dropped")]
    folder: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Opened {
    /// With `debug` on, so that `localhost` is allowed.
    pub(crate) async fn new(project: Project) -> Self {
        Self::with(project, |settings| settings.debug = true).await
    }

    /// Outside debug, at `example.com`.
    pub(crate) async fn public(project: Project) -> Self {
        Self::with(project, |settings| settings.allowed_hosts = vec!["example.com".into()]).await
    }

    pub(crate) async fn with(project: Project, set: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.base = folder.path().to_owned();
        set(&mut settings);
        let layer = Layer::memory(&settings.channels);
        let site = project.open(settings, layer).await.unwrap();
        let router = handler(&project, &site);
        Self { site, router, folder }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target, &[], "").await
    }

    /// A form, with headers.
    pub(crate) async fn post(&self, target: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let has_kind = headers.iter().any(|(name, _)| *name == kind.0);
        let mut all = headers.to_vec();
        if !has_kind {
            all.push(kind);
        }
        self.ask(Method::POST, target, &all, form.to_owned()).await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        if !headers.iter().any(|(name, _)| *name == "host") {
            let hosts = &self.site.settings().allowed_hosts;
            request = request.header("host", hosts.first().map_or("localhost", String::as_str));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

impl Answer {
    /// A header's text, empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
