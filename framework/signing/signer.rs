//! Texts that come back unchanged: what leaves with a visitor, in a link, a field or a cookie, and
//! is believed when it returns because this site has signed it. Anybody can read it.
//!
//! The format is Django's (`value:signature`, `value:time:signature`): with the same key and salt
//! each reads what the other has signed.
//!
//! Invariants:
//! - What was signed for one use is worth nothing for another: the salt names the use.
//! - A new key signs, those of before (`secret_key_fallbacks`) are still believed.
//! - All keys are tried, and compared in a time that does not tell which one fits, or how far.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::hmac::{digest, is_same};
use crate::conf::{Secret, Settings};
use crate::error::{Error, Kind, Result};

/// Between the value and what is put behind it.
const SEPARATOR: char = ':';
/// Digits of a time, in this order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Longest text read as a time; more do not fit into 64 bits.
const TIME_CHARS_MAX: usize = 10;
/// In front of the key that signs cookies, and of the salt.
const COOKIE_KEY: &str = "django.http.cookies";
const COOKIE_SALT: &str = "django.http.cookies.v2";

/// Signs texts for one use.
///
/// ```
/// use hulse::conf::{Secret, Settings};
/// use hulse::signing::Signer;
///
/// let mut settings = Settings::default();
/// settings.secret_key = Secret::new("a long random text");
/// let signer = Signer::new(&settings, "newsletter.unsubscribe");
/// let signed = signer.sign("ann@example.com");
/// assert!(signed.starts_with("ann@example.com:"));
/// assert_eq!(signer.unsign(&signed)?, "ann@example.com");
/// assert!(signer.unsign("bob@example.com:forged").unwrap_err().is_bad_signature());
/// # Ok::<(), hulse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Signer {
    /// The first signs.
    keys: Vec<Secret>,
    salt: String,
}

impl Signer {
    /// One for the use that `salt` names, with the site's keys.
    #[must_use]
    pub fn new(settings: &Settings, salt: &str) -> Self {
        let keys = std::iter::once(&settings.secret_key).chain(&settings.secret_key_fallbacks);
        Self::with_keys(keys.cloned(), salt)
    }

    /// One with keys of its own: the first signs, all are believed.
    pub fn with_keys(keys: impl IntoIterator<Item = Secret>, salt: &str) -> Self {
        Self { keys: keys.into_iter().collect(), salt: format!("{salt}signer") }
    }

    /// `value:signature`.
    ///
    /// # Panics
    /// It was made without a key.
    #[must_use]
    pub fn sign(&self, value: &str) -> String {
        let key = self.keys.first().expect("a signer has a key");
        format!("{value}{SEPARATOR}{}", self.signature(value, key))
    }

    /// The value of a text that was signed for this use.
    ///
    /// # Errors
    /// It was not, or was changed since (`is_bad_signature`; as an answer 400).
    pub fn unsign(&self, signed: &str) -> Result<String> {
        let (value, signature) = signed.rsplit_once(SEPARATOR).ok_or_else(bad)?;
        let fits = |key: &&Secret| is_same(&self.signature(value, key), signature);
        match self.keys.iter().filter(fits).count() {
            0 => Err(bad()),
            _ => Ok(value.to_owned()),
        }
    }

    /// Any value as text that fits into a URL, signed.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn sign_object(&self, value: &impl Serialize) -> Result<String> {
        Ok(self.sign(&packed(value)?))
    }

    /// The value of [`sign_object`](Self::sign_object).
    ///
    /// # Errors
    /// As [`unsign`](Self::unsign), or it is no `T`.
    pub fn unsign_object<T: DeserializeOwned>(&self, signed: &str) -> Result<T> {
        unpacked(&self.unsign(signed)?)
    }

    fn signature(&self, value: &str, key: &Secret) -> String {
        URL_SAFE_NO_PAD.encode(digest(&self.salt, value, key))
    }
}

/// Signs texts with the time, so that they can be believed for a while only.
///
/// ```
/// use std::time::Duration;
///
/// use hulse::conf::{Secret, Settings};
/// use hulse::signing::TimestampSigner;
///
/// let mut settings = Settings::default();
/// settings.secret_key = Secret::new("a long random text");
/// let signer = TimestampSigner::new(&settings, "accounts.confirm");
/// let signed = signer.sign("ann@example.com");
/// let day = Duration::from_secs(24 * 3600);
/// assert_eq!(signer.unsign(&signed, Some(day))?, "ann@example.com");
/// # Ok::<(), hulse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TimestampSigner(Signer);

impl TimestampSigner {
    /// One for the use that `salt` names, with the site's keys.
    #[must_use]
    pub fn new(settings: &Settings, salt: &str) -> Self {
        Self(Signer::new(settings, salt))
    }

    /// One with keys of its own: the first signs, all are believed.
    pub fn with_keys(keys: impl IntoIterator<Item = Secret>, salt: &str) -> Self {
        Self(Signer::with_keys(keys, salt))
    }

