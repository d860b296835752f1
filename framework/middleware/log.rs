//! Every request has an id, in the log and in its answer.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use tracing::Instrument;

use crate::site::Site;

/// The id of a request: 16 hexadecimal digits, in its extensions, in `X-Request-Id` of the answer
/// and in every log line it causes.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// Opens the request's span; writes the access log if it is on.
pub async fn log(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    // A client's own X-Request-Id is not taken over: it could claim any other request's lines.
    let id: Arc<str> = format!("{:016x}", rand::random::<u64>()).into();
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let span = tracing::info_span!("request", id = %id, method = %request.method(),
        path = %request.uri().path());
    let head =
        site.settings().log.access.then(|| (request.method().clone(), request.uri().clone()));
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Ok(value) = HeaderValue::try_from(&*id) {
        response.headers_mut().insert("x-request-id", value);
    }
    if let Some((method, target)) = head {
        let status = response.status().as_u16();
        let millis = began.elapsed().as_millis();
        span.in_scope(|| {
            // A URI holds visible ASCII only, so it cannot forge a line.
            tracing::info!(target: "hulse::access", status, millis, "{method} {target}");
        });
    }
    response
}
