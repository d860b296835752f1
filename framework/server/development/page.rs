//! What a worker adds in development: a script for every page, and the socket it listens to.

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{NAME, News};
use crate::error::Result;
use crate::site::Site;
use crate::sockets::{Consumer, Socket, upgrade};

/// Where the script is. It cannot lie below `static.url`: a site need not serve static files.
const SCRIPT: &str = "/__hulse__/development.js";

/// Where its socket is.
const SOCKET: &str = "/__hulse__/development.js/news";

const SCRIPT_TEXT: &str = include_str!("page.js");

/// Which start of the site a page comes from, and which reload of it. The worker is told.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Release(pub(in crate::server) String);

/// What goes into pages.
#[derive(Clone, Debug)]
pub(in crate::server) struct Page {
    release: String,
    /// The script's element.
    tag: Bytes,
}

impl Page {
    /// `None` outside development.
    pub(in crate::server) fn of(site: &Site) -> Option<Self> {
        let settings = site.settings();
        // `conf` refuses the one without the other.
        if !(settings.debug && settings.server.reload) {
            return None;
        }
        let release = site.kept::<Release>().map(|release| release.0.clone()).unwrap_or_default();
        let tag = format!("<script src=\"{SCRIPT}?{release}\" async></script>\n").into();
        Some(Self { release, tag })
    }

    /// Whether the request is for the script or its socket.
    pub(in crate::server) fn has(&self, path: &str) -> bool {
        path == SCRIPT || path == SOCKET
    }

    /// Answers it.
    pub(in crate::server) async fn answer(&self, site: Site, parts: Parts, body: Body) -> Response {
        if parts.uri.path() == SOCKET {
            let follower = Follower { release: self.release.clone() };
            let request = axum::extract::Request::from_parts(parts, body);
            return upgrade(site, request, move || follower).await;
        }
        let headers =
            [(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        (headers, SCRIPT_TEXT).into_response()
    }

    /// Whether the answer will be a page of its own: browsers say so, and what a script fetches is
    /// left as it is.
    pub(in crate::server) fn is_wanted(&self, asked: &HeaderMap) -> bool {
        asked.get("sec-fetch-dest").is_none_or(|wanted| wanted == "document")
    }

    /// Puts the script behind a page: nothing has to be read for that, streams included, and
    /// browsers take it as the last of the body.
    pub(in crate::server) fn mark(&self, response: Response) -> Response {
        let headers = response.headers();
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_html = kind.is_some_and(|kind| kind.starts_with("text/html"));
        let is_bare =
            matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !is_html || is_bare || headers.contains_key(CONTENT_ENCODING) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(CONTENT_LENGTH);
        if let Some(bytes) = body.size_hint().exact() {
            parts.headers.insert(CONTENT_LENGTH, (bytes + self.tag.len() as u64).into());
        }
        let tag = stream::iter([Ok(self.tag.clone())]);
        Response::from_parts(parts, Body::from_stream(body.into_data_stream().chain(tag)))
    }
}

/// A page that is open somewhere.
struct Follower {
    release: String,
}

impl Consumer for Follower {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        // First the group, then what was said before: nothing lies between.
        socket.join(NAME).await?;
        socket.accept().await?;
        let last = socket.values().get(NAME).await?;
        let last = last.and_then(|last| serde_json::from_slice::<News>(&last.bytes).ok());
        let mut news = json!(last.unwrap_or_default());
        news["release"] = self.release.as_str().into();
        socket.send_json(&news).await
    }
}
