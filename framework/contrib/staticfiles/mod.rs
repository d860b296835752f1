//! Static files: style sheets, scripts, images.
//!
//! Flow: [`StaticFiles::of`] notes the folders and the embedded files, once →
//! [`StaticFiles::serve`], a piece of the stack, answers what lies below
//! `settings.static_files.url` → `settings` folders, the project's `static/`, then what the
//! project, its apps and the framework embed; first wins.
//!
//! Invariants:
//! - Nothing outside a `static/` folder is ever read, whatever the path says or links point to.
//! - A bad path is a 404, never a 500. Folders and hidden files are 404.
//! - Disk is read off the runtime's thread, a large file in pieces.

mod content_type;
mod disk;
mod embedded;
mod path;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::apps::{App as Install, Assets, Project};
use crate::error::{Error, Result};
use crate::site::Site;
use disk::Folder;
use embedded::Embedded;

/// The app to install: with it, static files are served.
#[derive(Clone, Copy, Debug)]
pub struct App;

impl Install for App {
    fn label(&self) -> &'static str {
        "staticfiles"
    }
}

/// The static files the framework ships: `hulse/hulse.js`.
#[derive(rust_embed::RustEmbed)]
#[folder = "static"]
#[prefix = "static/"]
struct Own;

/// Where a site's static files are. A cheap clone.
#[derive(Clone, Debug)]
pub struct StaticFiles(Arc<Places>);

#[derive(Debug, Default)]
struct Places {
    /// With both slashes; empty if nothing is served.
    url: String,
    folders: Vec<Folder>,
    embedded: Embedded,
}

/// A file found: what its headers say, and its bytes.
struct Found {
    etag: String,
    /// As HTTP writes dates; embedded files have none.
    modified: Option<String>,
    length: u64,
    body: Body,
}

impl StaticFiles {
    /// The files of `project`; none if it has not installed the app.
    #[must_use]
    pub fn of(project: &Project, site: &Site) -> Self {
        let settings = site.settings();
        if !project.apps().iter().any(|app| app.label() == App.label()) {
            return Self(Arc::default());
        }
        let named = settings.static_files.dirs.iter().map(|path| settings.resolve(path));
        let folders = named.chain([project.folder().join("static")]).map(Folder::new).collect();
        let assets = std::iter::once(project.embedded())
            .chain(project.apps().iter().map(|app| app.assets()))
            .chain([Assets::of::<Own>()]);
        let embedded = Embedded::of(assets);
        let url = settings.static_files.url.clone();
        Self(Arc::new(Places { url, folders, embedded }))
    }

    /// The path below the URL, if it is one of ours.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.0.url.is_empty() { None } else { path.strip_prefix(&self.0.url) }
    }

    async fn find(&self, path: &str) -> Result<Option<Found>> {
        for folder in &self.0.folders {
            if let Some(found) = folder.find(path).await? {
                return Ok(Some(found));
            }
        }
        Ok(self.0.embedded.find(path))
    }

    async fn answer(&self, raw: &str, method: &Method, asked: &HeaderMap) -> Result<Response> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allowed = [(ALLOW, HeaderValue::from_static("GET, HEAD"))];
            return Ok((StatusCode::METHOD_NOT_ALLOWED, allowed).into_response());
        }
        let missing = || Error::status(StatusCode::NOT_FOUND, "there is no such static file");
        let path = path::clean(raw).ok_or_else(missing)?;
        let found = self.find(&path).await?.ok_or_else(missing)?;
        respond(&path, found, method, asked)
    }
}

impl StaticFiles {
    /// The answer to a request for a static file; `None` to any other.
    pub async fn serve(&self, request: &Parts) -> Option<Response> {
        let raw = self.below(request.uri.path())?;
        let answer = Box::pin(self.answer(raw, &request.method, &request.headers)).await;
        Some(answer.unwrap_or_else(IntoResponse::into_response))
    }
}

fn respond(path: &str, found: Found, method: &Method, asked: &HeaderMap) -> Result<Response> {
    let unchanged = is_unchanged(&found, asked);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::try_from(found.etag)?);
    if let Some(modified) = found.modified {
        headers.insert(LAST_MODIFIED, HeaderValue::try_from(modified)?);
    }
    // Names carry no hash yet, so a browser has to ask each time; the answer is mostly a 304.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type::of(path)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(found.length));
    if method == Method::GET {
        *response.body_mut() = found.body;
    }
    Ok(response)
}

/// Whether the client has this very file. A tag it names outranks a date (RFC 9110 §13.2.2).
fn is_unchanged(found: &Found, asked: &HeaderMap) -> bool {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(tags) = text(IF_NONE_MATCH) {
        let same = |tag: &str| tag.trim().trim_start_matches("W/") == found.etag;
        return tags.trim() == "*" || tags.split(',').any(same);
    }
    // Browsers send back the very text they got, so no date needs to be read.
    found.modified.is_some() && text(IF_MODIFIED_SINCE) == found.modified.as_deref()
}

#[cfg(test)]
mod tests;
