//! What a worker adds in development: a script for every page, and the socket it listens to.

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
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
        Some(Self::new(release))
    }

    pub(super) fn new(release: String) -> Self {
        let tag = format!("<script src=\"{SCRIPT}?{release}\" async></script>\n").into();
        Self { release, tag }
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

    /// Whether the answer will be a page of its own, and not what a script fetches: browsers say
    /// so where they trust the address (HTTPS, localhost); elsewhere a page is what is asked for as
    /// HTML.
    pub(in crate::server) fn is_wanted(&self, asked: &HeaderMap) -> bool {
        match asked.get("sec-fetch-dest") {
            Some(wanted) => wanted == "document",
            None => text(asked, &ACCEPT).contains("text/html"),
        }
    }

    /// Takes out of such a request what would keep the page from being marked: answers without a
    /// body, for which a browser shows the page of an earlier release, and packed ones.
    pub(in crate::server) fn ask_whole(&self, asked: &mut HeaderMap) {
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, ACCEPT_ENCODING] {
            asked.remove(name);
        }
    }

    /// Puts the script behind a page: nothing has to be read for that, streams included, and
    /// browsers take it as the last of the body.
    pub(in crate::server) fn mark(&self, is_head: bool, response: Response) -> Response {
        if !is_page(&response) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let named = text(&parts.headers, &CONTENT_LENGTH).parse::<u64>().ok();
        // A HEAD's may have been left out already: its own length says nothing then.
        let exact = body.size_hint().exact().filter(|bytes| !is_head || *bytes > 0);
        let headers = &mut parts.headers;
        for name in [ETAG, LAST_MODIFIED, CONTENT_LENGTH] {
            headers.remove(name);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(bytes) = named.or(exact) {
            headers.insert(CONTENT_LENGTH, (bytes + self.tag.len() as u64).into());
        }
        if is_head {
            return Response::from_parts(parts, Body::empty());
        }
        let tag = stream::iter([Ok(self.tag.clone())]);
        Response::from_parts(parts, Body::from_stream(body.into_data_stream().chain(tag)))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether a browser shows it, from its beginning to its end, and reads the script's element as
/// that.
fn is_page(response: &Response) -> bool {
    let (status, headers) = (response.status(), response.headers());
    let kind = text(headers, &CONTENT_TYPE).to_ascii_lowercase();
    let (kind, more) = kind.split_once(';').unwrap_or((&kind, ""));
    let is_wide = ["utf-16", "utf-32"].iter().any(|charset| more.contains(charset));
    let is_file = text(headers, &CONTENT_DISPOSITION).trim_start().starts_with("attachment");
    let is_whole = !matches!(status, StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT)
        && !status.is_redirection()
        && !status.is_informational();
    let is_packed = headers.contains_key(CONTENT_ENCODING);
    kind.trim() == "text/html" && is_whole && !is_wide && !is_file && !is_packed
}

/// A page that is open somewhere.
struct Follower {
    release: String,
}

impl Consumer for Follower {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        // First the group, then what was said before: nothing lies between.
        let start = self.release.rsplit_once('-').map_or("", |(start, _)| start);
        let name = format!("{NAME}{start}");
        socket.join(&name).await?;
        socket.accept().await?;
        let last = socket.values().get(&name).await?;
        let last = last.and_then(|last| serde_json::from_slice::<News>(&last.bytes).ok());
        let mut news = json!(last.unwrap_or_default());
        news["release"] = self.release.as_str().into();
        socket.send_json(&news).await
    }
}
