//! What may stand between angle brackets: `int`, `str`, `slug`, `uuid`, `path`, and a site's own.

/// A kind of captured text. It says only what fits; what it becomes is the type in
/// [`Path`](crate::http::Path).
#[derive(Clone, Copy, Debug)]
pub(super) struct Converter {
    /// Name in routes: `int`.
    pub(super) name: &'static str,
    /// Whether a whole text fits.
    pub(super) fits: fn(&str) -> bool,
    /// Whether the text may hold slashes.
    pub(super) slashes: bool,
}

/// The converters every table knows.
pub(super) const BUILT_IN: [Converter; 5] = [
    Converter { name: "int", fits: is_int, slashes: false },
    Converter { name: "str", fits: is_str, slashes: false },
    Converter { name: "slug", fits: is_slug, slashes: false },
    Converter { name: "uuid", fits: is_uuid, slashes: false },
    Converter { name: "path", fits: is_path, slashes: true },
];

/// Digits that fit an `i64`: a larger number is no match, not an error in the view.
fn is_int(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_ok()
}

fn is_str(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Lower case with hyphens, so that every object has one URL.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_path(text: &str) -> bool {
    !text.is_empty()
}
