//! Where a session is kept, as one request sees it.
//!
//! Flow: `tower_sessions` reads and writes lazily through [`Store`] → the engine → what came of it
//! is noted for the way out.
//!
//! Invariants:
//! - What others have changed meanwhile stays: a save is what this request changed, on top of it.
//! - A session that was deleted meanwhile is not brought back, neither by a save nor under a new
//!   id.
//! - One that is older than `sessions.absolute_age` counts as gone, however busy it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde_json::Value;
use tower_sessions::SessionStore;
use tower_sessions::cookie::time::OffsetDateTime;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as StoreError, Result as StoreResult};

use super::changes::{Data, encode, merge};
use super::engines::{Engine, Kept, Written};
use super::expiry::{EXPIRY, Expiry, Life};
use super::opened::OWNER;
use crate::channels::Mark;
use crate::error::{Error, Result};
use crate::site::Site;

/// The key under which it is kept when the session was begun, seconds since 1970. Who reads a
/// session does not see it.
pub(super) const BEGUN: &str = "_session_begun";
/// How often a save is tried that others are quicker than.
const ATTEMPTS_MAX: usize = 32;
/// Part of a session's life after which its end is put off when it was only read,
const LAZY_PART: i32 = 10;
/// and the longest time until then.
const LAZY_MAX: TimeDelta = TimeDelta::minutes(5);

/// The engine, as one request sees it.
#[derive(Debug)]
pub(super) struct Store {
    site: Site,
    engine: Box<dyn Engine>,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    /// What is kept, as far as this request has heard.
    kept: Option<(Id, Kept)>,
    /// What the request has seen or saved last: not what others have changed meanwhile.
    seen: Arc<str>,
    /// When the session was begun, or nobody knows yet.
    begun: Option<DateTime<Utc>>,
    /// How long what is kept lasts.
    life: Option<Life>,
    fate: Fate,
    was_read: bool,
    /// No cookie can reach the browser any more.
    is_answered: bool,
    /// What the engine said that `tower_sessions` has no type for.
    fault: Option<Error>,
    /// The marks it had under ids before this one.
    left: Vec<Mark>,
    /// The request is to open a connection, which is marked already.
    is_handshake: bool,
}

/// What became of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Open,
    /// It was read, and lasts so much shorter than it might that its end should be put off.
    Due,
    /// It was saved here.
    Saved,
    /// Nothing worth keeping was left, so it was deleted.
    Emptied,
    /// It was deleted here.
    Deleted,
    /// Somebody else has deleted it.
    Gone,
}

