//! Sessions as rows: what `tower_sessions` asks of a store.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as StoreError, Result as StoreResult};

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
        self.save(record).await
    }

    async fn save(&self, _record: &Record) -> StoreResult<()> {
        Err(StoreError::Backend("there is no table yet".into()))
    }

    async fn load(&self, _id: &Id) -> StoreResult<Option<Record>> {
        self.read.store(true, Ordering::Relaxed);
        Ok(None)
    }

    async fn delete(&self, _id: &Id) -> StoreResult<()> {
        Ok(())
    }
}
