//! `[security]`: what browsers are told to be careful about, and whether they have to use https.

use serde::{Deserialize, Serialize};

use crate::conf::csp::ContentPolicy;

/// Security headers, and the way to https.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of Django's")]
pub struct Security {
    /// `X-Frame-Options`; empty turns it off.
    pub x_frame_options: String,
    /// `X-Content-Type-Options: nosniff`.
    pub content_type_nosniff: bool,
    /// `Referrer-Policy`, of several separated by commas the last a browser knows; empty turns it
    /// off.
    pub referrer_policy: String,
    /// `Cross-Origin-Opener-Policy`; empty turns it off.
    pub cross_origin_opener_policy: String,
    /// `Content-Security-Policy`: a table of directives and their lists, or the header's text, in
    /// place of [`ContentPolicy::strict`]; `""` turns it off. `'nonce'` stands for the request's.
    pub csp: ContentPolicy,
    /// `Content-Security-Policy-Report-Only`: what browsers only tell of (`report-uri`).
    pub csp_report_only: ContentPolicy,
    /// Answers http with a 301 to the same URL over https.
    pub ssl_redirect: bool,
    /// Host, and port if it needs one, that the redirect leads to; empty is the one asked for.
    pub ssl_host: String,
    /// Paths that http may have all the same: regular expressions that are looked for in the
    /// decoded path without its leading slash.
    pub redirect_exempt: Vec<String>,
    /// How long browsers use nothing but https for this host, seconds; 0 says nothing
    /// (`Strict-Transport-Security`, sent over https only).
    pub hsts_seconds: u64,
    /// That holds for all hosts below this one too.
    pub hsts_include_subdomains: bool,
    /// Browsers may ship it in their lists.
    pub hsts_preload: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            x_frame_options: "DENY".into(),
            content_type_nosniff: true,
            referrer_policy: "same-origin".into(),
            cross_origin_opener_policy: "same-origin".into(),
            csp: ContentPolicy::strict(),
            csp_report_only: ContentPolicy::none(),
            ssl_redirect: false,
            ssl_host: String::new(),
            redirect_exempt: Vec::new(),
            hsts_seconds: 0,
            hsts_include_subdomains: false,
            hsts_preload: false,
        }
    }
}
