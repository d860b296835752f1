//! proxy: hands each request to the server behind it and the answer back, piece by piece, holding
//! neither; WebSockets it does not know.

#[cfg(test)]
mod tests;

use std::future::pending;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use futures_util::StreamExt;
use hulse::conf::{ContentPolicy, Section};
use hulse::http::{HeaderMap, HeaderName, IntoResponse, StatusCode, any, header};
use hulse::middleware::RequestId;
use hulse::prelude::*;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

/// Headers about one connection only, beside those that `Connection` names. RFC 9110 §7.6.1.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// `[proxy]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Upstream {
    /// `http://HOST:PORT`, without a path.
    upstream: String,
    /// How long it may neither take a piece of the request nor begin its answer.
    seconds: u64,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { upstream: "http://127.0.0.1:8000".into(), seconds: 30 }
    }
}

impl Section for Upstream {
    const NAME: &'static str = "proxy";
}

type Connections = Client<HttpConnector, Body>;

fn main() -> std::process::ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    // Forms and pages are the other server's: so are their tokens and their policy.
    let line = |route| path(route, any(forward)).csrf_exempt().csp_override(ContentPolicy::none());
    let urls = ["", "<path:any>"].map(line);
    Project::new("proxy", env!("CARGO_MANIFEST_DIR")).section::<Upstream>().urls(Urls::new(urls))
}

async fn forward(seen: Request, asked: axum::extract::Request) -> Result<Response> {
    let section = seen.settings().section::<Upstream>();
    let connections = seen.site().keep(connections);
    let (mut parts, body) = asked.into_parts();
    parts.uri = format!("{}{}", section.upstream, seen.full_path()).parse()?;
    parts.extensions.clear();
    drop_hop_by_hop(&mut parts.headers);
    // The client makes the one that fits the URI.
    parts.headers.remove(header::HOST);
    say_for_whom(&seen, &mut parts.headers)?;

    let (moves, moved) = watch::channel(());
    let body = match body.is_end_stream() {
        true => body,
        false => {
            let pieces = body.into_data_stream();
            Body::from_stream(pieces.inspect(move |_| moves.send_replace(())))
        }
    };
    let asked = axum::extract::Request::from_parts(parts, body);
    let answer = tokio::select! {
        // Dropped with this future when the visitor goes away, and the connection with it.
        answer = connections.request(asked) => answer,
        () = too_long(moved, Duration::from_secs(section.seconds)) => {
            let words = "The server behind is too slow.\n";
            return Ok((StatusCode::GATEWAY_TIMEOUT, words).into_response());
        }
    };
    let Ok(answer) = answer else {
        let words = "The server behind does not answer.\n";
        return Ok((StatusCode::BAD_GATEWAY, words).into_response());
    };
    let (mut parts, body) = answer.into_parts();
    drop_hop_by_hop(&mut parts.headers);
    // As a stream it has no length but the header's: an empty one of an error is theirs to show.
    Ok(Response::from_parts(parts, Body::from_stream(Body::new(body).into_data_stream())))
}

fn connections(_: &Site) -> Connections {
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).build_http()
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|names| names.to_str().ok());
    let named = named.flat_map(|names| names.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in named.iter().map(HeaderName::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What the client said of these is not passed on: the server behind trusts this one.
fn say_for_whom(seen: &Request, headers: &mut HeaderMap) -> Result<()> {
    headers.remove(header::FORWARDED);
    headers.remove("x-forwarded-for");
    if let Some(address) = seen.remote_address() {
        headers.insert("x-forwarded-for", address.to_string().parse()?);
    }
    headers.insert("x-forwarded-proto", seen.scheme().parse()?);
    headers.insert("x-forwarded-host", seen.host().parse()?);
    if let Some(id) = seen.extension::<RequestId>() {
        headers.insert("x-request-id", id.0.parse()?);
    }
    Ok(())
}

/// Ends once nothing was taken for so long, or so long after all was.
async fn too_long(mut moved: watch::Receiver<()>, patience: Duration) {
    while let Ok(Ok(())) = timeout(patience, moved.changed()).await {}
    if moved.has_changed().is_err() {
        let _over = timeout(patience, pending::<()>()).await;
    }
}
