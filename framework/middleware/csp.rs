//! `Content-Security-Policy`: a script that somebody managed to write into a page does not run.
//!
//! Flow: a template asks for `{{ csp_nonce }}` → the nonce is made beside the request → on the way
//! out the policy of the line, or that of the settings, is sent with it.
//!
//! Invariants:
//! - A nonce is never used for two answers, and is in the header only if it is in the page.
//! - What a view has set itself stays.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::conf::{self, ContentPolicy};
use crate::http::Request;
use crate::signing::random_string;
use crate::urls::{Line, Route};

/// Characters of a nonce, 62 to choose from: 190 bits (CSP 3 wants 128).
const NONCE_CHARS: usize = 32;

/// The nonce of one request, beside it.
#[derive(Debug)]
struct Nonce(String);

/// The policies of the settings.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    enforced: Prepared,
    reported: Prepared,
}

/// A policy, and its header for the many answers that have no nonce.
#[derive(Clone, Debug)]
struct Prepared {
    policy: ContentPolicy,
    plain: Option<HeaderValue>,
}

/// What a line says in place of the settings.
#[derive(Clone, Debug)]
struct Enforced(Prepared);

#[derive(Clone, Debug)]
struct Reported(Prepared);

impl Request {
    /// The nonce of this request's answer, for a script or style in the page itself:
    /// `<script nonce="{{ csp_nonce }}">`. `None` for a request that did not come through the
    /// stack.
    #[must_use]
    pub fn csp_nonce(&self) -> Option<&str> {
        self.keep(|_| Nonce(random_string(NONCE_CHARS))).map(|nonce| nonce.0.as_str())
    }
}

impl Policies {
    pub(super) fn of(settings: &conf::Security) -> Self {
        let enforced = Prepared::new(settings.csp.clone());
        Self { enforced, reported: Prepared::new(settings.csp_report_only.clone()) }
    }

    /// Adds those of the settings, as they are without a nonce.
    pub(super) fn add_usual(&self, headers: &mut HeaderMap) {
        self.enforced.put(CONTENT_SECURITY_POLICY, None, headers);
        self.reported.put(CONTENT_SECURITY_POLICY_REPORT_ONLY, None, headers);
    }

    /// Puts others in their place, where the line or a nonce asks for it.
    pub(super) fn change(&self, request: &Request, line: Option<&Line>, headers: &mut HeaderMap) {
        let nonce = request.beside().and_then(|beside| beside.made::<Nonce>());
        let nonce = nonce.map(|nonce| nonce.0.as_str());
        let own = line.and_then(Line::attached::<Enforced>).map(|own| &own.0);
        if own.is_some() || nonce.is_some() {
            own.unwrap_or(&self.enforced).put(CONTENT_SECURITY_POLICY, nonce, headers);
        }
        let own = line.and_then(Line::attached::<Reported>).map(|own| &own.0);
        if own.is_some() || nonce.is_some() {
            let policy = own.unwrap_or(&self.reported);
            policy.put(CONTENT_SECURITY_POLICY_REPORT_ONLY, nonce, headers);
        }
    }
}

impl Prepared {
    fn new(policy: ContentPolicy) -> Self {
        let plain = header(&policy, None);
        Self { policy, plain }
    }

    fn put(&self, name: HeaderName, nonce: Option<&str>, headers: &mut HeaderMap) {
        let value = match nonce {
            None => self.plain.clone(),
            nonce => header(&self.policy, nonce),
        };
        match value {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
}

fn header(policy: &ContentPolicy, nonce: Option<&str>) -> Option<HeaderValue> {
    if policy.is_empty() {
        return None;
    }
    // A policy holds visible ASCII only.
    HeaderValue::try_from(policy.text(nonce)).ok()
}

impl Route {
    /// Gives the page a policy of its own in place of `security.csp`;
    /// [`ContentPolicy::none`](crate::conf::ContentPolicy::none) exempts it. Of an include: all
    /// lines in it that say nothing themselves.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// use hulse::conf::ContentPolicy;
    /// use hulse::conf::csp::SELF;
    /// # async fn map() -> &'static str { "" }
    /// let tiles = ContentPolicy::strict().directive("img-src", [SELF, "https://tiles.example"]);
    /// let urls = Urls::new([path("map/", map).csp_override(tiles)]);
    /// ```
    #[must_use]
    pub fn csp_override(self, policy: ContentPolicy) -> Self {
        self.attach(Enforced(Prepared::new(policy)))
    }

    /// Gives the page a policy of its own in place of `security.csp_report_only`.
    #[must_use]
    pub fn csp_report_only_override(self, policy: ContentPolicy) -> Self {
        self.attach(Reported(Prepared::new(policy)))
    }
}
