//! Cookies: reading the request's, writing one.

use std::fmt::Write;

use http::HeaderValue;

use crate::error::{Error, Result};

/// The value of the cookie `name` in these `Cookie` headers; of several the last, as in Django.
pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let cookies = lines.flat_map(|line| line.split(';'));
    let named = cookies.filter_map(|cookie| {
        let (found, value) = cookie.split_once('=')?;
        (found.trim() == name).then(|| value.trim())
    });
    let value = named.last()?;
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(unquoted.unwrap_or(value))
}

/// A cookie to set. Path `/`, `SameSite=Lax`. With a `value` of
/// [`sign_cookie`](crate::signing::sign_cookie) nobody can make one up
/// ([`Request::signed_cookie`](super::Request::signed_cookie)).
#[derive(Clone, Debug)]
pub struct SetCookie<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value: visible ASCII without `,`, `;`, `"` and `\`.
    pub value: &'a str,
    /// Seconds it lives; `None` ends it with the browser; 0 deletes it.
    pub max_age: Option<i64>,
    /// Over https only.
    pub secure: bool,
    /// Out of reach of scripts.
    pub http_only: bool,
}

impl SetCookie<'_> {
    /// The value of `Set-Cookie`.
    ///
    /// # Errors
    /// Name or value hold what no cookie can.
    pub fn header(&self) -> Result<HeaderValue> {
        self.header_in("", "/")
    }

    /// The same for the hosts of a domain, if one is named, and below a path.
    pub(crate) fn header_in(&self, domain: &str, path: &str) -> Result<HeaderValue> {
        let token = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        if !self.value.bytes().all(token)
            || !self.name.bytes().all(|byte| token(byte) && byte != b'=')
        {
            return Err(Error::new(format!(
                "setting the cookie {:?}: not visible ASCII",
                self.name
            )));
        }
        if domain.contains([';', ',']) || path.contains([';', ',']) {
            return Err(Error::new(format!("setting the cookie {:?}: domain or path", self.name)));
        }
        let mut line = format!("{}={}; Path={path}; SameSite=Lax", self.name, self.value);
        if !domain.is_empty() {
            write!(line, "; Domain={domain}").expect("a String takes all");
        }
        match self.max_age {
            // Django's way to delete: both the date and the age.
            Some(0) => line.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            Some(seconds) => write!(line, "; Max-Age={seconds}").expect("a String takes all"),
            None => {}
        }
        // A browser refuses these prefixes, also in a deletion, without `Secure`.
        if self.secure || self.name.starts_with("__Host-") || self.name.starts_with("__Secure-") {
            line.push_str("; Secure");
        }
        if self.http_only {
            line.push_str("; HttpOnly");
        }
        HeaderValue::try_from(line).map_err(Error::from)
    }
}
