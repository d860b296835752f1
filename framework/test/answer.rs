//! What came back, and what a test says about it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// How much of a page a failing assertion shows, characters.
const SHOWN_CHARS_MAX: usize = 2000;

/// An answer, its body read.
#[derive(Clone)]
pub struct Answer {
    pub(super) asked: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) error: Option<Arc<Error>>,
}

impl Answer {
    /// The status, as a number.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first header of this name; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Every `Set-Cookie` line.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(http::header::SET_COOKIE);
        lines.iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// It is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body read as JSON.
    ///
    /// # Panics
    /// It is no JSON, or not of this shape.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => fail(&format!("{error} in {self:?}")),
        }
    }

    /// The error the view returned, if that is why the answer is as it is.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_deref()
    }

    /// Fails unless the status is this one.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    pub fn assert_status(&self, expected: u16) -> &Self {
        assert!(self.status() == expected, "expected status {expected} of {self:?}");
        self
    }

    /// Fails unless the status is 200 and the body contains `text`.
    ///
    /// # Panics
    /// It is not so.
    #[track_caller]
    pub fn assert_contains(&self, text: &str) -> &Self {
        self.assert_status(200);
        assert!(self.text().contains(text), "expected {text:?} in {self:?}");
        self
    }

    /// Fails unless the status is 200 and the body does not contain `text`.
    ///
    /// # Panics
    /// It is not so.
    #[track_caller]
    pub fn assert_not_contains(&self, text: &str) -> &Self {
        self.assert_status(200);
        assert!(!self.text().contains(text), "did not expect {text:?} in {self:?}");
        self
    }

    /// Fails unless it redirects to `url`.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn assert_redirects(&self, url: &str) -> &Self {
        let leads = self.status.is_redirection() && self.header(LOCATION.as_str()) == url;
        assert!(leads, "expected a redirect to {url} of {self:?}");
        self
    }
}

/// Fails the test.
#[track_caller]
#[expect(clippy::panic, reason = "that is how a test fails")]
pub(super) fn fail(message: &str) -> ! {
    panic!("{message}")
}

/// The exchange, for a person who has to find out what went wrong.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.asked, self.status)?;
        if let Some(error) = &self.error {
            writeln!(f, "because: {error}")?;
        }
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        let text = String::from_utf8_lossy(&self.body);
        // A page's head says nothing about what went wrong.
        let text = text.find("<body").map_or(&*text, |at| &text[at..]);
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        let more = if shown.len() < text.len() { ".." } else { "" };
        write!(f, "\n{shown}{more}")
    }
}
