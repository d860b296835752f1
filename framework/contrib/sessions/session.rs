//! A visitor's session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_sessions::Session as Lazy;
use tower_sessions::session::Id;

use super::expiry::{EXPIRY, Expiry};
use super::marks::{mark_of, renew_mark};
use super::store::{Store, gone};
use crate::channels::Dismissal;
use crate::error::{Error, Result};
use crate::site::Site;

/// What the site remembers about a visitor. The first call that looks reads it; what was changed is
/// saved once, when the view has answered.
///
/// Keys are any text; those that begin with `_` are the framework's. Values are whatever can be
/// written as JSON.
#[derive(Clone)]
pub struct Session {
    site: Site,
    lazy: Lazy,
    store: Arc<Store>,
}

impl Session {
    pub(super) fn new(site: Site, id: Option<Id>, store: Arc<Store>) -> Self {
        // When it ends is said by the store, not by the lazy layer.
        Self { site, lazy: Lazy::new(id, Arc::clone(&store), None), store }
    }

    /// What is remembered under `key`.
    ///
    /// # Errors
    /// It is no `T`, or where sessions are kept cannot be reached.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.lazy.get(key).await.map_err(|error| self.store.fault(error))
    }

    /// Remembers `value` under `key`.
    ///
    /// # Errors
    /// It cannot be written as JSON, or where sessions are kept cannot be reached.
    pub async fn set(&self, key: &str, value: impl Serialize) -> Result<()> {
        self.lazy.insert(key, value).await.map_err(|error| self.store.fault(error))
    }

    /// Forgets what is remembered under `key`, and gives it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn pop<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        // One that was not there is no change.
        let value = self.lazy.get_value(key).await.map_err(|error| self.store.fault(error))?;
        let Some(value) = value else { return Ok(None) };
        self.lazy.remove_value(key).await.map_err(|error| self.store.fault(error))?;
        Ok(Some(serde_json::from_value(value)?))
    }

    /// Forgets everything, and keeps the connections that were opened in it.
    pub async fn clear(&self) {
        self.lazy.clear().await;
    }

    /// The session's id, if it has one: not before it was saved, nor if it is known by now that
    /// there is no such session.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        self.key().map(|id| id.to_string())
    }

    pub(super) fn key(&self) -> Option<Id> {
        self.lazy.id()
    }

    /// Whether nothing is remembered, as far as that is known without a look.
    pub async fn is_empty(&self) -> bool {
        self.lazy.is_empty().await
    }

    /// Ends the session: all it remembers is gone, its id worth nothing, and every connection that
    /// was opened in it is closed, in all processes, when this returns. What comes next begins a
    /// new one.
    ///
    /// With `sessions.engine = "signed_cookies"` a copy of the cookie stays good until it ends.
    ///
    /// # Errors
    /// Where sessions are kept cannot be reached. If only the data store cannot, which the log
    /// says, connections of other processes are closed when it is back.
    pub async fn flush(&self) -> Result<()> {
        let mark = mark_of(self).await?;
        self.lazy.flush().await.map_err(|error| self.store.fault(error))?;
        self.store.begin_anew();
        for mark in self.store.take_left().into_iter().chain(mark) {
            dismiss(&self.site, &Dismissal::close(mark)).await;
        }
        Ok(())
    }

    /// Gives the session another id, and leaves what it remembers: against who has learnt or
    /// planted the old one. Django's `cycle_key`; a login does it. Connections that were opened
    /// under the old one are closed with the answer (1012), and come again under the new one.
    ///
    /// # Errors
    /// The session was ended meanwhile (400), it is too late for a cookie, or where sessions are
    /// kept cannot be reached.
    pub async fn cycle_id(&self) -> Result<()> {
        self.lazy.get_value(EXPIRY).await.map_err(|error| self.store.fault(error))?;
        if self.lazy.id().is_none() {
            return Ok(());
        }
        self.check_cookie()?;
        let left = mark_of(self).await?;
        self.lazy.cycle_id().await.map_err(|error| self.store.fault(error))?;
        if !self.store.note_cycled() {
            return Err(gone());
        }
        if self.store.is_handshake() {
            return Ok(());
        }
        self.store.note_left(left);
        renew_mark(self).await
    }

    /// Has those come again that were opened under an id this session had before.
    pub(super) async fn call_again(&self) {
        for mark in self.store.take_left() {
            dismiss(&self.site, &Dismissal::come_again(mark)).await;
        }
    }

    /// Says when this session ends: from now on, also in later requests.
    ///
    /// # Errors
    /// Where sessions are kept cannot be reached.
    pub async fn set_expiry(&self, expiry: Expiry) -> Result<()> {
        match expiry.value() {
            Some(value) => self.set(EXPIRY, value).await,
            None => self.pop::<serde_json::Value>(EXPIRY).await.map(drop),
        }
    }

    /// When this session ends, as it was said last.
    ///
    /// # Errors
    /// Where sessions are kept cannot be reached.
    pub async fn expiry(&self) -> Result<Expiry> {
        Ok(Expiry::read(self.get(EXPIRY).await?.as_ref()))
    }

    /// How long this session lasts if it is used now and then no more. Django's `get_expiry_age`.
    ///
    /// # Errors
    /// Where sessions are kept cannot be reached.
    pub async fn expiry_age(&self) -> Result<Duration> {
        let expiry: Option<serde_json::Value> = self.get(EXPIRY).await?;
        Ok(self.store.life_of(expiry.as_ref()).age.to_std().unwrap_or_default())
    }

    /// Saves what was changed now, not with the answer: what a WebSocket changes after `accept`.
    ///
    /// # Errors
    /// The session was ended meanwhile (400); it would need a cookie, and the answer has gone; or
    /// where sessions are kept cannot be reached.
    pub async fn save(&self) -> Result<()> {
        if self.lazy.id().is_none() || self.store.is_cookie() {
            self.check_cookie()?;
        }
        self.keep().await
    }

    /// As [`save`](Self::save), when the answer is on its way out.
    pub(super) async fn keep(&self) -> Result<()> {
        self.lazy.save().await.map_err(|error| self.store.fault(error))
    }

    /// What a cookie says of this session.
    pub(crate) fn cookie(&self) -> String {
        self.lazy.id().map(|id| self.store.cookie(id)).unwrap_or_default()
    }

    /// Whether somebody else has ended it.
    pub(crate) fn is_gone(&self) -> bool {
        self.store.is_gone()
    }

    /// Its age counts from now on: somebody has proved who they are.
    pub(crate) fn begin_anew(&self) {
        self.store.begin_anew();
    }

    pub(super) fn lazy(&self) -> &Lazy {
        &self.lazy
    }

    fn check_cookie(&self) -> Result<()> {
        if !self.store.is_answered() {
            return Ok(());
        }
        let words = "saving a session behind the answer, when no cookie can reach the browser";
        Err(Error::new(words))
    }
}

/// Dismisses connections; the log says if not all could be told.
pub(crate) async fn dismiss(site: &Site, dismissal: &Dismissal) {
    if let Err(error) = site.layer().dismiss(dismissal).await {
        tracing::error!(%error, "open connections elsewhere are not closed yet");
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("store", &self.store).finish_non_exhaustive()
    }
}
