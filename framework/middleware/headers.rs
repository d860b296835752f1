//! Headers that tell the browser to be careful, and the way from http to https.
//!
//! Flow: the settings are made into headers once a process → a request over http is led to https →
//! every answer gets what neither its view nor its line in the table has decided.

use axum::response::{IntoResponse, Response};
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, LOCATION, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use regex::RegexSet;

use super::csp::Policies;
use crate::conf;
use crate::error::Error;
use crate::http::{Request, Secure};
use crate::urls::{Line, Matched, Route};

/// Places that a copy of the usual headers has for those that come to them, the view's and the
/// request's id: a copied map has no room, and to grow costs more than the copy. Empty ones go.
const ROOM: [HeaderName; 2] = [CONTENT_TYPE, CONTENT_LENGTH];

/// What the settings ask for, ready to be sent.
#[derive(Clone, Debug)]
pub struct Security {
    /// What a usual answer gets, over http and https, and [`ROOM`].
    usual: HeaderMap,
    /// `Strict-Transport-Security`: over http browsers ignore it, as anybody could have added it.
    hsts: Option<HeaderValue>,
    policies: Policies,
    /// Where http leads.
    redirect: Option<ToHttps>,
}

/// The way to https.
#[derive(Clone, Debug)]
struct ToHttps {
    /// In place of the host that was asked for, unless empty.
    host: String,
    exempt: RegexSet,
}

/// What a line of the table says of frames.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Exempt,
    SameOrigin,
}

impl Security {
    /// What these settings ask for.
    #[must_use]
    pub fn of(settings: &conf::Security) -> Self {
        let nosniff = if settings.content_type_nosniff { "nosniff" } else { "" };
        let opener = HeaderName::from_static("cross-origin-opener-policy");
        let wanted = [
            (X_FRAME_OPTIONS, settings.x_frame_options.as_str()),
            (X_CONTENT_TYPE_OPTIONS, nosniff),
            (REFERRER_POLICY, settings.referrer_policy.as_str()),
            (opener, settings.cross_origin_opener_policy.as_str()),
        ];
        let wanted = wanted.into_iter().filter(|(_, value)| !value.is_empty());
        let usable = wanted.filter_map(|(name, value)| match HeaderValue::from_str(value) {
            Ok(value) => Some((name, value)),
            Err(_) => {
                tracing::error!(%name, "a security header's setting cannot be a header");
                None
            }
        });
        let redirect = settings.ssl_redirect.then(|| ToHttps::of(settings));
        let policies = Policies::of(settings);
        let mut usual: HeaderMap = usable.collect();
        policies.add_usual(&mut usual);
        usual.extend(ROOM.map(|name| (name, HeaderValue::from_static(""))));
        Self { usual, hsts: hsts(settings), policies, redirect }
    }

    /// What answers a request over http in place of a view: a 301 to the same URL over https.
    #[must_use]
    pub fn redirect(&self, request: &Parts) -> Option<Response> {
        let is_secure = request.extensions.get::<Secure>().is_some();
        self.redirect.as_ref().filter(|_| !is_secure)?.answer(request)
    }

    /// Adds them to an answer's. What a view has set itself stays.
    pub fn add(&self, request: &Request, headers: &mut HeaderMap) {
        // To copy a finished map costs a third of filling one.
        let mut all = self.usual.clone();
        let line = request.extension::<Matched>().map(Matched::line);
        match line.and_then(Line::attached::<Framing>) {
            Some(Framing::Exempt) => drop(all.remove(X_FRAME_OPTIONS)),
            Some(Framing::SameOrigin) if all.contains_key(X_FRAME_OPTIONS) => {
                all.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
            }
            Some(Framing::SameOrigin) | None => {}
        }
        self.policies.change(request, line, &mut all);
        if let Some(hsts) = self.hsts.as_ref().filter(|_| request.is_secure()) {
            all.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        let are_own = ROOM.map(|name| headers.contains_key(name));
        // In place of what was there by these names.
        all.extend(std::mem::take(headers));
        for (name, is_own) in ROOM.into_iter().zip(are_own) {
            if !is_own {
                all.remove(name);
            }
        }
        *headers = all;
    }
}

fn hsts(settings: &conf::Security) -> Option<HeaderValue> {
    let seconds = Some(settings.hsts_seconds).filter(|seconds| *seconds > 0)?;
    let subdomains = if settings.hsts_include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if settings.hsts_preload { "; preload" } else { "" };
    HeaderValue::try_from(format!("max-age={seconds}{subdomains}{preload}")).ok()
}

impl ToHttps {
    fn of(settings: &conf::Security) -> Self {
        let exempt = RegexSet::new(&settings.redirect_exempt).unwrap_or_else(|error| {
            // Settings that were loaded have been looked at; those of a test may be anything.
            tracing::error!(%error, "security.redirect_exempt exempts nothing");
            RegexSet::empty()
        });
        Self { host: settings.ssl_host.clone(), exempt }
    }

    fn answer(&self, request: &Parts) -> Option<Response> {
        // `OPTIONS *` asks for no URL.
        let target = request.uri.path_and_query()?.as_str();
        let path = request.uri.path().strip_prefix('/')?.trim_start_matches('/');
        if self.exempt.is_match(&percent_decode_str(path).decode_utf8_lossy()) {
            return None;
        }
        let asked = request.uri.authority().map(|authority| authority.as_str());
        // The allowed hosts have been checked.
        let asked = asked.or_else(|| request.headers.get("host")?.to_str().ok())?;
        let host = if self.host.is_empty() { asked } else { &self.host };
        Some(match HeaderValue::try_from(format!("https://{host}{target}")) {
            Ok(to) => (StatusCode::MOVED_PERMANENTLY, [(LOCATION, to)]).into_response(),
            Err(error) => Error::from(error).into_response(),
        })
    }
}

impl Route {
    /// Lets any site put the page in a frame: no `X-Frame-Options`. Of an include: all lines in it
    /// that say nothing themselves.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// # async fn widget() -> &'static str { "" }
    /// # async fn preview() -> &'static str { "" }
    /// let urls = Urls::new([
    ///     path("widget/", widget).xframe_options_exempt(),
    ///     path("preview/", preview).xframe_options_sameorigin(),
    /// ]);
    /// ```
    #[must_use]
    pub fn xframe_options_exempt(self) -> Self {
        self.attach(Framing::Exempt)
    }

    /// Lets this site's own pages put the page in a frame. Of an include: all lines in it that say
    /// nothing themselves.
    #[must_use]
    pub fn xframe_options_sameorigin(self) -> Self {
        self.attach(Framing::SameOrigin)
    }
}