impl Store {
    pub(super) fn new(site: &Site, engine: Box<dyn Engine>) -> Self {
        Self { site: site.clone(), engine, noted: Mutex::default() }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine, for a connection that outlives its request.
    pub(super) fn engine_renewed(&self) -> Box<dyn Engine> {
        self.engine.renewed()
    }

    /// What the cookie says of the session `id`.
    pub(super) fn cookie(&self, id: Id) -> String {
        self.engine.cookie(id)
    }

    /// Whether the cookie is all there is.
    pub(super) fn is_cookie(&self) -> bool {
        self.engine.is_cookie()
    }

    /// How long what was kept here lasts.
    pub(super) fn life(&self) -> Option<Life> {
        self.noted().life
    }

    /// When the session was begun, if it was read or saved.
    pub(super) fn begun(&self) -> Option<DateTime<Utc>> {
        self.noted().begun
    }

    /// Whether a session was looked for.
    pub(super) fn was_read(&self) -> bool {
        self.noted().was_read
    }

    /// Whether somebody else has deleted it.
    pub(super) fn is_gone(&self) -> bool {
        self.noted().fate == Fate::Gone
    }

    /// Whether a save found nothing left worth keeping.
    pub(super) fn is_emptied(&self) -> bool {
        self.noted().fate == Fate::Emptied
    }

    /// Whether its end should be put off.
    pub(super) fn is_due(&self) -> bool {
        self.noted().fate == Fate::Due
    }

    /// From now on no cookie can reach the browser.
    pub(super) fn set_answered(&self) {
        self.noted().is_answered = true;
    }

    /// Whether none can, as far as the session knows.
    pub(super) fn is_answered(&self) -> bool {
        self.noted().is_answered
    }

    /// What is kept next is a session that begins now.
    pub(super) fn begin_anew(&self) {
        let mut noted = self.noted();
        noted.begun = None;
        noted.fate = Fate::Open;
    }

    /// The session had an id and gets another: whether it was still there.
    pub(super) fn note_cycled(&self) -> bool {
        let mut noted = self.noted();
        let was_there = noted.fate != Fate::Gone;
        noted.fate = if was_there { Fate::Open } else { Fate::Gone };
        was_there
    }

    /// From now on its mark stays what it is: it is that of a connection that is being opened.
    pub(super) fn set_handshake(&self) {
        self.noted().is_handshake = true;
    }

    pub(super) fn is_handshake(&self) -> bool {
        self.noted().is_handshake
    }

    /// Under this mark there may be connections that know its id of before.
    pub(super) fn note_left(&self, mark: Option<Mark>) {
        self.noted().left.extend(mark);
    }

    pub(super) fn take_left(&self) -> Vec<Mark> {
        std::mem::take(&mut self.noted().left)
    }

    /// What went wrong, in the words of who knows.
    pub(super) fn fault(&self, error: tower_sessions::session::Error) -> Error {
        let fault = self.noted().fault.take();
        fault.unwrap_or_else(|| error.into())
    }

    /// How long a session with this end would last.
    pub(super) fn life_of(&self, expiry: Option<&Value>) -> Life {
        let (now, begun) = (Utc::now(), self.noted().begun);
        let settings = &self.site.settings().sessions;
        Life::of(Expiry::read(expiry), settings, begun.unwrap_or(now), now)
    }

    /// Puts the session's end off; whether it is still there.
    pub(super) async fn put_off(&self) -> Result<bool> {
        let Some((id, kept)) = self.noted().kept.clone() else { return Ok(false) };
        let expiry = read(&kept.data).and_then(|(mut data, _)| data.remove(EXPIRY));
        let life = self.life_of(expiry.as_ref());
        self.noted().life = Some(life);
        self.engine.put_off(id, life.end).await
    }

    /// What is to be kept of `data`, and for how long.
    fn written(&self, data: &Data) -> (Written, Life) {
        let begun = *self.noted().begun.get_or_insert_with(Utc::now);
        let (key, begun) = (BEGUN.to_owned(), Value::from(begun.timestamp()));
        let text = encode(data.iter().chain([(&key, &begun)]));
        let life = self.life_of(data.get(EXPIRY));
        let owner = data.get(OWNER).and_then(Value::as_str).map(str::to_owned);
        (Written { data: text.into(), end: life.end, owner }, life)
    }

    fn note_saved(&self, id: Id, kept: Kept, seen: Arc<str>, life: Life) {
        let mut noted = self.noted();
        noted.kept = Some((id, kept));
        noted.seen = seen;
        noted.life = Some(life);
        noted.fate = Fate::Saved;
    }

    fn told<T>(&self, told: Result<T>) -> StoreResult<T> {
        told.map_err(|error| {
            let words = error.to_string();
            self.noted().fault = Some(error);
            StoreError::Backend(words)
        })
    }

    fn gone<T>(&self) -> StoreResult<T> {
        self.noted().fate = Fate::Gone;
        self.told(Err(gone()))
    }

    /// What is kept of `id`, as far as this request has heard, and what it has seen of that.
    async fn kept(&self, id: Id) -> StoreResult<Option<(Kept, Arc<str>)>> {
        {
            let noted = self.noted();
            if let Some((_, kept)) = noted.kept.as_ref().filter(|(noted, _)| *noted == id) {
                return Ok(Some((kept.clone(), Arc::clone(&noted.seen))));
            }
        }
        // It was emptied without a look: all that is there goes.
        let kept = self.told(self.engine.load(id).await)?;
        Ok(kept.map(|kept| (kept.clone(), kept.data)))
    }

    /// Whether the end of what is kept should be put off when it is only read.
    fn is_lazy(&self, kept: &Kept, life: Life) -> bool {
        let settings = &self.site.settings().sessions;
        let patience = match settings.save_every_request {
            true => TimeDelta::zero(),
            // One that would come behind a change would undo it.
            false if self.engine.is_cookie() => return kept.is_stale,
            false => (life.age / LAZY_PART).min(LAZY_MAX),
        };
        kept.is_stale || life.end - kept.end > patience
    }
}

#[async_trait]
impl SessionStore for Store {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        if self.is_gone() {
            return self.gone();
        }
        // Whatever it was called before: who knew that name does not know this one.
        record.id = Id::default();
        let (new, life) = self.written(&record.data);
        let text = Arc::clone(&new.data);
        let created = self.engine.create(record.id, new).await;
        self.note_saved(record.id, self.told(created)?, text, life);
        Ok(())
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        let id = record.id;
        if record.data.is_empty() {
            return self.empty(id).await;
        }
        let Some((mut kept, seen)) = self.kept(id).await? else { return self.gone() };
        let (mut next, mut life) = self.written(&record.data);
        let text = Arc::clone(&next.data);
        if self.noted().fate == Fate::Saved && text == seen {
            return Ok(());
        }
        let merged = |kept: &Kept| {
            let now = read(&kept.data).unwrap_or_default().0;
            merge(&read(&seen).unwrap_or_default().0, &record.data, now)
        };
        if seen != kept.data {
            (next, life) = self.written(&merged(&kept));
        }
        for _ in 0..ATTEMPTS_MAX {
            let replaced = self.engine.replace(id, &kept, next).await;
            if let Some(now) = self.told(replaced)? {
                self.note_saved(id, now, text, life);
                return Ok(());
            }
            kept = match self.told(self.engine.load(id).await)? {
                Some(now) => now,
                None => return self.gone(),
            };
            let merged = merged(&kept);
            if merged.is_empty() {
                return self.empty(id).await;
            }
            (next, life) = self.written(&merged);
        }
        self.told(Err(Error::new("saving a session: others were always quicker")))
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        self.noted().was_read = true;
        let Some(kept) = self.told(self.engine.load(*id).await)? else { return Ok(None) };
        let Some((data, begun)) = read(&kept.data) else {
            tracing::warn!("a session that is no JSON object counts as none");
            return Ok(None);
        };
        self.noted().begun = begun;
        let life = self.life_of(data.get(EXPIRY));
        if life.end <= Utc::now() {
            self.told(self.engine.delete(*id).await)?;
            return Ok(None);
        }
        let is_lazy = self.is_lazy(&kept, life);
        let expiry_date = OffsetDateTime::from_unix_timestamp(kept.end.timestamp())
            .map_err(|error| StoreError::Decode(error.to_string()))?;
        let mut noted = self.noted();
        noted.fate = if is_lazy { Fate::Due } else { Fate::Open };
        noted.seen = Arc::clone(&kept.data);
        noted.kept = Some((*id, kept));
        Ok(Some(Record { id: *id, data, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        let was_there = self.told(self.engine.delete(*id).await)?;
        let mut noted = self.noted();
        noted.kept = None;
        noted.fate = if was_there { Fate::Deleted } else { Fate::Gone };
        Ok(())
    }
}

impl Store {
    async fn empty(&self, id: Id) -> StoreResult<()> {
        self.told(self.engine.delete(id).await)?;
        let mut noted = self.noted();
        noted.kept = None;
        noted.fate = Fate::Emptied;
        Ok(())
    }
}

/// What is kept, as who reads the session sees it, and when the session was begun.
pub(super) fn read(text: &str) -> Option<(Data, Option<DateTime<Utc>>)> {
    let mut data: Data = serde_json::from_str(text).ok()?;
    let begun = data.remove(BEGUN).and_then(|begun| DateTime::from_timestamp(begun.as_i64()?, 0));
    Some((data, begun))
}

/// What comes to who saves a session that somebody else has ended.
pub(super) fn gone() -> Error {
    let message = "the session was deleted before the request completed";
    Error::status(StatusCode::BAD_REQUEST, message)
}
