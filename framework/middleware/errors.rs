//! From an error to a page: helpful in debug, saying nothing outside it.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::{RequestId, debug_page};
use crate::context;
use crate::error::Error;
use crate::http::{PageName, Request, render_to_string};

/// In the extensions of an answer that has its page already.
#[derive(Clone)]
struct Shown;

/// Turns an answer to `seen` that carries an [`Error`], or a bare status from 400 on, into a page.
///
/// It stands in the list twice: innermost, where the session and user are there for the site's
/// `404.html`, and outside, for what the middleware refuses.
pub async fn errors(seen: &Request, response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if response.extensions().get::<Shown>().is_some() {
        return response;
    }
    match error_of(&response) {
        Some(error) => Box::pin(shown(seen, response, &error)).await,
        None => response,
    }
}

/// The error an answer carries. A bare status is one without words: a 405, say.
fn error_of(response: &Response) -> Option<Arc<Error>> {
    if let Some(error) = response.extensions().get::<Arc<Error>>() {
        return Some(Arc::clone(error));
    }
    let is_bare = response.body().size_hint().exact() == Some(0);
    is_bare.then(|| Arc::new(Error::status(response.status(), "")))
}

async fn shown(request: &Request, response: Response, error: &Error) -> Response {
    let status = response.status();
    let page = response.extensions().get::<PageName>().copied();
    let name = page.map_or_else(|| status.as_str().to_owned(), |page| page.0.to_owned());
    record(request, status, error);
    let (kind, text) = match (accepts_html(request), request.settings().debug) {
        (true, true) => ("text/html; charset=utf-8", debug_page::html(request, status, error)),
        (false, true) => ("text/plain; charset=utf-8", debug_page::text(request, status, error)),
        (true, false) => match page_of_site(request, status, &name).await {
            Some(page) => ("text/html; charset=utf-8", page),
            None => ("text/plain; charset=utf-8", plain(status)),
        },
        (false, false) => ("text/plain; charset=utf-8", plain(status)),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    parts.extensions.insert(Shown);
    Response::from_parts(parts, Body::from(text))
}

/// The one place where an error is logged.
fn record(request: &Request, status: StatusCode, error: &Error) {
    let (status, path) = (status.as_u16(), request.path());
    let words = format!("{error}").replace(char::is_control, " ");
    match status {
        500.. => tracing::error!(target: "hulse::request", status, path, "{words}"),
        _ => tracing::warn!(target: "hulse::request", status, path, "{words}"),
    }
}

/// The site's own `404.html` if it has one, else the framework's.
async fn page_of_site(request: &Request, status: StatusCode, name: &str) -> Option<String> {
    let templates = request.site().templates();
    let candidates = [
        format!("{name}.html"),
        format!("{}.html", status.as_str()),
        format!("errors/{name}.html"),
        format!("errors/{}.html", status.as_str()),
        "errors/error.html".to_owned(),
    ];
    for candidate in candidates.iter().filter(|candidate| templates.has(candidate)) {
        let mut context = context! {
            status: status.as_u16(),
            reason: status.canonical_reason().unwrap_or("Error"),
            // What a visitor can quote, and the log has too.
            request_id: request.extension::<RequestId>().map(|id| id.0.to_string()),
        };
        if templates.mentions(candidate, "csp_nonce") {
            context.insert("csp_nonce", &request.csp_nonce());
        }
        // After a server error nothing is asked of the database any more.
        let rendered = match status.is_server_error() {
            true => templates.render(candidate, &context),
            false => render_to_string(request, candidate, context).await,
        };
        match rendered {
            Ok(page) => return Some(page),
            Err(error) => tracing::error!(%error, "an error page cannot be shown"),
        }
    }
    None
}

fn plain(status: StatusCode) -> String {
    format!("{}\n", status.canonical_reason().unwrap_or("Error"))
}

/// Whether the client takes HTML; one that does not say so takes anything.
fn accepts_html(request: &Request) -> bool {
    let Some(accept) = request.header("accept") else { return true };
    accept.split(',').any(|range| {
        let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
        let refused = parameters.split(';').any(|parameter| {
            parameter.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>() == Ok(0.0))
        });
        !refused && matches!(kind.trim(), "text/html" | "text/*" | "*/*" | "application/xhtml+xml")
    })
}
