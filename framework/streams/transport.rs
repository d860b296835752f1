//! What is asked for: a WebSocket, events, a poll or a send.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};

use super::frames::NAME_BYTES_MAX;
use super::origin::{other_method, page, preflight};
use super::table::Table;
use super::visit::{STREAMS_MAX, Visit};
use super::{events, poll, post, socket};
use crate::contrib::{auth, sessions};
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
    let ticket = asked.query(TICKET);
    let is_ticketed = ticket.is_some();
    if parts.method == Method::OPTIONS {
        // Only a question; the ticket is for what comes after it.
        return page(&asked, is_ticketed).map_or_else(foreign, |page| page.admit(preflight()));
    }
    if let Some(ticket) = ticket {
        let admitted = sessions::admit_ticket(&site, &ticket, &mut parts.extensions).await;
        if let Err(error) = admitted {
            return page(&asked, true).map_or_else(foreign, |page| page.admit(refuse(&error)));
        }
    }
    if is_handshake(&parts.headers) {
        if is_ticketed {
            parts.extensions.insert(Vouched);
        }
        // Of the ticket's visitor, if there is one; events and polls hear of it stream by stream.
        if let Err(error) = auth::may_pass(&Request::new(site.clone(), &parts)).await {
            tracing::warn!(%error, path = parts.uri.path(), "a WebSocket of streams was refused");
            return error.into_response();
        }
        let request = axum::extract::Request::from_parts(parts, body);
        return socket::answer(table, site, request).await;
    }
    let Some(page) = page(&asked, is_ticketed) else { return foreign() };
    let response = match parts.method {
        Method::POST => {
            let mut visit = Visit::new(table, Request::new(site, &parts));
            post::answer(&mut visit, &parts.headers, body).await
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

fn foreign() -> Response {
    (StatusCode::FORBIDDEN, "the Origin is not allowed\n").into_response()
}

async fn read(visit: Visit) -> Response {
    let request = visit.request().clone();
    let wanted = match Wanted::of(&request) {
        Ok(wanted) => wanted,
        Err(words) => return (StatusCode::BAD_REQUEST, words).into_response(),
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
    /// all, in order, with commas between. An error is for the person who writes the client.
    fn of(request: &Request) -> Result<Self, String> {
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
        check(&streams)?;
        if let Some(last) = request.header("last-event-id") {
            for ((_, at), place) in streams.iter_mut().zip(last.split(',')) {
                *at = Some(place.trim().to_owned());
            }
        }
        Ok(Self { streams, wait })
    }
}

/// Says what is wrong before anybody is asked about any of them.
fn check(streams: &[(String, Option<String>)]) -> Result<(), String> {
    if streams.is_empty() {
        return Err("which stream? name it with ?join=, or open a WebSocket\n".to_owned());
    }
    if streams.len() > STREAMS_MAX {
        return Err(format!("at most {STREAMS_MAX} streams can be joined at once\n"));
    }
    let mut names = HashSet::new();
    for (name, _) in streams {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(format!("a stream's name is a text of 1 to {NAME_BYTES_MAX} bytes\n"));
        }
        if !names.insert(name) {
            return Err(format!("{name:?} is joined twice\n"));
        }
    }
    Ok(())
}

fn refuse(error: &Error) -> Response {
    let status = error.status_code();
    if status.is_server_error() {
        tracing::error!(%error, "reading a ticket failed");
    }
    (status, [(header::CACHE_CONTROL, "no-store")], Body::from(format!("{error}\n")))
        .into_response()
}
