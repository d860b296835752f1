//! What is asked for: a WebSocket, events, a poll or a send.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};

use super::origin::{other_method, page, preflight};
use super::table::Table;
use super::visit::Visit;
use super::{events, poll, post, socket};
use crate::contrib::sessions;
use crate::error::Error;
use crate::http::{Request, pairs};
use crate::site::Site;
use crate::sockets::{Vouched, is_handshake};

/// The parameter that holds a ticket.
const TICKET: &str = "ticket";

/// Answers whatever comes to the streams' URL.
pub(super) async fn answer(
    table: Arc<Table>,
    site: Site,
    request: axum::extract::Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let asked = Request::new(site.clone(), &parts);
    let is_ticketed = match asked.query(TICKET) {
        None => false,
        Some(ticket) => match sessions::admit_ticket(&site, &ticket, &mut parts.extensions).await {
            Ok(()) => true,
            Err(error) => return refuse(&error),
        },
    };
    if is_handshake(&parts.headers) {
        if is_ticketed {
            parts.extensions.insert(Vouched);
        }
        let request = axum::extract::Request::from_parts(parts, body);
        return socket::answer(table, site, request).await;
    }
    let Some(page) = page(&asked, is_ticketed) else {
        return (StatusCode::FORBIDDEN, "the Origin is not allowed\n").into_response();
    };
    let response = match parts.method {
        Method::OPTIONS => preflight(),
        Method::POST => {
            let visit = Visit::new(table, Request::new(site, &parts));
            post::answer(&visit, &parts.headers, body).await
        }
        Method::GET => {
            // Kept as long as the stream: nothing of it should hold what hyper read.
            let visit = Visit::new(table, Request::packed(site, parts));
            read(visit).await
        }
        method => other_method(&method),
    };
    page.admit(response)
}

async fn read(visit: Visit) -> Response {
    let request = visit.request().clone();
    let Some(wanted) = Wanted::of(&request) else {
        let words = "which stream? name it with ?join=, or open a WebSocket\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    };
    let accept = request.header("accept").unwrap_or_default();
    if accept.to_ascii_lowercase().contains("text/event-stream") {
        events::answer(visit, &wanted).await
    } else {
        poll::answer(visit, &wanted).await
    }
}

/// What a URL asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The streams, and where each was left.
    pub(super) streams: Vec<(String, Option<String>)>,
    /// How long a poll should wait at most, seconds.
    pub(super) wait: Option<u64>,
}

impl Wanted {
    /// `?join=a&at=1-5&join=b`: an `at` belongs to the `join` before it. `Last-Event-ID` has them
    /// all, in order, with commas between.
    fn of(request: &Request) -> Option<Self> {
        let query = request.uri().query().unwrap_or_default().as_bytes().to_vec();
        let mut streams: Vec<(String, Option<String>)> = Vec::new();
        let mut wait = None;
        for (name, value) in pairs(&query) {
            match (&*name, streams.last_mut()) {
                ("join", _) => streams.push((value.into_owned(), None)),
                ("at", Some((_, at))) => *at = Some(value.into_owned()),
                ("wait", _) => wait = value.parse().ok(),
                _ => {}
            }
        }
        if streams.is_empty() {
            return None;
        }
        if let Some(last) = request.header("last-event-id") {
            for ((_, at), place) in streams.iter_mut().zip(last.split(',')) {
                *at = Some(place.trim().to_owned());
            }
        }
        Some(Self { streams, wait })
    }
}

fn refuse(error: &Error) -> Response {
    let status = error.status_code();
    if status.is_server_error() {
        tracing::error!(%error, "reading a ticket failed");
    }
    (status, [(header::CACHE_CONTROL, "no-store")], Body::from(format!("{error}\n")))
        .into_response()
}
