//! A URL without its final slash leads to the one that has it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, header};

use crate::error::Error;
use crate::site::Site;
use crate::urls::Resolver;

/// Where nothing answers at `/polls` but `/polls/` is in the table: 301 to it.
pub async fn slash(State(site): State<Site>, request: Request, next: Next) -> Response {
    let settings = site.settings();
    let slashed = settings.http.append_slash.then(|| slashed(&request)).flatten();
    let method = request.method().clone();
    let response = next.run(request).await;
    let Some(target) = slashed.filter(|_| response.status() == StatusCode::NOT_FOUND) else {
        return response;
    };
    if settings.debug && [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
        // The redirect would be a GET: in debug say it, before somebody looks for the lost form.
        return Error::new(format!(
            "{method} to a URL without its final slash: a redirect would lose the form; send it to \
             {target:?}, or set http.append_slash to false"
        ))
        .into_response();
    }
    match HeaderValue::try_from(target) {
        Ok(target) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, target)]).into_response(),
        Err(error) => Error::from(error).into_response(),
    }
}

/// The target with a slash behind its path, if only that one is in the table.
fn slashed(request: &Request) -> Option<String> {
    let path = request.uri().path();
    if path.ends_with('/') || request.extensions().get::<crate::urls::Matched>().is_some() {
        return None;
    }
    let resolver = request.extensions().get::<Resolver>()?;
    let slashed = format!("{path}/");
    resolver.resolve(&slashed)?;
    Some(target(&slashed, request.uri()))
}

fn target(path: &str, uri: &Uri) -> String {
    // Two slashes in front would lead to another host.
    let path = match path.strip_prefix("//") {
        Some(rest) => format!("/%2F{rest}"),
        None => path.to_owned(),
    };
    uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
}
