//! Questions to a value, with Django's rules and words: for `#[field(email)]`, `slug`, `url`, and
//! for `validators = [..]`, where a site names its own as well.
//!
//! A validator is any function from a reference to the field's type, or from `&str` for a text, to
//! a `Result` whose error says what is wrong:
//!
//! ```
//! fn even(number: &i32) -> Result<(), String> {
//!     if number % 2 == 0 { Ok(()) } else { Err(format!("{number} is not an even number.")) }
//! }
//! # assert!(even(&4).is_ok() && even(&5).is_err());
//! ```
//!
//! Nothing here asks a database or another machine: a valid email address need not exist.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::models::file;

/// What a validator answers; the error is a sentence for people.
pub type Answer = Result<(), String>;

/// Longest email address, characters: 64 before the `@` and 255 behind it (RFC 3696).
const EMAIL_LENGTH_MAX: usize = 320;

/// Longest URL, characters, as Django has it since 3.2.20.
const URL_LENGTH_MAX: usize = 2048;

/// Longest name of a host, bytes (RFC 1034 section 3.1).
const HOST_BYTES_MAX: usize = 253;

/// Longest label between a host's dots, characters (the same).
const LABEL_LENGTH_MAX: usize = 63;

/// Schemes of URLs.
const SCHEMES: [&str; 4] = ["http", "https", "ftp", "ftps"];

/// An email address: `ann@example.com`, `"a b"@[192.0.2.1]`, `root@localhost`.
///
/// # Errors
/// It is none.
pub fn email(text: &str) -> Answer {
    let valid = text.chars().count() <= EMAIL_LENGTH_MAX
        && text.rsplit_once('@').is_some_and(|(user, domain)| {
            (is_dot_atom(user) || is_quoted(user)) && is_mail_domain(domain)
        });
    answer(valid, "Enter a valid email address.")
}

/// Letters, numbers, underscores or hyphens, all ASCII.
///
/// # Errors
/// It has something else, or nothing.
pub fn slug(text: &str) -> Answer {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b'-';
    let valid = !text.is_empty() && text.bytes().all(fits);
    answer(valid, "Enter a valid “slug” consisting of letters, numbers, underscores or hyphens.")
}

/// An absolute URL of the web or an FTP server: `https://example.com:8000/a?b#c`.
///
/// # Errors
/// It is none.
pub fn url(text: &str) -> Answer {
    answer(is_url(text), "Enter a valid URL.")
}

/// An IPv4 or IPv6 address. A field for nothing else has the type `IpAddr`.
///
/// # Errors
/// It is none.
pub fn ip_address(text: &str) -> Answer {
    answer(text.parse::<IpAddr>().is_ok(), "Enter a valid IPv4 or IPv6 address.")
}

/// A path that stays below the folder it begins in: relative, without `..`, backslashes, colons and
/// control characters. A field for a file of the site has the type [`File`](crate::models::File).
///
/// # Errors
/// It may lead elsewhere.
pub fn file_path(text: &str) -> Answer {
    match file::refusal(text) {
        None => Ok(()),
        Some(why) => Err(format!("The path {why}.")),
    }
}

/// A name that ends like an image that browsers show.
///
/// # Errors
/// It does not.
pub fn image_extension(text: &str) -> Answer {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_lowercase();
    if file::IMAGE_ENDINGS.contains(&extension.as_str()) {
        return Ok(());
    }
    Err(format!(
        "File extension “{extension}” is not allowed. Allowed extensions are: {}.",
        file::IMAGE_ENDINGS.join(", ")
    ))
}

fn answer(valid: bool, words: &str) -> Answer {
    if valid { Ok(()) } else { Err(words.to_owned()) }
}

/// `ann.o'hara+news`
fn is_dot_atom(user: &str) -> bool {
    let fits =
        |letter: u8| letter.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{}|~".contains(&letter);
    user.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(fits))
}

/// `"a \"b\""`, with Django's idea of which control characters may stand in it.
fn is_quoted(user: &str) -> bool {
    let inside = user.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside else { return false };
    let mut letters = inside.bytes();
    while let Some(letter) = letters.next() {
        let fits = match letter {
            b'\\' => letters.next().is_some_and(|next| matches!(next, 1..=9 | 11 | 12 | 14..=127)),
            letter => matches!(letter, 1..=8 | 11 | 12 | 14..=31 | b'!' | b'#'..=b'[' | b']'..=127),
        };
        if !fits {
            return false;
        }
    }
    true
}

fn is_mail_domain(domain: &str) -> bool {
    if domain == "localhost" {
        return true;
    }
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<IpAddr>().is_ok();
    }
    let labels: Vec<&str> = domain.split('.').collect();
    labels.len() > 1
        && labels.iter().all(|label| is_label(label))
        && labels.last().is_some_and(|last| last.chars().count() > 1)
}

/// ASCII letters, digits, hyphens inside, and what is beyond ASCII: an internationalized name is
/// one before it is written in ASCII, too.
fn is_label(label: &str) -> bool {
    let length = label.chars().count();
    (1..=LABEL_LENGTH_MAX).contains(&length)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => true,
            letter => letter >= '\u{a1}' && !letter.is_whitespace(),
        })
}

fn is_url(text: &str) -> bool {
    if text.chars().count() > URL_LENGTH_MAX || text.chars().any(char::is_whitespace) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    if !SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    user.is_none_or(is_user_and_password) && is_place(place)
}

/// `user` or `user:password`; other colons and at signs are written `%3A` and `%40`.
fn is_user_and_password(user: &str) -> bool {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    !name.is_empty() && !name.contains('@') && !password.contains([':', '@'])
}

/// A host, perhaps with a port.
fn is_place(place: &str) -> bool {
    if let Some(literal) = place.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && is_port(port);
    }
    let (host, port) = match place.find(':') {
        Some(at) => place.split_at(at),
        None => (place, ""),
    };
    is_port(port) && is_host(host)
}

/// Nothing, or a colon and one to five digits.
fn is_port(port: &str) -> bool {
    let Some(digits) = port.strip_prefix(':') else { return port.is_empty() };
    (1..=5).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// An IPv4 address, `localhost`, or a name whose last part is no number.
fn is_host(host: &str) -> bool {
    if host.len() > HOST_BYTES_MAX {
        return false;
    }
    if host.parse::<Ipv4Addr>().is_ok() || host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let Some((last, before)) = labels.split_last() else { return false };
    let is_top = last.to_ascii_lowercase().starts_with("xn--")
        || !last.chars().any(|letter| letter.is_ascii_digit());
    !before.is_empty()
        && labels.iter().all(|label| is_label(label))
        && is_top
        && last.chars().count() > 1
}
