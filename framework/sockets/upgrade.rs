//! From a GET to a connection: Origin, handshake, `connect`, 101.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::cap::{Cap, Place};
use super::io::{self, TakeOver};
use super::reply::{Accepted, Shared};
use super::resume::Resumable;
use super::task::{self, Begun, Held, NO_GOODBYE, log_failure};
use super::{Consumer, Socket, deflate};
use crate::channels::Mark;
use crate::error::Error;
use crate::http::{Request, mark, not_found, too_many_requests};
use crate::middleware::{bounded_address_of, is_allowed_origin};
use crate::site::Site;
use crate::urls::{Route, path};

/// When somebody may come again who has as many sockets as he may.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
/// What a consumer that accepts nothing answers.
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
/// The only version there is. RFC 6455 §4.1.
const VERSION: &str = "13";

/// A WebSocket at `route`; `consumer` makes the value for each connection.
///
/// # Panics
/// The route is malformed.
pub fn socket<C: Consumer>(route: &str, consumer: impl Fn() -> C + Send + Sync + 'static) -> Route {
    let consumer = Arc::new(consumer);
    let resumed = Arc::clone(&consumer);
    let view = path(route, move |State(site): State<Site>, request: axum::extract::Request| {
        let consumer = Arc::clone(&consumer);
        async move { upgrade(site, request, move || consumer()).await }
    });
    view.attach(Resumable::new(move || resumed()))
}

/// In a request's extensions: something else than cookies says who asks, so that any page may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vouched;

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_handshake(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket")
}

/// Answers a handshake.
pub(crate) async fn upgrade<C: Consumer>(
    site: Site,
    request: axum::extract::Request,
    consumer: impl FnOnce() -> C,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let take_over = parts.extensions.remove::<TakeOver>();
    // Of no use after the answer.
    parts.extensions.remove::<MatchedPath>();
    let request = Request::new(site, &parts);
    if request.extension::<Vouched>().is_none()
        && let Err(refused) = check_origin(&request)
    {
        return refused.into_response();
    }
    let key = match check_handshake(request.method(), request.headers()) {
        Ok(key) => key,
        Err(refused) => return refused.into_response(),
    };
    let Some(on_upgrade) = on_upgrade else {
        return refuse(StatusCode::UPGRADE_REQUIRED, "this connection cannot become a WebSocket");
    };
    // One that is replaced takes whom it has let in, and sends him on.
    if request.lifecycle().is_draining() && request.lifecycle().replaced().is_none() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is going away");
    }
    let Some(place) = Cap::of(request.site()).enter(request.settings().server.sockets_max) else {
        let retry = (header::RETRY_AFTER, HeaderValue::from_static("5"));
        let full = "there are as many WebSockets as there may be\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [retry], full).into_response();
    };
    let deflated = request.settings().server.deflate && deflate::is_offered(request.headers());
    let (answer, answered) = oneshot::channel();
    let request = Request::packed(request.site().clone(), parts);
    let lifecycle = request.lifecycle().clone();
    // A task of its own from here on: a client that goes away does not cut `connect` short.
    let answer = Promise { answer, deflated, place };
    lifecycle.spawn(live(request, (on_upgrade, take_over), consumer(), answer));
    match answered.await {
        Ok(Ok(accepted)) => {
            let mut response = switch(&key, accepted);
            if deflated {
                let agreed = HeaderValue::from_static(deflate::AGREED);
                response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
            }
            response
        }
        Ok(Err(refused)) => refused,
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    }
}

/// What the handshake's answer will say.
struct Promise {
    answer: oneshot::Sender<Result<Accepted, Response>>,
    /// If it is a yes: that long messages are compressed.
    deflated: bool,
    place: Place,
}

