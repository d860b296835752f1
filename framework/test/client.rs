//! A browser without a window: it keeps cookies, sends tokens, and follows where it is told to.

use std::future::IntoFuture;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower::ServiceExt;

use super::answer::{Answer, fail};
use super::jar::Jar;
use super::site::Running;
use super::socket::SocketClient;
use crate::contrib::auth::{self, User};
use crate::error::Error;

/// The host a client asks for. The site's `allowed_hosts` include it.
pub(super) const HOST_NAME: &str = "testserver";

/// Redirects followed in a row; more is a loop.
const REDIRECTS_MAX: usize = 20;

/// The CSRF secret of a client that has not met the site's cookie yet: 32 letters, as it must be.
const MADE_UP_TOKEN: &str = "TestClientTestClientTestClient32";

/// One visitor. Its clones are the same visitor: they share the cookies.
///
/// It stands in for a careful page: it sends the CSRF token by itself unless
/// [`enforce_csrf_checks`](Self::enforce_csrf_checks) was asked for.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) running: Arc<Running>,
    jar: Arc<Mutex<Jar>>,
    sends_token: bool,
    address: Option<IpAddr>,
}

impl Client {
    pub(super) fn new(running: Arc<Running>) -> Self {
        Self { running, jar: Arc::default(), sends_token: true, address: None }
    }

    /// From now on sends no CSRF token by itself.
    #[must_use]
    pub fn enforce_csrf_checks(mut self) -> Self {
        self.sends_token = false;
        self
    }

    /// From now on comes from this address; without it has none.
    #[must_use]
    pub fn at_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Asks for `path` (with its query).
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// Asks for the headers of `path`.
    pub fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    /// Posts a form.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Call {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let pairs: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.call(Method::POST, path)
            .body("application/x-www-form-urlencoded", pairs.join("&").into_bytes())
    }

    /// Posts JSON.
    ///
    /// # Panics
    /// `value` cannot be written as JSON.
    pub fn post_json(&self, path: &str, value: &impl serde::Serialize) -> Call {
        let json = serde_json::to_vec(value).expect("a value that can be written as JSON");
        self.call(Method::POST, path).body("application/json", json)
    }

    /// Any other request.
    ///
    /// # Panics
    /// `path` is no path.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let mut request = Request::new(Vec::new());
        let uri = path.parse();
        *request.uri_mut() = uri.expect("a path of this site, percent-encoded");
        *request.method_mut() = method;
        request.headers_mut().insert(HOST, HeaderValue::from_static(HOST_NAME));
        Call { client: self.clone(), request, follow: false }
    }

    /// A WebSocket at `path`, with this client's cookies and the site's own Origin.
    ///
    /// # Panics
    /// The site refuses it.
    pub async fn socket(&self, path: &str) -> SocketClient {
        match self.try_socket(path).await {
            Ok(socket) => socket,
            Err(answer) => fail(&format!("the WebSocket was refused by {answer:?}")),
        }
    }

    /// A WebSocket at `path`, or the answer that refuses it.
    ///
    /// # Errors
    /// The answer, if it is not a 101.
    pub async fn try_socket(&self, path: &str) -> Result<SocketClient, Box<Answer>> {
        let origin = format!("http://{HOST_NAME}");
        SocketClient::connect(self, path, &[("origin", &origin)]).await
    }

    /// Signs `user` in without a password.
    ///
    /// # Panics
    /// The database refuses.
    pub async fn force_login(&self, user: &User) {
        let signed_in = auth::session_of(&self.running.site, user).await;
        let id = signed_in.expect("a session for the user");
        self.set_cookie(&self.running.site.settings().sessions.cookie_name, &id);
    }

    /// The value of a cookie it holds.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.with_jar(|jar| jar.get(name).map(str::to_owned))
    }

    /// Gives it a cookie.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.with_jar(|jar| jar.set(name, value));
    }

    /// Takes a cookie away.
    pub fn delete_cookie(&self, name: &str) {
        self.with_jar(|jar| jar.remove(name));
    }

    pub(super) fn with_jar<T>(&self, work: impl FnOnce(&mut Jar) -> T) -> T {
        work(&mut self.jar.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The site, as one at this client's address finds it.
    pub(super) fn handler(&self) -> Router {
        let handler = self.running.handler.clone();
        match self.address {
            Some(address) => handler.layer(Extension(ConnectInfo(SocketAddr::new(address, 0)))),
            None => handler,
        }
    }

    /// Adds the token a page would have sent.
    fn add_token(&self, request: &mut Request<Vec<u8>>) {
        let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if safe || !self.sends_token || request.headers().contains_key("x-csrftoken") {
            return;
        }
        let name = &self.running.site.settings().csrf.cookie_name;
        let token = self.with_jar(|jar| {
            if jar.get(name).is_none() {
                jar.set(name, MADE_UP_TOKEN);
            }
            jar.get(name).unwrap_or_default().to_owned()
        });
        if let Ok(token) = HeaderValue::try_from(token) {
            request.headers_mut().insert("x-csrftoken", token);
        }
    }

    async fn send(&self, mut request: Request<Vec<u8>>) -> Answer {
        let asked = format!("{} {}", request.method(), request.uri());
        self.add_token(&mut request);
        if let Some(cookies) = self.with_jar(|jar| jar.header()) {
            request.headers_mut().insert(COOKIE, cookies);
        }
        let response = self.handler().oneshot(request.map(Body::from)).await;
        let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        self.with_jar(|jar| jar.obey(&head.headers));
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => fail(&format!("{asked}: the body of the answer broke off: {error}")),
        };
        let error = head.extensions.get::<Arc<Error>>().cloned();
        Answer { asked, status: head.status, headers: head.headers, body, error }
    }
}

/// A request that is sent when it is awaited.
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Call {
    client: Client,
    request: Request<Vec<u8>>,
    follow: bool,
}

impl Call {
    /// Sets a header.
    ///
    /// # Panics
    /// The name or value is none of a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header's name");
        let value = HeaderValue::try_from(value).expect("a header's value");
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Sets the body and its `Content-Type`.
    ///
    /// # Panics
    /// `content_type` is none of a header.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        *self.request.body_mut() = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Goes on to where a redirect leads, until there is an answer that is none.
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    async fn send(self) -> Answer {
        let Self { client, request, follow } = self;
        let mut next = Some(request);
        for _ in 0..REDIRECTS_MAX {
            let request = next.take().expect("set before each turn");
            let again = (request.method().clone(), request.body().clone());
            let kind = request.headers().get(CONTENT_TYPE).cloned();
            let answer = client.send(request).await;
            if !follow || !answer.status.is_redirection() {
                return answer;
            }
            let place = here(answer.header(LOCATION.as_str()));
            // 307 and 308 mean "the same again, there"; all others "now get that".
            let keeps = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
            next = Some(if keeps.contains(&answer.status) {
                let mut call = client.call(again.0, place);
                *call.request.body_mut() = again.1;
                call.request.headers_mut().extend(kind.map(|kind| (CONTENT_TYPE, kind)));
                call.request
            } else {
                client.get(place).request
            });
        }
        fail(&format!("more than {REDIRECTS_MAX} redirects in a row"))
    }
}

/// A redirect's target as a path, if it names this site.
fn here(location: &str) -> &str {
    let path = location.strip_prefix("http://").and_then(|rest| rest.strip_prefix(HOST_NAME));
    path.unwrap_or(location)
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = BoxFuture<'static, Answer>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
