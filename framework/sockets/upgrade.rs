//! From a GET to a connection: Origin, handshake, `connect`, 101.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::reply::{Accepted, Shared};
use super::task::{self, NO_GOODBYE, log_failure};
use super::{Consumer, Socket};
use crate::http::Request;
use crate::middleware::is_allowed_origin;
use crate::site::Site;
use crate::urls::{Route, path};

/// How long `connect` may take, and then the switch of protocols.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// The only version there is. RFC 6455 §4.1.
const VERSION: &str = "13";

/// A WebSocket at `route`; `consumer` makes the value for each connection.
///
/// # Panics
/// The route is malformed.
pub fn socket<C: Consumer>(route: &str, consumer: impl Fn() -> C + Send + Sync + 'static) -> Route {
    let consumer = Arc::new(consumer);
    path(route, move |State(site): State<Site>, request: axum::extract::Request| {
        let consumer = Arc::clone(&consumer);
        async move { upgrade(site, request, move || consumer()).await }
    })
}

/// Answers a handshake.
async fn upgrade<C: Consumer>(
    site: Site,
    request: axum::extract::Request,
    consumer: impl FnOnce() -> C,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let request = Request::new(site, &parts);
    if let Err(refused) = check_origin(&request) {
        return refused;
    }
    let key = match check_handshake(&request) {
        Ok(key) => key,
        Err(refused) => return refused,
    };
    let Some(on_upgrade) = on_upgrade else {
        return refuse(StatusCode::UPGRADE_REQUIRED, "this connection cannot become a WebSocket");
    };
    if request.lifecycle().is_draining() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is going away");
    }
    let (answer, answered) = oneshot::channel();
    let lifecycle = request.lifecycle().clone();
    // A task of its own from here on: a client that goes away does not cut `connect` short.
    lifecycle.spawn(live(request, on_upgrade, consumer(), answer));
    match answered.await {
        Ok(Ok(accepted)) => switch(&key, accepted),
        Ok(Err(refused)) => refused,
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    }
}

/// The whole life of a connection.
async fn live<C: Consumer>(
    request: Request,
    on_upgrade: OnUpgrade,
    mut consumer: C,
    answer: oneshot::Sender<Result<Accepted, Response>>,
) {
    let shared = Arc::new(Shared::new(request));
    let _end = EndOnDrop(&shared);
    let mut socket = Socket::new(&shared);
    let decided = match connect(&mut consumer, &mut socket).await {
        Ok(()) => Ok(shared.accepted()).and_then(|accepted| {
            if accepted.is_accepted { Ok(accepted) } else { Err(StatusCode::FORBIDDEN) }
        }),
        Err(status) => Err(status),
    };
    let accepted = match decided {
        Ok(accepted) => accepted,
        Err(status) => {
            // The one who asked may be gone.
            let _ = answer.send(Err(refuse(status, "the connection was not accepted")));
            return;
        }
    };
    let mut code = NO_GOODBYE;
    if answer.send(Ok(accepted)).is_ok()
        && let Ok(Ok(upgraded)) = timeout(HANDSHAKE_WAIT, on_upgrade).await
    {
        code = task::run(TokioIo::new(upgraded), &shared, &mut socket, &mut consumer).await;
    }
    shared.end();
    let call = AssertUnwindSafe(consumer.disconnect(&mut socket, code)).catch_unwind();
    // Logged; there is nobody to tell.
    let _ = log_failure("a consumer's disconnect", call.await);
}

/// Leaves the groups on every way out.
struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn connect<C: Consumer>(consumer: &mut C, socket: &mut Socket) -> Result<(), StatusCode> {
    let call = AssertUnwindSafe(consumer.connect(socket)).catch_unwind();
    match timeout(HANDSHAKE_WAIT, call).await {
        Err(_) => {
            tracing::error!("a consumer's connect took too long");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
        Ok(Ok(Err(error))) if error.status_code().is_client_error() => {
            tracing::info!(%error, "a consumer refused a connection");
            Err(error.status_code())
        }
        Ok(done) => log_failure("a consumer's connect", done)
            .map_err(|()| StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Refuses the pages of foreign sites. Programs send no Origin and are no danger: they have nobody
/// else's cookies.
fn check_origin(request: &Request) -> Result<(), Response> {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    if origins.next().is_none() && is_allowed_origin(request, origin) {
        return Ok(());
    }
    tracing::warn!(
        origin,
        host = request.host(),
        path = request.path(),
        "refused a WebSocket: its Origin is neither this site nor in csrf.trusted_origins"
    );
    Err(refuse(StatusCode::FORBIDDEN, "the Origin is not allowed"))
}

/// Checks what RFC 6455 §4.2.1 asks for; the client's key.
fn check_handshake(request: &Request) -> Result<String, Response> {
    if request.method() != Method::GET {
        let refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with a GET");
        return Err(with(refused, header::ALLOW, "GET"));
    }
    let headers = request.headers();
    if !has_token(headers, &header::UPGRADE, "websocket")
        || !has_token(headers, &header::CONNECTION, "upgrade")
    {
        let refused = refuse(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket");
        let refused = with(refused, header::UPGRADE, "websocket");
        return Err(with(refused, header::CONNECTION, "Upgrade"));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        let refused = refuse(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here");
        let refused = with(refused, header::SEC_WEBSOCKET_VERSION, VERSION);
        return Err(with(refused, header::UPGRADE, "websocket"));
    }
    match only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) {
        Some(key) => Ok(key.to_owned()),
        None => Err(refuse(StatusCode::BAD_REQUEST, "bad Sec-WebSocket-Key")),
    }
}

/// Whether the comma-separated header has `token`, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

/// Whether `key` is 16 bytes in base64.
fn is_key(key: &str) -> bool {
    key.strip_suffix("==").is_some_and(|digits| {
        digits.len() == 22
            && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
            // Of the last digit two bits count.
            && digits.ends_with(['A', 'Q', 'g', 'w'])
    })
}

fn switch(key: &str, accepted: Accepted) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    *response.body_mut() = Body::empty();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if let Some(subprotocol) = accepted.subprotocol {
        let value = HeaderValue::try_from(subprotocol).expect("came in a header");
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, format!("{message}\n")).into_response()
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
