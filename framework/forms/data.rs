//! The fields of a posted form.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::conf;
use crate::error::{Error, Result};
use crate::site::Site;

/// The fields of a form, each with the values it was sent with, in order (Django's `QueryDict`).
/// As an extractor it reads the body of the request; without a form body it is empty.
///
/// In templates a field is its last value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormData(BTreeMap<String, Vec<String>>);

impl FormData {
    /// Reads `application/x-www-form-urlencoded` text of at most `fields_max` fields.
    ///
    /// # Errors
    /// There are more fields (400).
    pub fn parse(body: &[u8], fields_max: usize) -> Result<Self> {
        let mut fields = BTreeMap::<String, Vec<String>>::new();
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (count, pair) in pairs.enumerate() {
            if count == fields_max {
                let message = format!("the form has more than {fields_max} fields");
                return Err(Error::status(StatusCode::BAD_REQUEST, message));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default());
            let value = decode(halves.next().unwrap_or_default());
            fields.entry(name).or_default().push(value);
        }
        Ok(Self(fields))
    }

    /// The last value of `field`.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.last().map(String::as_str)
    }

    /// All values of `field`, in order.
    #[must_use]
    pub fn all(&self, field: &str) -> &[String] {
        self.0.get(field).map_or(&[], Vec::as_slice)
    }

    /// Replaces the values of `field` by one.
    pub fn set(&mut self, field: &str, value: impl Into<String>) {
        self.0.insert(field.to_owned(), vec![value.into()]);
    }

    /// Forgets `field`: a password must not travel back into a page.
    pub fn remove(&mut self, field: &str) {
        self.0.remove(field);
    }

    async fn read(request: Request, limits: &conf::Http) -> Result<Self> {
        if !is_form(&request) {
            return Ok(Self::default());
        }
        let bytes_max = limits.data_upload_max_memory_size;
        let body = Limited::new(request.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => {
                let message = format!("the form is longer than {bytes_max} bytes");
                Error::status(StatusCode::PAYLOAD_TOO_LARGE, message)
            }
            Err(error) => {
                let message = format!("the form could not be read: {error}");
                Error::status(StatusCode::BAD_REQUEST, message)
            }
        })?;
        Self::parse(&body.to_bytes(), limits.data_upload_max_number_fields)
    }
}

/// Whether the request carries an urlencoded form.
fn is_form(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    let essence = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    request.method() == Method::POST
        && essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// `+` is a space; bytes that are no UTF-8 become U+FFFD, as in a browser.
fn decode(text: &[u8]) -> String {
    let text: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&text).decode_utf8_lossy().into_owned()
}

impl FromRequest<Site> for FormData {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> std::result::Result<Self, Response> {
        let data = Self::read(request, &site.settings().http).await;
        data.map_err(IntoResponse::into_response)
    }
}

impl Serialize for FormData {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for name in self.0.keys() {
            map.serialize_entry(name, &self.get(name))?;
        }
        map.end()
    }
}
