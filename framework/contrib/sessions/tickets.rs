//! Tickets: a visitor's session for one connection, for who cannot send the cookie (a mobile app, a
//! page of another site).
//!
//! Flow: a view that knows its visitor gives out [`Request::ticket`] → the client opens its
//! connection with `?ticket=` → [`admit_ticket`] puts the session beside that request, in place of
//! any cookie's.
//!
//! Invariants:
//! - A ticket holds the session's id encrypted; who reads it in a log has nothing.
//! - It is good for 30 seconds, and once, as far as the data store remembers: it forgets when its
//!   process ends.
//! - What ends the session ends the user of the connection too: nothing is copied into the ticket.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Extensions;
use tower_sessions::session::Id;

use super::Touched;
use crate::conf::Secret;
use crate::error::{Error, Result};
use crate::http::{Beside, Request, permission_denied};
use crate::signing::{is_same, salted_hmac};
use crate::site::Site;

/// How long a ticket is good for.
const TICKET_AGE: Duration = Duration::from_secs(30);
/// How long it is remembered that a ticket was used: longer than it is good for, by any clock.
const USED_AGE: Duration = Duration::from_secs(40);

const SIGNATURE_SALT: &str = "sessions.ticket";
const CIPHER_SALT: &str = "sessions.ticket.cipher";

const NONCE_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const ID_BYTES: usize = 16;
/// Nonce, the end in seconds since 1970, whether there is a session, its id encrypted.
const BODY_BYTES: usize = NONCE_BYTES + TIME_BYTES + 1 + ID_BYTES;

type Nonce = [u8; NONCE_BYTES];

impl Request {
    /// A ticket for this visitor: a text that opens one connection within 30 seconds, as `?ticket=`
    /// of the URL of streams, in place of the cookie and from any page or program. The connection
    /// has this session, and so this user, for as long as they last.
    ///
    /// # Errors
    /// The session is new and cannot be saved; or it is in the cookie itself (`sessions.engine`),
    /// which no ticket can name.
    pub async fn ticket(&self) -> Result<String> {
        let session = self.session();
        if session.id().is_none() && !session.is_empty().await {
            session.save().await?;
        }
        if session.id().is_some() && Touched::beside(self).store.is_cookie() {
            return Err(Error::new("a ticket cannot name a session that is kept in its cookie"));
        }
        Ok(issue(&self.settings().secret_key, session.key(), now() + TICKET_AGE.as_secs()))
    }
}

/// Puts the ticket's session in the place of the one a cookie named.
///
/// # Errors
/// 403: it is no ticket of this site, it is too old, or it was used. 503: the data store, which
/// remembers those that were used, is away.
pub(crate) async fn admit_ticket(
    site: &Site,
    ticket: &str,
    extensions: &mut Extensions,
) -> Result<()> {
    let settings = site.settings();
    let keys = std::iter::once(&settings.secret_key).chain(&settings.secret_key_fallbacks);
    let (nonce, end, id) = read(ticket, keys)?;
    check_age(end, now())?;
    let name = format!("ticket.{}", URL_SAFE_NO_PAD.encode(nonce));
    // A counter: values would make room for others before their end.
    if site.values().count(&name, 1, USED_AGE).await?.value > 1 {
        return Err(permission_denied("the ticket was used already"));
    }
    // Beside another place: the stack on the way out sees nothing of this session.
    let beside = extensions.get().map(Beside::renewed).unwrap_or_default();
    let touched = Touched::of(site, id);
    touched.store.set_answered();
    beside.get(|| touched);
    extensions.insert(beside);
    Ok(())
}

/// One that was made further ahead than it lasts is none of ours, whatever its signature says.
fn check_age(end: u64, now: u64) -> Result<()> {
    if (now..=now + 2 * TICKET_AGE.as_secs()).contains(&end) {
        return Ok(());
    }
    Err(permission_denied("the ticket is older than 30 seconds"))
}

