//! Headers that tell the browser to be careful.

use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::conf;

/// The headers the settings ask for, ready to be sent.
#[derive(Clone, Debug)]
pub struct Security(Vec<(HeaderName, HeaderValue)>);

impl Security {
    /// Those of these settings.
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
        Self(usable.collect())
    }

    /// Adds them to an answer's. What a view has set itself stays.
    pub fn add(&self, headers: &mut HeaderMap) {
        headers.reserve(self.0.len());
        for (name, value) in &self.0 {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }
}
