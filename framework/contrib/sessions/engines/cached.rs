//! Sessions as values of the data store: no query, and there no longer than the store remembers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tower_sessions::session::Id;

use super::{Engine, Kept};
use crate::channels::Version;
use crate::error::{Error, Result};
use crate::site::Site;

/// How the names of sessions begin.
const NAMES: &str = "session";

#[derive(Debug)]
pub(super) struct Cached(pub(super) Site);

#[async_trait]
impl Engine for Cached {
    async fn create(&self, id: Id, data: Arc<str>, end: DateTime<Utc>) -> Result<Kept> {
        let added = self.0.values().add(&name(NAMES, id), bytes(&data), until(end)).await?;
        let version = added.ok_or_else(|| Error::new("a session of this id is there already"))?;
        Ok(kept(data, end, version))
    }

    async fn replace(
        &self,
        id: Id,
        from: &Kept,
        data: Arc<str>,
        end: DateTime<Utc>,
    ) -> Result<Option<Kept>> {
        let Some(version) = from.version else { return Ok(None) };
        let values = self.0.values();
        let swapped = values.swap(&name(NAMES, id), version, bytes(&data), until(end)).await?;
        Ok(swapped.map(|version| kept(data, end, version)))
    }

    async fn put_off(&self, id: Id, end: DateTime<Utc>) -> Result<bool> {
        self.0.values().touch(&name(NAMES, id), until(end)).await
    }

    async fn load(&self, id: Id) -> Result<Option<Kept>> {
        let Some(found) = self.0.values().get(&name(NAMES, id)).await? else { return Ok(None) };
        let data = std::str::from_utf8(&found.bytes)?.into();
        let left = found.left.and_then(|left| TimeDelta::from_std(left).ok());
        let end = left.and_then(|left| Utc::now().checked_add_signed(left));
        Ok(Some(kept(data, end.unwrap_or(DateTime::<Utc>::MAX_UTC), found.version)))
    }

    async fn delete(&self, id: Id) -> Result<bool> {
        self.0.values().remove(&name(NAMES, id)).await
    }

    fn renewed(&self) -> Box<dyn Engine> {
        Box::new(Self(self.0.clone()))
    }
}

fn kept(data: Arc<str>, end: DateTime<Utc>, version: Version) -> Kept {
    Kept { version: Some(version), ..Kept::new(data, end) }
}

fn bytes(data: &str) -> Bytes {
    Bytes::copy_from_slice(data.as_bytes())
}

/// The name of what is kept of a session: who reads the store's names has no ids.
pub(super) fn name(kind: &str, id: Id) -> String {
    let digest = Sha256::digest(id.0.to_be_bytes());
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}.{hex}")
}

/// How long a value lasts that ends then; one that should have ended lasts no time.
pub(super) fn until(end: DateTime<Utc>) -> Option<Duration> {
    Some((end - Utc::now()).to_std().unwrap_or(Duration::from_millis(1)))
}
