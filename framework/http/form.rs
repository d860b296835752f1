//! `application/x-www-form-urlencoded`, as browsers send it.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::extract::FromRequest;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;

use super::{bad_request, remote_address, too_large, whole_form};
use crate::conf::Settings;
use crate::error::{Error, Result};
use crate::site::Site;

/// The form of a POST (of a GET: the query) as the view's own type.
///
/// Larger than `http.data_upload_max_memory_size` it is answered with 413, with more fields than
/// `http.data_upload_max_number_fields` or a field that does not fit with 400.
#[derive(Clone, Copy, Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Site> for Form<T> {
    type Rejection = Error;

    async fn from_request(request: axum::extract::Request, site: &Site) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let form = whole_form(site, remote_address(&parts.extensions), body).await?;
        check_field_count(site.settings(), &form)?;
        let request = axum::extract::Request::from_parts(parts, Body::from(form));
        match axum::extract::Form::from_request(request, site).await {
            Ok(axum::extract::Form(value)) => Ok(Self(value)),
            // axum tells a wrong field apart as 422; Django's forms know only 400.
            Err(refused) if refused.status() == StatusCode::UNPROCESSABLE_ENTITY => {
                Err(bad_request(refused.body_text()))
            }
            Err(refused) => Err(Error::status(refused.status(), refused.body_text())),
        }
    }
}

/// Refuses (400) an urlencoded form with more fields than the settings allow.
pub(crate) fn check_field_count(settings: &Settings, form: &[u8]) -> Result<()> {
    let limit = settings.http.data_upload_max_number_fields;
    if form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).count() > limit {
        return Err(bad_request(format!(
            "the form has more fields than http.data_upload_max_number_fields, {limit}"
        )));
    }
    Ok(())
}

/// Refuses (413) a body that says it is longer than the settings allow before any of it is read,
/// unless it may hold files. What says nothing is counted when it is read.
pub(crate) fn check_length(settings: &Settings, headers: &HeaderMap) -> Result<()> {
    let limit = settings.http.data_upload_max_memory_size;
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    if length.is_none_or(|length: usize| length <= limit) {
        return Ok(());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("text/plain").split(';').next().unwrap_or_default().trim();
    let is_text = ["application/x-www-form-urlencoded", "application/json"].contains(&kind);
    if is_text || kind.starts_with("text/") { Err(too_large(limit)) } else { Ok(()) }
}

/// The next bytes of a body; `None` at its end.
pub(crate) async fn next_data(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| bad_request(format!("reading the form: {error}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The `boundary` of a `Content-Type`'s parameters; 1 to 70 characters (RFC 2046 §5.1.1).
pub(crate) fn boundary(parameters: &str) -> Option<String> {
    let named = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut found = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let value = found.next()?.1.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (1..=70).contains(&value.len()).then(|| value.to_owned())
}

/// The names and values of a query or of an urlencoded body, decoded; bytes that are no UTF-8
/// become U+FFFD.
pub fn pairs(encoded: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (decode(&pair[..equals]), decode(pair.get(equals + 1..).unwrap_or(b"")))
    })
}

fn decode(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'+') {
        return percent_decode(text).decode_utf8_lossy();
    }
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaced).decode_utf8_lossy().into_owned())
}
