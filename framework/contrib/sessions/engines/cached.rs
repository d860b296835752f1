//! Sessions as values of the data store: no query, and there no longer than the store remembers.
//!
//! Beside them there is a list for each owner: of names, so that who reads it has no ids.
//!
//! Invariant: who is signed in in a session that lasts is on its owner's list. When that is full
//! the oldest session on it ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tower_sessions::session::Id;

use super::{Engine, Kept, OWNED_MAX, Owned, Written, handle_of, hash};
use crate::channels::{Dismissal, Version};
use crate::contrib::sessions::marks::mark_of_kept;
use crate::contrib::sessions::session::dismiss;
use crate::contrib::sessions::store;
use crate::error::{Error, Result};
use crate::site::Site;

/// How the names of sessions begin.
const NAMES: &str = "session";
/// How the names of lists begin.
const LISTS: &str = "session.owner";
/// Longest that a list outlives the ends in it, seconds.
const AGE_MAX: i64 = 31_536_000;
/// How often a list is changed that others are quicker to change.
const ATTEMPTS_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Cached(pub(super) Site);

#[async_trait]
impl Engine for Cached {
    async fn create(&self, id: Id, new: Written) -> Result<Kept> {
        let Written { data, end, owner } = new;
        let (values, name) = (self.0.values(), name(NAMES, id));
        let added = values.add(&name, bytes(&data), until(end)).await?;
        let version = added.ok_or_else(|| Error::new("a session of this id is there already"))?;
        // Behind it, so that what is listed and not there is over. Nobody has its id yet.
        if let Some(owner) = owner
            && let Err(error) = self.enlist(&owner, Listed { handle: handle_of(id), end }).await
        {
            values.remove(&name).await?;
            return Err(error);
        }
        Ok(kept(data, end, version))
    }

    async fn replace(&self, id: Id, from: &Kept, new: Written) -> Result<Option<Kept>> {
        let Written { data, end, .. } = new;
        let Some(version) = from.version else { return Ok(None) };
        let values = self.0.values();
        let swapped = values.swap(&name(NAMES, id), version, bytes(&data), until(end)).await?;
        Ok(swapped.map(|version| kept(data, end, version)))
    }

    async fn put_off(&self, id: Id, end: DateTime<Utc>) -> Result<bool> {
        self.0.values().touch(&name(NAMES, id), until(end)).await
    }

    async fn load(&self, id: Id) -> Result<Option<Kept>> {
        self.read(&name(NAMES, id)).await
    }

    async fn delete(&self, id: Id) -> Result<bool> {
        self.0.values().remove(&name(NAMES, id)).await
    }

    async fn owned(&self, owner: &str) -> Result<Vec<Owned>> {
        let Some(list) = self.0.values().get(&list_name(owner)).await? else {
            return Ok(Vec::new());
        };
        let listed: Vec<Listed> = serde_json::from_slice(&list.bytes)?;
        let read = listed.into_iter().rev().map(|one| self.read_listed(one.handle));
        let read = join_all(read).await.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn revoke(&self, owned: &Owned) -> Result<bool> {
        self.0.values().remove(&owned.key).await
    }

    async fn revoke_all(&self, owner: &str, spared: Option<Id>) -> Result<usize> {
        let spared = spared.map(handle_of);
        let others = self.owned(owner).await?.into_iter();
        let others: Vec<Owned> =
            others.filter(|one| Some(&one.handle) != spared.as_ref()).collect();
        let ended = join_all(others.iter().map(|one| self.revoke(one))).await;
        let ended = ended.into_iter().collect::<Result<Vec<bool>>>()?;
        Ok(ended.into_iter().filter(|was_there| *was_there).count())
    }

    fn renewed(&self) -> Box<dyn Engine> {
        Box::new(Self(self.0.clone()))
    }
}

/// A session in the list of its owner.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    handle: String,
    end: DateTime<Utc>,
}

