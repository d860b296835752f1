//! A URL without its final slash leads to the one that has it.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, header};

use crate::conf::Settings;
use crate::error::Error;
use crate::urls::Resolver;

/// The way to the URL with a final slash, if nothing answers at the one without.
#[derive(Debug)]
pub struct Slashed {
    target: String,
    method: Method,
}

impl Slashed {
    /// Where nothing is in the table at `/polls` but `/polls/` is: the way there.
    #[must_use]
    pub fn of(settings: &Settings, resolver: &Resolver, request: &Parts) -> Option<Self> {
        let path = request.uri.path();
        if !settings.http.append_slash || path.ends_with('/') {
            return None;
        }
        let slashed = format!("{path}/");
        resolver.resolve(&slashed)?;
        Some(Self { target: target(&slashed, &request.uri), method: request.method.clone() })
    }

    /// What is answered in place of `response`: 301 if that is a 404.
    #[must_use]
    pub fn instead(self, settings: &Settings, response: Response) -> Response {
        if response.status() != StatusCode::NOT_FOUND {
            return response;
        }
        let Self { target, method } = self;
        if settings.debug && [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            // The redirect would be a GET: in debug say it, before somebody misses the form.
            return Error::new(format!(
                "{method} to a URL without its final slash: a redirect would lose the form; send \
                 it to {target:?}, or set http.append_slash to false"
            ))
            .into_response();
        }
        match HeaderValue::try_from(target) {
            Ok(target) => {
                (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, target)]).into_response()
            }
            Err(error) => Error::from(error).into_response(),
        }
    }
}

fn target(path: &str, uri: &Uri) -> String {
    // Two slashes in front would lead to another host.
    let path = match path.strip_prefix("//") {
        Some(rest) => format!("/%2F{rest}"),
        None => path.to_owned(),
    };
    uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
}
