//! `HasMany` and `HasOne`: the other side of a foreign key. No columns; they hold what is loaded.

use sea_query::{Expr, ExprTrait, Query, Value};

use crate::error::{Error, Kind, Result};
use crate::models::between::{VALUES_MAX, chunks};
use crate::models::many_to_many::relation_field;
use crate::models::meta::{Field, Meta};
use crate::models::model::Model;
use crate::site::Site;

relation_field! {
    /// The rows of `T` that point here: the other side of a `ForeignKey` or a `ManyToMany`, which
    /// `#[field(by = author)]` names.
    ///
    /// No column. `user.posts()` reads and changes them; the field holds those that
    /// `prefetch_related` has loaded, and serialized it is these, or left out.
    HasMany
}

relation_field! {
    /// The row of `T` that points here, if there is one: the other side of a `OneToOne`.
    ///
    /// No column. `user.profile()` reads it; the field holds what `select_related` or
    /// `prefetch_related` has loaded, and serialized it is that, or left out.
    HasOne
}

impl<T: Model> HasMany<T> {
    /// The rows, if they are loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<&[T]> {
        self.0.get()
    }
}

impl<T: Model> serde::Serialize for HasMany<T> {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        self.0.get().unwrap_or_default().serialize(serializer)
    }
}

impl<T: Model> HasOne<T> {
    /// The row, if it is loaded and there is one.
    #[must_use]
    pub fn loaded(&self) -> Option<&T> {
        self.0.get().and_then(<[T]>::first)
    }
}

impl<T: Model> serde::Serialize for HasOne<T> {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        self.loaded().serialize(serializer)
    }
}

/// The rows whose foreign key points to one row.
pub(in crate::models) struct Pointing {
    pub(in crate::models) meta: &'static Meta,
    pub(in crate::models) field: &'static Field,
    /// The key of the row.
    pub(in crate::models) key: Value,
    /// What messages call the relation.
    pub(in crate::models) relation: String,
}

impl Pointing {
    /// Their keys.
    pub(in crate::models) async fn keys(&self, site: &Site) -> Result<Vec<Value>> {
        let mut select = Query::select();
        select.column(self.meta.primary_key().column).from(self.meta.table);
        select.and_where(Expr::col(self.field.column).eq(self.key.clone()));
        let db = site.db();
        let rows = db.fetch(db.dialect().build(&select)).await?;
        rows.iter().map(|row| self.meta.primary_key().kind.read(row, 0)).collect()
    }

    /// Has the rows with these keys point here.
    pub(in crate::models) async fn take(&self, site: &Site, keys: &[Value]) -> Result<()> {
        for keys in keys.chunks(VALUES_MAX) {
            let mut update = Query::update();
            update.table(self.meta.table).value(self.field.column, self.key.clone());
            let row = Expr::col(self.meta.primary_key().column);
            update.and_where(row.is_in(keys.iter().cloned()));
            site.db().execute(site.db().dialect().build(&update)).await?;
        }
        Ok(())
    }

    /// Has the foreign keys that point here be NULL, those of the rows called or all.
    pub(in crate::models) async fn release(
        &self,
        site: &Site,
        keys: Option<&[Value]>,
    ) -> Result<()> {
        if !self.field.null {
            let words = format!(
                "{} cannot let go of rows: {}.{} cannot be NULL, so delete them or give them \
                 another",
                self.relation,
                self.meta.label(),
                self.field.name
            );
            return Err(Error::of(Kind::Field, words));
        }
        for keys in chunks(keys, VALUES_MAX) {
            let mut update = Query::update();
            update.table(self.meta.table).value(self.field.column, self.key.as_null());
            update.and_where(Expr::col(self.field.column).eq(self.key.clone()));
            if let Some(keys) = keys {
                let row = Expr::col(self.meta.primary_key().column);
                update.and_where(row.is_in(keys.iter().cloned()));
            }
            site.db().execute(site.db().dialect().build(&update)).await?;
        }
        Ok(())
    }
}
