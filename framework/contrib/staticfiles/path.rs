//! From the text of a URL to a path below a folder, or nothing.

use percent_encoding::percent_decode_str;

/// The relative path `raw` means, decoded once, if it cannot leave its folder: no empty, hidden or
/// `..` parts, no backslash, colon or control character.
pub(super) fn clean(raw: &str) -> Option<String> {
    let path = percent_decode_str(raw).decode_utf8().ok()?;
    let fits = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains(|c: char| matches!(c, '\\' | ':') || c.is_control())
    };
    path.split('/').all(fits).then(|| path.into_owned())
}
