//! The one view.

use axum::body::Bytes;
use axum::extract::{FromRequest, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::message::{Batch, Outgoing, Refused, read};
use super::{Publish, Token};
use crate::channels::Position;
use crate::error::Result;
use crate::http::Json;
use crate::site::Site;

/// Takes one message, or a list of them: `{"group": "liveblog", "data": {"id": 7}}`, and
/// `"key"` if it may be sent twice.
///
/// Answers with the position of each in its group: `{"position": "5-1"}`, `{"positions": [..]}`.
pub(super) async fn publish(State(site): State<Site>, request: axum::extract::Request) -> Response {
    let publish = site.settings().section::<Publish>();
    let sender = bearer(request.headers()).map(|token| publish.sender(token));
    let sender = match sender {
        Some(Some(sender)) => sender,
        None => return unknown("Bearer", "an Authorization header with a Bearer token is needed"),
        Some(None) => {
            tracing::warn!(path = request.uri().path(), "refused an unknown publish token");
            return unknown("Bearer error=\"invalid_token\"", "the token is not known");
        }
    };
    if !is_json(request.headers()) {
        let words = "Content-Type must be application/json".to_owned();
        return refuse(&Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    match take(&site, request, sender, &publish).await {
        Ok(batch) => send(&site, batch, sender).await,
        Err(refused) => refuse(&refused),
    }
}

async fn take(
    site: &Site,
    request: axum::extract::Request,
    sender: &Token,
    publish: &Publish,
) -> Result<Batch, Refused> {
    let body = Bytes::from_request(request, site).await;
    let body = body.map_err(|refused| Refused(refused.status(), refused.body_text()))?;
    let max = publish.body_bytes_max;
    if body.len() > max {
        let words = format!("a body of {} bytes: at most {max} are read", body.len());
        return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    read(&body, sender, publish, site.settings())
}

async fn send(site: &Site, batch: Batch, sender: &Token) -> Response {
    let mut positions = Vec::with_capacity(batch.messages.len());
    for outgoing in batch.messages {
        match send_one(site, outgoing).await {
            Ok(position) => positions.push(position),
            Err(error) => {
                tracing::error!(%error, sender = sender.name, "publishing for another system");
                let status = error.status_code();
                // What is sent already stays sent: with a key it may be sent again all the same.
                let words = json!({ "error": "not everything was sent", "positions": positions });
                return (status, Json(words)).into_response();
            }
        }
    }
    tracing::debug!(sender = sender.name, count = positions.len(), "published");
    match (&positions[..], batch.is_list) {
        ([position], false) => Json(json!({ "position": position })).into_response(),
        _ => Json(json!({ "positions": positions })).into_response(),
    }
}

async fn send_one(site: &Site, outgoing: Outgoing) -> Result<Position> {
    let Outgoing { group, message, key } = outgoing;
    match key {
        Some(key) => site.layer().publish_once(&group, &key, message).await,
        None => site.layer().publish(&group, message).await,
    }
}

/// The token of the one `Authorization` header there is.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn unknown(challenge: &'static str, words: &str) -> Response {
    let mut response = refuse(&Refused(StatusCode::UNAUTHORIZED, words.to_owned()));
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn refuse(Refused(status, words): &Refused) -> Response {
    (*status, Json(json!({ "error": words }))).into_response()
}