/// The life of a connection until it is accepted or not.
async fn live<C: Consumer>(
    request: Request,
    (on_upgrade, take_over): (OnUpgrade, Option<TakeOver>),
    mut consumer: C,
    Promise { answer, deflated, place }: Promise,
) {
    let held = Held(Arc::new(Shared::new(request, place)));
    let mut socket = Socket::new(&held.0);
    let decided = match connect(&mut consumer, &mut socket).await {
        Ok(()) if held.0.slot.is_dismissed() => Err(FORBIDDEN),
        Ok(()) => Some(held.0.accepted()).filter(|decided| decided.is_accepted).ok_or(FORBIDDEN),
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
    if deflated {
        held.0.slot.set_deflated();
    }
    if answer.send(Ok(accepted)).is_ok()
        && let Ok(Ok(upgraded)) = timeout(patience(&socket), on_upgrade).await
        && let Ok(taken) = io::take(upgraded, take_over)
    {
        // A task of its own again: this one is as large as `connect` made it.
        let lifecycle = socket.lifecycle().clone();
        lifecycle.spawn(task::run(held, socket, consumer, Begun::new(taken)));
        return;
    }
    held.0.end();
    task::disconnect(&mut consumer, &mut socket, NO_GOODBYE).await;
}

/// How long `connect` may take, and then the switch of protocols.
fn patience(site: &Site) -> Duration {
    Duration::from_secs(site.settings().server.handshake_timeout)
}

async fn connect<C: Consumer>(consumer: &mut C, socket: &mut Socket) -> Result<(), StatusCode> {
    let patience = patience(socket);
    let call = async {
        // Before anybody asks who it is: what changes from here on is noticed.
        mark(socket.request(), socket.connection()).await?;
        if !claim(socket) {
            return Err(too_many_requests(CLAIM_WAIT));
        }
        for group in consumer.groups(socket)? {
            socket.join(group).await.map_err(of_path)?;
        }
        consumer.connect(socket).await
    };
    let call = AssertUnwindSafe(call).catch_unwind();
    match timeout(patience, call).await {
        Err(_) => {
            tracing::error!("a consumer's connect takes longer than server.handshake_timeout");
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

/// Counts it under its address, its user and its session; whether those have no more than they may.
/// One that came from another process is let in all the same.
pub(super) fn claim(socket: &Socket) -> bool {
    let (request, place) = (socket.request(), socket.place());
    let server = &request.settings().server;
    let may = |mark: Mark, max: usize| max == 0 || place.claim(mark, max);
    let address =
        bounded_address_of(request).map(|address| Mark::new(&format!("address {address}")));
    address.is_none_or(|mark| may(mark, server.sockets_per_address))
        && socket.connection().marks().iter().all(|mark| may(*mark, server.sockets_per_user))
}

/// A group's name that breaks the rule came from the path: there is no such page.
fn of_path(error: Error) -> Error {
    if error.is_bad_group_name() { not_found(error.to_string()) } else { error }
}

/// Refuses the pages of foreign sites. Programs send no Origin and are no danger: they have nobody
/// else's cookies.
fn check_origin(request: &Request) -> Result<(), Refusal> {
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
    Err(Refusal::Origin)
}

/// Checks what RFC 6455 §4.2.1 asks for; the client's key.
fn check_handshake(method: &Method, headers: &HeaderMap) -> Result<String, Refusal> {
    if method != Method::GET {
        return Err(Refusal::Method);
    }
    if !has_token(headers, &header::UPGRADE, "websocket")
        || !has_token(headers, &header::CONNECTION, "upgrade")
    {
        return Err(Refusal::NoUpgrade);
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(Refusal::Version);
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    key.map(ToOwned::to_owned).ok_or(Refusal::Key)
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Origin,
    Method,
    NoUpgrade,
    Version,
    Key,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Origin => (StatusCode::FORBIDDEN, "the Origin is not allowed"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with a GET"),
            Self::NoUpgrade => (StatusCode::UPGRADE_REQUIRED, "this is a WebSocket"),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here"),
            Self::Key => (StatusCode::BAD_REQUEST, "bad Sec-WebSocket-Key"),
        };
        let mut response = refuse(status, message);
        let headers = response.headers_mut();
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        match self {
            Self::Version => {
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            }
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            Self::Origin | Self::NoUpgrade | Self::Key => {}
        }
        response
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
    for (name, value) in accepted.headers {
        headers.append(name, value);
    }
    response
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, format!("{message}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{Refusal, check_handshake};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn headers(changed: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let usual = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        for (name, value) in usual.iter().chain(changed) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[track_caller]
    fn check(changed: &[(&'static str, &'static str)], expected: Result<&str, Refusal>) {
        let expected = expected.map(ToOwned::to_owned);
        assert_eq!(check_handshake(&Method::GET, &headers(changed)), expected, "{changed:?}");
    }

    #[test]
    fn only_a_whole_handshake_is_accepted() {
        check(&[], Ok(KEY));
        check(&[("connection", "close")], Err(Refusal::NoUpgrade));
        check(&[("upgrade", "h2c")], Err(Refusal::NoUpgrade));
        check(&[("sec-websocket-version", "8")], Err(Refusal::Version));
        check(&[("sec-websocket-version", "13, 8")], Err(Refusal::Version));
        check(&[("sec-websocket-key", "")], Err(Refusal::Key));
        check(&[("sec-websocket-key", "c2hvcnQ=")], Err(Refusal::Key));
        check(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE=")], Err(Refusal::Key));
        check(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==")], Err(Refusal::Key));
        let posted = check_handshake(&Method::POST, &headers(&[]));
        assert_eq!(posted, Err(Refusal::Method));
    }

    #[test]
    fn a_header_that_is_there_twice_is_none() {
        let mut twice = headers(&[]);
        let key = HeaderName::from_static("sec-websocket-key");
        twice.append(key, HeaderValue::from_static(KEY));
        assert_eq!(check_handshake(&Method::GET, &twice), Err(Refusal::Key));
    }
}
