//! Headers that tell the browser to be careful, and the way from http to https.
//!
//! Flow: the settings are made into headers once a process → a request over http is led to https →
//! every answer gets what neither its view nor its line in the table has decided.

use axum::response::{IntoResponse, Response};
use http::header::{
    LOCATION, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use regex::RegexSet;

use super::csp::Policies;
use crate::conf;
use crate::error::Error;
use crate::http::{Request, Secure};
use crate::urls::{Matched, Route};

/// Headers of usual answers that come behind these: the policy, the id.
const LATER: usize = 2;

/// What the settings ask for, ready to be sent.
#[derive(Clone, Debug)]
pub struct Security {
    /// Over http and https.
    always: Vec<(HeaderName, HeaderValue)>,
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
        Self { always: usable.collect(), hsts: hsts(settings), policies, redirect }
    }

    /// What answers a request over http in place of a view: a 301 to the same URL over https.
    #[must_use]
    pub fn redirect(&self, request: &Parts) -> Option<Response> {
        let is_secure = request.extensions.get::<Secure>().is_some();
        self.redirect.as_ref().filter(|_| !is_secure)?.answer(request)
    }

    /// Adds them to an answer's. What a view has set itself stays.
    pub fn add(&self, request: &Request, headers: &mut HeaderMap) {
        headers.reserve(self.always.len() + LATER);
        let line = request.extension::<Matched>().map(Matched::line);
        let framing = line.and_then(|line| line.attached::<Framing>().copied());
        for (name, value) in &self.always {
            let value = match framing.filter(|_| name == X_FRAME_OPTIONS) {
                Some(Framing::Exempt) => continue,
                Some(Framing::SameOrigin) => HeaderValue::from_static("SAMEORIGIN"),
                None => value.clone(),
            };
            headers.entry(name).or_insert(value);
        }
        self.policies.add(request, line, headers);
        if let Some(hsts) = self.hsts.as_ref().filter(|_| request.is_secure()) {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
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
