//! The fields of a posted form.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::{Error, Result};
use crate::http::{check_field_count, pairs};
use crate::site::Site;

/// The fields of a form, each with the values it was sent with, in order (Django's `QueryDict`).
/// As an extractor it reads the body of the request; without a form body it is empty.
///
/// In templates a field is its last value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormData(BTreeMap<String, Vec<String>>);

impl FormData {
    /// Reads `application/x-www-form-urlencoded` text.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut fields = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs(body) {
            fields.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Self(fields)
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

impl FromRequest<Site> for FormData {
    type Rejection = Error;

    async fn from_request(request: Request, site: &Site) -> Result<Self> {
        if !is_form(&request) {
            return Ok(Self::default());
        }
        let body = Bytes::from_request(request, site).await;
        let body = body.map_err(|refused| Error::status(refused.status(), refused.body_text()))?;
        check_field_count(site.settings(), &body)?;
        Ok(Self::parse(&body))
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
