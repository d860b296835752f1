//! Every request has an id, in the log and in its answer.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
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
            let target = without_tickets(&target.to_string());
            // A URI holds visible ASCII only, so it cannot forge a line.
            tracing::info!(target: "hulse::access", status, millis, "{method} {target}");
        });
    }
    response
}

/// The target with stars for what opens a connection.
fn without_tickets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        // Names may be encoded as well.
        Some((name, _)) if percent_decode_str(name).eq(*b"ticket") => "ticket=***",
        _ => pair,
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::without_tickets;

    #[test]
    fn a_ticket_is_not_written_down() {
        let check = |target, expected| assert_eq!(without_tickets(target), expected);
        check("/a/", "/a/");
        check("/a/?b=1&ticket=abc", "/a/?b=1&ticket=***");
        check("/a/?ticket=abc&ticket=def&x", "/a/?ticket=***&ticket=***&x");
        check("/a/?tick%65t=abc", "/a/?ticket=***");
        check("/a/?my_ticket=abc", "/a/?my_ticket=abc");
    }
}
