//! Sessions in the cookie itself, signed: nothing is kept here, no query, no question to the store
//! to read one.
//!
//! What this cannot do:
//! - A visitor can read what is in it, though not change it.
//! - A copy of the cookie is good until its end, also behind a logout: what is open is closed all
//!   the same, and a new password ends it. Only who *saves* is asked whether the session was ended,
//!   as far as the data store remembers.
//! - Nobody knows who has which: there is no list of a user's sessions.
//! - Of two requests that change it at once the later answer counts.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use tower_sessions::session::Id;

use super::cached::{name, until};
use super::{Engine, Kept, Owned, Written};
use crate::error::{Error, Result};
use crate::signing::{is_same, salted_hmac};
use crate::site::Site;

const SALT: &str = "hulse.contrib.sessions.signed_cookies";
/// Longest value of a cookie, bytes: browsers keep 4096 with its name and attributes (RFC 6265
/// §6.1), which here take less than 300.
const COOKIE_BYTES_MAX: usize = 3800;
/// How the names of what was ended begin, in the data store.
const ENDED: &str = "session.ended";

#[derive(Debug)]
pub(super) struct Signed {
    site: Site,
    /// What the cookie says, as long as it is worth something.
    said: Mutex<Option<Said>>,
}

#[derive(Clone, Debug)]
struct Said {
    id: Id,
    kept: Kept,
}

impl Signed {
    pub(super) fn new(site: Site) -> Self {
        Self { site, said: Mutex::default() }
    }

    /// With what `cookie` says, if this site has signed it and it has not ended; and whose it is.
    pub(super) fn read(site: Site, cookie: &str) -> (Self, Option<Id>) {
        let said = read(&site, cookie);
        let id = said.as_ref().map(|said| said.id);
        (Self { site, said: Mutex::new(said) }, id)
    }

    fn say(&self, said: Option<Said>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    fn said(&self) -> Option<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, id: Id, new: Written) -> Result<Kept> {
        let said = Said { id, kept: Kept::new(new.data, new.end) };
        let length = self.text(&said).len();
        if length > COOKIE_BYTES_MAX {
            let words = format!(
                "the session takes {length} bytes as a cookie, and browsers keep \
                 {COOKIE_BYTES_MAX}: remember less, or set `sessions.engine` to another"
            );
            return Err(Error::new(words));
        }
        let kept = said.kept.clone();
        self.say(Some(said));
        Ok(kept)
    }

    fn text(&self, said: &Said) -> String {
        let Kept { data, end, .. } = &said.kept;
        let body = URL_SAFE_NO_PAD.encode(format!("{} {} {data}", said.id, end.timestamp()));
        let signature = salted_hmac(SALT, &body, &self.site.settings().secret_key);
        format!("{body}.{signature}")
    }

    /// Whether somebody has ended the session, as far as the store remembers. Nothing depends on
    /// the store but this.
    async fn is_ended(&self, id: Id) -> bool {
        match self.site.values().get(&name(ENDED, id)).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                tracing::warn!(%error, "whether a session in a cookie was ended is not known");
                false
            }
        }
    }
}

#[async_trait]
impl Engine for Signed {
    async fn create(&self, id: Id, new: Written) -> Result<Kept> {
        self.keep(id, new)
    }

    async fn replace(&self, id: Id, _: &Kept, new: Written) -> Result<Option<Kept>> {
        if self.is_ended(id).await {
            self.say(None);
            return Ok(None);
        }
        self.keep(id, new).map(Some)
    }

    async fn put_off(&self, id: Id, end: DateTime<Utc>) -> Result<bool> {
        let Some(Said { kept, .. }) = self.said().filter(|said| said.id == id) else {
            return Ok(false);
        };
        let new = Written { data: Arc::clone(&kept.data), end, owner: None };
        Ok(self.replace(id, &kept, new).await?.is_some())
    }

    async fn load(&self, id: Id) -> Result<Option<Kept>> {
        Ok(self.said().filter(|said| said.id == id).map(|said| said.kept))
    }

    async fn delete(&self, id: Id) -> Result<bool> {
        // Copies end no later than one that was made just now, or than this one.
        let age = TimeDelta::try_seconds(self.site.settings().sessions.cookie_age);
        let end = age.and_then(|age| Utc::now().checked_add_signed(age));
        let end = end.into_iter().chain(self.said().map(|said| said.kept.end)).max();
        let lasts = until(end.unwrap_or(DateTime::<Utc>::MAX_UTC));
        self.say(None);
        match self.site.values().add(&name(ENDED, id), "", lasts).await {
            Ok(added) => Ok(added.is_some()),
            Err(error) => {
                tracing::warn!(%error, "a request that still runs may bring a session back");
                Ok(true)
            }
        }
    }

    async fn owned(&self, _: &str) -> Result<Vec<Owned>> {
        Ok(Vec::new())
    }

    async fn revoke(&self, _: &Owned) -> Result<bool> {
        Ok(false)
    }

    async fn revoke_all(&self, _: &str, _: Option<Id>) -> Result<usize> {
        Ok(0)
    }

    fn cookie(&self, _: Id) -> String {
        self.said().map(|said| self.text(&said)).unwrap_or_default()
    }

    fn is_cookie(&self) -> bool {
        true
    }

    fn renewed(&self) -> Box<dyn Engine> {
        Box::new(Self { site: self.site.clone(), said: Mutex::new(self.said()) })
    }
}

/// What a cookie says: the id, the end and the data.
fn read(site: &Site, cookie: &str) -> Option<Said> {
    let settings = site.settings();
    let (body, signature) = cookie.split_once('.')?;
    let mut keys = std::iter::once(&settings.secret_key).chain(&settings.secret_key_fallbacks);
    let place = keys.position(|key| is_same(&salted_hmac(SALT, body, key), signature))?;
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
    let mut parts = text.splitn(3, ' ');
    let id = parts.next()?.parse().ok()?;
    let end = DateTime::from_timestamp(parts.next()?.parse().ok()?, 0)?;
    // One of an earlier key is signed anew.
    let kept = Kept { is_stale: place > 0, ..Kept::new(parts.next()?.into(), end) };
    (end > Utc::now()).then_some(Said { id, kept })
}
