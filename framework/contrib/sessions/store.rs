//! Sessions as rows: what `tower_sessions` asks of a store.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tower_sessions::SessionStore;
use tower_sessions::cookie::time::OffsetDateTime;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as StoreError, Result as StoreResult};

use super::models::Session;
use crate::error::Error;
use crate::site::Site;

/// The table, as one request sees it: it also remembers what happened, for the middleware.
#[derive(Debug)]
pub(super) struct Rows {
    site: Site,
    read: AtomicBool,
    gone: AtomicBool,
    emptied: AtomicBool,
}

impl Rows {
    pub(super) fn new(site: Site) -> Self {
        Self {
            site,
            read: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            emptied: AtomicBool::new(false),
        }
    }

    /// When the row ends. A cookie that ends with the browser has no date of its own.
    fn end(&self, record: &Record) -> StoreResult<DateTime<Utc>> {
        let settings = &self.site.settings().sessions;
        let end = if settings.expire_at_browser_close {
            TimeDelta::try_seconds(settings.cookie_age)
                .and_then(|age| Utc::now().checked_add_signed(age))
        } else {
            let date = record.expiry_date;
            DateTime::from_timestamp(date.unix_timestamp(), date.nanosecond())
        };
        end.ok_or_else(|| StoreError::Encode("a session's end is no date".into()))
    }

    /// Whether a row was looked for.
    pub(super) fn was_read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether a save found its row deleted.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether a save found nothing left worth a row.
    pub(super) fn is_emptied(&self) -> bool {
        self.emptied.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl SessionStore for Rows {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        let row = Session {
            session_key: record.id.to_string(),
            session_data: encode(record)?,
            expire_date: self.end(record)?,
        };
        Session::create(&self.site, row).await.map_err(refused)?;
        Ok(())
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        if record.data.is_empty() {
            self.emptied.store(true, Ordering::Relaxed);
            return self.delete(&record.id).await;
        }
        let (data, expires) = (encode(record)?, self.end(record)?);
        let changed = Session::objects()
            .filter(|s| s.session_key().eq(record.id.to_string()))
            .update(&self.site, |s| [s.session_data().set(data), s.expire_date().set(expires)])
            .await
            .map_err(refused)?;
        if changed == 0 {
            self.gone.store(true, Ordering::Relaxed);
            return Err(StoreError::Backend("the session is deleted".into()));
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        self.read.store(true, Ordering::Relaxed);
        let row = Session::objects()
            .filter(|s| s.session_key().eq(id.to_string()) & s.expire_date().gt(Utc::now()))
            .first(&self.site)
            .await
            .map_err(refused)?;
        row.map(|row| decode(*id, &row)).transpose()
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        Session::objects()
            .filter(|s| s.session_key().eq(id.to_string()))
            .delete(&self.site)
            .await
            .map_err(refused)?;
        Ok(())
    }
}

fn encode(record: &Record) -> StoreResult<String> {
    serde_json::to_string(&record.data).map_err(|error| StoreError::Encode(error.to_string()))
}

fn decode(id: Id, row: &Session) -> StoreResult<Record> {
    let data = serde_json::from_str(&row.session_data)
        .map_err(|error| StoreError::Decode(error.to_string()))?;
    let expiry_date = OffsetDateTime::from_unix_timestamp(row.expire_date.timestamp())
        .map_err(|error| StoreError::Decode(error.to_string()))?;
    Ok(Record { id, data, expiry_date })
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(error: Error) -> StoreError {
    StoreError::Backend(error.to_string())
}