    /// `value:time:signature`, the time in seconds since 1970 with the base 62.
    #[must_use]
    pub fn sign(&self, value: &str) -> String {
        self.sign_at(value, now())
    }

    /// The value of a text that was signed for this use, at most `max_age` ago.
    ///
    /// # Errors
    /// It was not, or was changed since (`is_bad_signature`), or it is older
    /// (`is_signature_expired` too). As answers both are 400.
    pub fn unsign(&self, signed: &str, max_age: Option<Duration>) -> Result<String> {
        self.unsign_at(signed, max_age, now())
    }

    /// Any value as text that fits into a URL, signed with the time (Django's `dumps`).
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn sign_object(&self, value: &impl Serialize) -> Result<String> {
        Ok(self.sign(&packed(value)?))
    }

    /// The value of [`sign_object`](Self::sign_object) (Django's `loads`).
    ///
    /// # Errors
    /// As [`unsign`](Self::unsign), or it is no `T`.
    pub fn unsign_object<T: DeserializeOwned>(
        &self,
        signed: &str,
        max_age: Option<Duration>,
    ) -> Result<T> {
        unpacked(&self.unsign(signed, max_age)?)
    }

    fn sign_at(&self, value: &str, now: u64) -> String {
        self.0.sign(&format!("{value}{SEPARATOR}{}", base62(now)))
    }

    fn unsign_at(&self, signed: &str, max_age: Option<Duration>, now: u64) -> Result<String> {
        let timed = self.0.unsign(signed)?;
        let (value, time) = timed.rsplit_once(SEPARATOR).ok_or_else(bad)?;
        let age = Duration::from_secs(now.saturating_sub(parse(time).ok_or_else(bad)?));
        if max_age.is_some_and(|max_age| age > max_age) {
            let words = format!("a signature is {} s old", age.as_secs());
            return Err(Error::of(Kind::SignatureExpired, words));
        }
        Ok(value.to_owned())
    }
}

/// The value of a cookie `name` that nobody but this site can make, readable as it is. `salt` tells
/// uses of one name apart.
#[must_use]
pub fn sign_cookie(settings: &Settings, name: &str, value: &str, salt: &str) -> String {
    cookie_signer(settings, name, salt).sign(value)
}

/// The value that [`sign_cookie`] has signed; see
/// [`Request::signed_cookie`](crate::http::Request::signed_cookie).
///
/// # Errors
/// As [`TimestampSigner::unsign`].
pub fn unsign_cookie(
    settings: &Settings,
    name: &str,
    signed: &str,
    salt: &str,
    max_age: Option<Duration>,
) -> Result<String> {
    cookie_signer(settings, name, salt).unsign(signed, max_age)
}

fn cookie_signer(settings: &Settings, name: &str, salt: &str) -> TimestampSigner {
    let keys = std::iter::once(&settings.secret_key).chain(&settings.secret_key_fallbacks);
    let keys = keys.map(|key| Secret::new(format!("{COOKIE_KEY}{}", key.expose())));
    // With its length, so that no name is another one's with a part of the salt.
    let length = salt.chars().count();
    TimestampSigner::with_keys(keys, &format!("{COOKIE_SALT}:{length}:{salt}{name}"))
}

fn bad() -> Error {
    Error::of(Kind::BadSignature, "a text is not signed by this site, or not for this use")
}

fn now() -> u64 {
    u64::try_from(Utc::now().timestamp()).unwrap_or_default()
}

/// JSON in letters of a URL.
fn packed(value: &impl Serialize) -> Result<String> {
    let mut text = String::new();
    for letter in serde_json::to_string(value)?.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            // Django reads one byte a letter.
            let mut space = [0; 2];
            let units = letter.encode_utf16(&mut space).iter().map(|unit| format!("\\u{unit:04x}"));
            text.extend(units);
        }
    }
    Ok(URL_SAFE_NO_PAD.encode(text))
}

fn unpacked<T: DeserializeOwned>(text: &str) -> Result<T> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn base62(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[usize::try_from(number % 62).unwrap_or_default()]));
        number /= 62;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

fn parse(text: &str) -> Option<u64> {
    if !(1..=TIME_CHARS_MAX).contains(&text.len()) {
        return None;
    }
    text.bytes().try_fold(0, |number: u64, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        Some(number * 62 + digit as u64)
    })
}

impl Error {
    /// A signed text is forged, changed, signed for another use, or too old.
    #[must_use]
    pub fn is_bad_signature(&self) -> bool {
        matches!(self.kind(), Kind::BadSignature | Kind::SignatureExpired)
    }

    /// A signed text is good, and older than it may be.
    #[must_use]
    pub fn is_signature_expired(&self) -> bool {
        self.kind() == Kind::SignatureExpired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Signer, TimestampSigner, base62, cookie_signer, parse};
    use crate::conf::{Secret, Settings};

    const NOW: u64 = 1_700_000_000;

