//! Headers that several pieces add to.

use http::{HeaderMap, HeaderValue, header};

/// Says that the answer depends on the request header `name`, once.
pub fn vary(headers: &mut HeaderMap, name: &'static str) {
    let known = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = known.flat_map(|names| names.split(',')).map(str::trim);
    if !names.any(|known| known == "*" || known.eq_ignore_ascii_case(name)) {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
}
