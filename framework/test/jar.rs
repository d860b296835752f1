//! The cookies a client holds.

use std::collections::BTreeMap;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use tower_sessions::cookie::Cookie;
use tower_sessions::cookie::time::{Duration, OffsetDateTime};

/// Cookies by name; one host, one path, as a test needs it.
#[derive(Debug, Default)]
pub(super) struct Jar(BTreeMap<String, String>);

impl Jar {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Does what the `Set-Cookie` lines say.
    pub(super) fn obey(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let Some(cookie) = line.to_str().ok().and_then(|text| Cookie::parse(text).ok()) else {
                continue;
            };
            let dead = match (cookie.max_age(), cookie.expires_datetime()) {
                (Some(age), _) => age <= Duration::ZERO,
                (None, Some(date)) => date <= OffsetDateTime::now_utc(),
                (None, None) => false,
            };
            if dead {
                self.remove(cookie.name());
            } else {
                self.set(cookie.name(), cookie.value());
            }
        }
    }

    /// The `Cookie` header, if there is something to send.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let header = HeaderValue::try_from(pairs.join("; ")).expect("cookies are header text");
        (!pairs.is_empty()).then_some(header)
    }
}