    fn signer(keys: &[&str]) -> Signer {
        Signer::with_keys(keys.iter().map(|key| Secret::new(*key)), "extra")
    }

    /// Made by Django 5.2.19: `Signer(key="s3cret", salt="extra").sign("hello")`, and so on.
    #[test]
    fn signatures_are_what_django_makes() {
        let plain = "hello:y1Gu_AOsLJWFzKfNsZcWrzpLaFzj3WWVkU7ZQH0kXys";
        assert_eq!(signer(&["s3cret"]).sign("hello"), plain);
        let older = "a:b:ü:Qv4AuXuAh_wg4iK-7dPApQ3hp_1ws-FukoR4TpAU1bs";
        assert_eq!(signer(&["s3cret", "older"]).unsign(older).unwrap(), "a:b:ü");
        let timed = "hello:1r31eq:yRaOnxB2f_ibMWTqrVYqMY0-TGdaV2_iE6XBlD5_4-E";
        let timestamp = TimestampSigner(signer(&["s3cret"]));
        assert_eq!(timestamp.sign_at("hello", NOW), timed);
        assert_eq!(timestamp.unsign_at(timed, None, NOW).unwrap(), "hello");
        let object =
            "eyJhIjoxLCJiIjpbdHJ1ZSxudWxsLCJ4Il19:EZMfqSOvZsuLnH04ycb30jh0Q6ph_xJeYSCai2nwXOI";
        assert_eq!(
            signer(&["s3cret"]).sign_object(&json!({"a":1,"b":[true,null,"x"]})).unwrap(),
            object
        );
        let read: Value = signer(&["s3cret"]).unsign_object(object).unwrap();
        assert_eq!(read["b"], json!([true, null, "x"]));
        let mut settings = Settings::default();
        settings.secret_key = Secret::new("s3cret");
        let cookie = "dark:1r31eq:Vo1YmyJ1PNjRaC3xZM7lPbrdnR31S_8ases0okeEy-c";
        let cookies = cookie_signer(&settings, "theme", "visitor");
        assert_eq!(cookies.sign_at("dark", NOW), cookie);
        assert!(cookie_signer(&settings, "me", "visitorthe").unsign(cookie, None).is_err());
    }

    #[test]
    fn objects_keep_their_letters() {
        let timestamp = TimestampSigner(signer(&["s3cret"]));
        let name = json!({"name": "Zoë 𝄞"});
        let signed = timestamp.0.sign_object(&name).unwrap();
        assert!(signed.is_ascii());
        assert_eq!(timestamp.0.unsign_object::<Value>(&signed).unwrap(), name);
        let object = "eyJuYW1lIjoiWm9cdTAwZWIgXHVkODM0XHVkZDFlIn0:1r31eq:\
                      IbR-D96PE89fTj-Fpj3ayQ6haZtsQD9KB2jMWgdGPvQ";
        assert_eq!(timestamp.unsign_object::<Value>(object, None).unwrap(), name);
    }

    #[test]
    fn what_is_forged_changed_or_too_old_is_refused() {
        let one = signer(&["new", "old"]);
        let signed = signer(&["old"]).sign("hello");
        assert_eq!(one.unsign(&signed).unwrap(), "hello", "a key of before");
        assert_ne!(one.sign("hello"), signed, "the new one signs");
        let (value, signature) = signed.split_once(':').unwrap();
        for forged in [
            "",
            ":",
            "hello",
            "hello:",
            &format!(":{signature}"),
            &format!("hellO:{signature}"),
            &signed[..signed.len() - 1],
            &format!("{signed}="),
            &format!("{value}::{signature}"),
        ] {
            let error = one.unsign(forged).unwrap_err();
            assert!(error.is_bad_signature() && !error.is_signature_expired(), "{forged:?}");
        }
        assert!(signer(&["new"]).unsign(&signed).is_err(), "the old key has gone");
        let other = Signer::with_keys([Secret::new("old")], "another use");
        assert!(other.unsign(&signed).is_err());
        let timestamp = TimestampSigner(one);
        let timed = timestamp.sign_at("hello", NOW);
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(timestamp.unsign_at(&timed, hour, NOW + 3600).unwrap(), "hello");
        let old = timestamp.unsign_at(&timed, hour, NOW + 3601).unwrap_err();
        assert!(old.is_signature_expired() && old.is_bad_signature(), "{old}");
        assert!(timestamp.unsign_at(&timestamp.0.sign("hello"), None, NOW).is_err(), "no time");
        assert!(timestamp.unsign_at(&timestamp.0.sign("a:-!"), None, NOW).is_err());
    }

    #[test]
    fn times_have_the_base_62() {
        for (number, text) in [(0, "0"), (61, "z"), (62, "10"), (NOW, "1r31eq")] {
            assert_eq!((base62(number).as_str(), parse(text)), (text, Some(number)));
        }
        for text in ["", "-1", "1 ", "zzzzzzzzzzz"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