impl Cached {
    async fn read(&self, name: &str) -> Result<Option<Kept>> {
        let Some(found) = self.0.values().get(name).await? else { return Ok(None) };
        let data = std::str::from_utf8(&found.bytes)?.into();
        let left = found.left.and_then(|left| TimeDelta::from_std(left).ok());
        let end = left.and_then(|left| Utc::now().checked_add_signed(left));
        Ok(Some(kept(data, end.unwrap_or(DateTime::<Utc>::MAX_UTC), found.version)))
    }

    async fn read_listed(&self, handle: String) -> Result<Option<Owned>> {
        let key = format!("{NAMES}.{handle}");
        Ok(self.read(&key).await?.map(|kept| Owned { key, handle, kept }))
    }

    /// Puts a session on its owner's list, and takes those off that have ended: by themselves, or,
    /// when there is no room, in any way. If there is none then, the oldest end now.
    async fn enlist(&self, owner: &str, new: Listed) -> Result<()> {
        let (values, name) = (self.0.values(), list_name(owner));
        let age = TimeDelta::seconds(self.0.settings().sessions.cookie_age.clamp(1, AGE_MAX));
        for _ in 0..ATTEMPTS_MAX {
            let found = values.get(&name).await?;
            let listed = found.as_ref().and_then(|found| serde_json::from_slice(&found.bytes).ok());
            let mut listed: Vec<Listed> = listed.unwrap_or_default();
            // Ends are put off without a word to the list.
            listed.retain(|known| known.end + age > Utc::now());
            // Before the list is without them: who is stopped between leaves none open off it.
            let oldest = self.make_room(owner, &mut listed).await?;
            self.end_all(oldest).await?;
            listed.push(Listed { handle: new.handle.clone(), end: new.end });
            let bytes = serde_json::to_vec(&listed)?;
            let last = listed.iter().map(|known| known.end + age).max();
            let lasts = until(last.unwrap_or(new.end));
            let is_done = match found {
                Some(found) => values.swap(&name, found.version, bytes, lasts).await?.is_some(),
                None => values.add(&name, bytes, lasts).await?.is_some(),
            };
            if is_done {
                return Ok(());
            }
        }
        Err(Error::new("listing a session: others were always quicker"))
    }

    /// Takes as much off a full list as lets one more on; what of that has not ended.
    async fn make_room(&self, owner: &str, listed: &mut Vec<Listed>) -> Result<Vec<Owned>> {
        if listed.len() < OWNED_MAX {
            return Ok(Vec::new());
        }
        let mut open = self.owned(owner).await?;
        listed.retain(|known| open.iter().any(|open| open.handle == known.handle));
        let oldest: Vec<Listed> =
            listed.drain(..(listed.len() + 1).saturating_sub(OWNED_MAX)).collect();
        open.retain(|open| oldest.iter().any(|known| known.handle == open.handle));
        Ok(open)
    }

    /// Ends sessions, with what is open in them.
    async fn end_all(&self, owned: Vec<Owned>) -> Result<()> {
        for one in owned {
            self.revoke(&one).await?;
            let data = store::read(&one.kept.data).unwrap_or_default().0;
            let mark = mark_of_kept(one.key(), &data);
            dismiss(&self.0, &Dismissal::close(mark)).await;
        }
        Ok(())
    }
}

fn list_name(owner: &str) -> String {
    format!("{LISTS}.{}", hash(owner.as_bytes()))
}

fn kept(data: Arc<str>, end: DateTime<Utc>, version: Version) -> Kept {
    Kept { version: Some(version), ..Kept::new(data, end) }
}

fn bytes(data: &str) -> Bytes {
    Bytes::copy_from_slice(data.as_bytes())
}

/// The name of what is kept of a session: who reads the store's names has no ids.
pub(super) fn name(kind: &str, id: Id) -> String {
    format!("{kind}.{}", handle_of(id))
}

/// How long a value lasts that ends then; one that should have ended lasts no time.
pub(super) fn until(end: DateTime<Utc>) -> Option<Duration> {
    Some((end - Utc::now()).to_std().unwrap_or(Duration::from_millis(1)))
}
