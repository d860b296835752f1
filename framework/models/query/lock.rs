//! `Lock`: how `select_for_update` locks rows.

use crate::error::{Error, Kind, Result};
use crate::models::query::QuerySet;
use crate::site::Site;

/// How `select_for_update` locks rows. As it begins it waits for other locks and locks the rows of
/// all tables that are read.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    pub(in crate::models) nowait: bool,
    pub(in crate::models) skip_locked: bool,
    pub(in crate::models) no_key: bool,
    pub(in crate::models) of: Vec<&'static str>,
}

impl Lock {
    /// Waits for other locks, and locks the rows of all tables that are read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A row that is locked is an error at once.
    #[must_use]
    pub fn nowait(mut self) -> Self {
        self.nowait = true;
        self
    }

    /// A row that is locked is left out.
    #[must_use]
    pub fn skip_locked(mut self) -> Self {
        self.skip_locked = true;
        self
    }

    /// Others may point foreign keys to the rows meanwhile. PostgreSQL only.
    #[must_use]
    pub fn no_key(mut self) -> Self {
        self.no_key = true;
        self
    }

    /// Locks these rows only: `self`, or a relation that `select_related` reads along
    /// (`author__company`). PostgreSQL only.
    #[must_use]
    pub fn of(mut self, names: &[&'static str]) -> Self {
        self.of = names.to_vec();
        self
    }
}

impl<M, R> QuerySet<M, R> {
    /// Locks the rows until the transaction ends: nobody else changes them meanwhile. Outside a
    /// transaction that is an error; SQLite locks nothing, its writing transactions exclude each
    /// other anyway.
    #[must_use]
    pub fn select_for_update(mut self, lock: Lock) -> Self {
        if lock.nowait && lock.skip_locked {
            self.mistaken("a lock is nowait or skip_locked, not both");
        }
        self.plan.lock = Some(lock);
        self
    }

    pub(super) fn may_lock(&self, site: &Site) -> Result<()> {
        #[cfg(feature = "sqlite")]
        if site.db().dialect() == crate::db::Dialect::Sqlite {
            return Ok(());
        }
        if self.plan.lock.is_some() && !site.in_transaction() {
            return Err(Error::of(
                Kind::TransactionClosed,
                "select_for_update needs a transaction: use it inside `site.atomic`",
            ));
        }
        Ok(())
    }
}
