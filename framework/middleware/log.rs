//! Every request has an id, in the log and in its answer; and a line in the access log, if that is
//! on.
//!
//! Flow: [`Logged`] takes the id from a trusted proxy or makes one → every line that the request
//! causes names it → with an access log the answer's body is counted, and the line written at its
//! end.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use hyper::body::{Frame, SizeHint};
use percent_encoding::percent_decode_str;

use crate::conf;
use crate::http::{Beside, Named, Proxied, remote_address};

/// Longest id that is taken over from a proxy, bytes.
const ID_BYTES_MAX: usize = 100;

/// Digits of an id that is made here.
const ID_DIGITS: usize = 16;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: that of a trusted proxy's `X-Request-Id`, else 16 hexadecimal digits;
/// `request.extension::<RequestId>()`, in `X-Request-Id` of the answer and in every log line it
/// causes.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// A request on its way, as the log shows it.
#[derive(Debug)]
pub(crate) struct Logged {
    named: Arc<Named>,
    id: Option<HeaderValue>,
    /// For the access log, if it is on.
    line: Option<Line>,
}

impl Logged {
    /// Gives the request its id, and its name in the log.
    pub(crate) fn begin(settings: &conf::Log, request: &Parts, beside: &Beside) -> Self {
        let id: Arc<str> = match given_id(request) {
            Some(given) => given.into(),
            None => hexadecimal(rand::random(), &mut [0; ID_DIGITS]).into(),
        };
        let named = Named::new(Arc::clone(&id), request);
        let line = || Line::new(request, settings.access_query, Arc::clone(&named));
        let line = settings.access.then(line);
        let header = HeaderValue::try_from(&*id).ok();
        beside.state(RequestId(id));
        Self { named, id: header, line }
    }

    /// Does all that is done for the request.
    pub(crate) fn during<W: Future>(&self, work: W) -> impl Future<Output = W::Output> + use<W> {
        self.named.during(work)
    }

    /// Names the request in its answer; with an access log, has the line written at its end.
    #[must_use]
    pub(crate) fn end(self, mut response: Response) -> Response {
        if let Some(id) = self.id {
            response.headers_mut().insert(HEADER, id);
        }
        let Some(mut line) = self.line else { return response };
        line.status = response.status().as_u16();
        response.map(|body| Body::new(Counted { body, line }))
    }
}

/// All 16 digits of a number.
fn hexadecimal(number: u64, digits: &mut [u8; ID_DIGITS]) -> &str {
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 0xF) as usize];
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

/// The id a proxy gave that may be believed. A client's own is not taken over: it could claim any
/// other request's lines.
fn given_id(request: &Parts) -> Option<&str> {
    request.extensions.get::<Proxied>()?;
    let id = request.headers.get(HEADER)?.to_str().ok()?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
    ((1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(letter)).then_some(id)
}

/// What the access log says of a request, when it is over.
#[derive(Debug)]
struct Line {
    named: Arc<Named>,
    began: Instant,
    method: Method,
    target: String,
    remote: Option<IpAddr>,
    agent: String,
    status: u16,
    bytes: u64,
}

impl Line {
    fn new(request: &Parts, with_query: bool, named: Arc<Named>) -> Self {
        let uri = &request.uri;
        let target = match uri.query() {
            Some(query) if with_query => format!("{}?{}", uri.path(), without_tickets(query)),
            // What opens doors may stand there: tokens, one-time links.
            _ => uri.path().to_owned(),
        };
        Self {
            named,
            began: Instant::now(),
            method: request.method.clone(),
            target,
            remote: remote_address(&request.extensions),
            agent: agent(&request.headers),
            status: 0,
            bytes: 0,
        }
    }
}

/// The user agent, of a length to be read.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(&agent[..agent.len().min(200)]).into_owned()
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { named, method, target, status, bytes, agent, .. } = self;
        let millis = self.began.elapsed().as_secs_f64() * 1000.0;
        let millis = (millis * 10.0).round() / 10.0;
        let remote = self.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_string());
        // Whoever writes it escapes what is no text; a URI and a method hold visible ASCII only.
        named.in_scope(|| {
            tracing::info!(target: "hulse::access", status, bytes, millis, remote, agent,
                "{method} {target}");
        });
    }
}

/// A body that is counted; the line is written when it goes.
struct Counted {
    body: Body,
    line: Line,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, line } = self.get_mut();
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            line.bytes += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The query with stars for what opens a connection.
fn without_tickets(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        // Names may be encoded as well.
        Some((name, _)) if percent_decode_str(name).eq(*b"ticket") => "ticket=***",
        _ => pair,
    });
    shown.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::{ID_DIGITS, hexadecimal, without_tickets};

    #[test]
    fn an_id_has_all_its_digits() {
        let check = |number, text| assert_eq!(hexadecimal(number, &mut [0; ID_DIGITS]), text);
        check(0, "0000000000000000");
        check(0x0123_4567_89ab_cdef, "0123456789abcdef");
        check(u64::MAX, "ffffffffffffffff");
    }

    #[test]
    fn a_ticket_is_not_written_down() {
        let check = |query, expected| assert_eq!(without_tickets(query), expected);
        check("b=1&ticket=abc", "b=1&ticket=***");
        check("ticket=abc&ticket=def&x", "ticket=***&ticket=***&x");
        check("tick%65t=abc", "ticket=***");
        check("my_ticket=abc", "my_ticket=abc");
    }
}