fn issue(key: &Secret, id: Option<Id>, end: u64) -> String {
    let nonce: Nonce = rand::random();
    let mut body = [0; BODY_BYTES];
    body[..NONCE_BYTES].copy_from_slice(&nonce);
    body[NONCE_BYTES..NONCE_BYTES + TIME_BYTES].copy_from_slice(&end.to_be_bytes());
    body[NONCE_BYTES + TIME_BYTES] = u8::from(id.is_some());
    let id = id.map_or([0; ID_BYTES], |id| id.0.to_be_bytes());
    body[BODY_BYTES - ID_BYTES..].copy_from_slice(&cipher(key, &nonce, id));
    let body = URL_SAFE_NO_PAD.encode(body);
    let signature = salted_hmac(SIGNATURE_SALT, &body, key);
    format!("{body}.{signature}")
}

/// Nonce, end and session of a ticket that one of `keys` has signed.
fn read<'k>(
    ticket: &str,
    keys: impl Iterator<Item = &'k Secret>,
) -> Result<(Nonce, u64, Option<Id>)> {
    let wrong = || permission_denied("this is no ticket of this site");
    let (body, signature) = ticket.split_once('.').ok_or_else(wrong)?;
    let signed = |key: &&Secret| is_same(&salted_hmac(SIGNATURE_SALT, body, key), signature);
    let key = keys.filter(signed).last().ok_or_else(wrong)?;
    let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| wrong())?;
    let body: [u8; BODY_BYTES] = body.try_into().map_err(|_| wrong())?;
    let (nonce, rest) = body.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
    let (end, rest) = rest.split_first_chunk::<TIME_BYTES>().ok_or_else(wrong)?;
    let (has_session, id) = rest.split_first().ok_or_else(wrong)?;
    let id = id.try_into().map_err(|_| wrong())?;
    let id = (*has_session != 0).then(|| Id(i128::from_be_bytes(cipher(key, nonce, id))));
    Ok((*nonce, u64::from_be_bytes(*end), id))
}

/// Encrypts, and decrypts: with a text that only the key and a nonce, used once, give.
fn cipher(key: &Secret, nonce: &Nonce, mut text: [u8; ID_BYTES]) -> [u8; ID_BYTES] {
    let pad = salted_hmac(CIPHER_SALT, &URL_SAFE_NO_PAD.encode(nonce), key);
    for (byte, pad) in text.iter_mut().zip(pad.as_bytes().chunks(2)) {
        let pad = std::str::from_utf8(pad).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        *byte ^= pad.expect("hexadecimal digits");
    }
    text
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use tower_sessions::session::Id;

    use super::{BODY_BYTES, ID_BYTES, URL_SAFE_NO_PAD, check_age, issue, read};
    use crate::conf::Secret;

    #[test]
    fn a_ticket_gives_back_what_was_put_in_and_shows_nothing_of_it() {
        let (key, old) = (Secret::new("key"), Secret::new("old"));
        for id in [None, Some(Id(0)), Some(Id(-5)), Some(Id(i128::MAX))] {
            let ticket = issue(&old, id, 77);
            let (_, end, read_id) = read(&ticket, [&key, &old].into_iter()).unwrap();
            assert_eq!((end, read_id), (77, id));
            if let Some(id) = id {
                let body = URL_SAFE_NO_PAD.decode(ticket.split_once('.').unwrap().0).unwrap();
                assert_ne!(body[BODY_BYTES - ID_BYTES..], id.0.to_be_bytes(), "{ticket}");
            }
            assert!(read(&ticket, [&key].into_iter()).is_err());
            let longer = format!("{ticket}0");
            assert!(read(&longer, [&old].into_iter()).is_err());
            let other = format!("A{}", &ticket[1..]);
            assert!(ticket.starts_with('A') || read(&other, [&old].into_iter()).is_err());
        }
        for text in ["", ".", "abc", "abc.def"] {
            assert!(read(text, [&key].into_iter()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ticket_ends_after_its_time() {
        for (end, is_good) in [(99, false), (100, true), (130, true), (161, false)] {
            assert_eq!(check_age(end, 100).is_ok(), is_good, "{end}");
        }
    }
}
