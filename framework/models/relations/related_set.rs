//! `RelatedSet`: what `post.tags()` and `user.posts()` give, the related rows of one row.
//!
//! The methods are the row's and not the field's, so that they always know the row's key of this
//! moment; the field of the same name holds what is loaded.
//!
//! Flow, changing: keys of the rows given → [`Change`] → over a model between an INSERT or DELETE
//! of its rows ([`Between`]); over a foreign key an UPDATE of it ([`Pointing`]).
//!
//! Invariant: a change makes what the field has loaded count as not loaded.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;

use sea_query::Value;

use crate::error::{Error, Kind, Result};
use crate::models::between::{Between, without};
use crate::models::condition::{Lookup, Q};
use crate::models::expression::{Comparison, Node, Order};
use crate::models::has_many::Pointing;
use crate::models::loader::Way;
use crate::models::meta::{Many, Meta};
use crate::models::model::Model;
use crate::models::query::{OneOrMore, QuerySet};
use crate::models::save;
use crate::models::slot::{Holds, KeyName, Loaded, Route};
use crate::site::Site;

/// What names a row of `T` that is saved: the row or a foreign key to it.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is no row of `{T}`",
    note = "give rows (`[&rust]`, `&tags`) or foreign keys (`[ForeignKey::to(7)]`)"
)]
pub trait KeyOf<T> {
    /// Its key, if it is set.
    fn key_value(self) -> Option<Value>;
}

impl<T: Model> KeyOf<T> for &T {
    fn key_value(self) -> Option<Value> {
        self.key()
    }
}

/// The rows related to one row: `post.tags()`, `user.posts()`.
///
/// ```
/// # use hulse::prelude::*;
/// #[derive(Model, Clone)]
/// struct Tag {
///     id: Id,
///     #[field(max_length = 30, unique)]
///     name: String,
///     #[field(by = tags)]
///     posts: HasMany<Post>,
/// }
///
/// #[derive(Model, Clone)]
/// struct Post {
///     id: Id,
///     #[field(max_length = 200)]
///     title: String,
///     tags: ManyToMany<Tag>,
/// }
///
/// # async fn tags(site: &Site, post: &Post, rust: &Tag, web: &Tag) -> Result<()> {
/// post.tags().add(site, [rust, web]).await?;
/// post.tags().set(site, [web]).await?;
/// post.tags().create(site, Tag { name: "news".into(), ..Default::default() }).await?;
/// let names = post.tags().filter(|t| t.name().startswith("n")).all(site).await?;
/// let count = rust.posts().count(site).await?;
/// let about_rust = Post::objects().filter(|p| p.tags().eq(rust)).all(site).await?;
/// # Ok(())
/// # }
/// ```
pub struct RelatedSet<'a, T: Model> {
    pub(in crate::models) owner: Owner,
    pub(in crate::models) loaded: &'a Loaded<T>,
}

/// The row whose relation it is.
pub(in crate::models) struct Owner {
    pub(in crate::models) meta: &'static Meta,
    pub(in crate::models) many: &'static Many,
    pub(in crate::models) key: Option<Value>,
    /// The same as the type that its foreign keys have.
    own_key: Option<Box<dyn Any + Send + Sync>>,
}

/// How to change the relation.
enum Change {
    Pointing(Pointing),
    /// The `bool`: whether the model between has nothing but the two keys.
    Between(Between, bool),
}

impl Owner {
    pub(in crate::models) fn new<M: Model>(row: &M, at: usize) -> Self {
        let own_key = row.own_key().map(|key| Box::new(key) as Box<dyn Any + Send + Sync>);
        Self { meta: M::meta(), many: &M::meta().many[at], key: row.key(), own_key }
    }

    /// The key, or what is wrong.
    pub(in crate::models) fn saved(&self) -> Result<Value> {
        self.key.clone().ok_or_else(|| {
            let label = self.meta.label();
            self.error(format!("cannot be used: this {label} is not saved, save it first"))
        })
    }

    pub(in crate::models) fn error(&self, words: impl fmt::Display) -> Error {
        let (label, name) = (self.meta.label(), self.many.name);
        Error::of(Kind::Field, format!("{label}.{name} {words}"))
    }

    fn change(&self) -> Result<Change> {
        let key = self.saved()?;
        Ok(match self.many.route(self.meta)? {
            Route::Reverse { field } => {
                let relation = format!("{}.{}", self.meta.label(), self.many.name);
                Change::Pointing(Pointing { meta: self.many.to(), field, key, relation })
            }
            Route::Through { through, from, to, auto, symmetrical } => {
                let (owner, field) = (self.meta, self.many.name);
                let between = Between { through, from, to, symmetrical, owner, field, key };
                Change::Between(between, auto)
            }
        })
    }

    /// A query of the rows.
    fn objects<T: Model>(&self) -> QuerySet<T> {
        let mut rows = QuerySet::new();
        let way = self.saved().and_then(|key| Ok((key, Way::of(self.meta, self.many.name)?)));
        match way {
            Ok((key, way)) => {
                let owner = Node::Column(way.owner(T::meta()));
                let equal = Lookup::Compare(Comparison::Equal, Node::Value(key));
                rows.plan.filter(Q::test(owner, equal));
            }
            Err(error) => rows.mistaken(error.to_string()),
        }
        rows
    }

    /// The model between, if nothing has to be said of its rows.
    fn plain(&self, between: Between, auto: bool) -> Result<Between> {
        if auto {
            return Ok(between);
        }
        let words = format!(
            "goes over {}, which has fields of its own: use `add_with(site, rows, {} {{ .. }})`, \
             or write and delete rows of that model",
            between.through.label(),
            between.through.model
        );
        Err(self.error(words))
    }
}

impl<'a, T: Model> RelatedSet<'a, T> {
    /// The relation at `at` of the description of `row`, which `field` holds.
    #[doc(hidden)]
    #[must_use]
    pub fn new<M: Model>(row: &M, at: usize, field: &'a impl Holds<T>) -> Self {
        Self { owner: Owner::new(row, at), loaded: field.held() }
    }

    /// The rows, in the order of their model. Asks nothing if `prefetch_related` has loaded them.
    ///
    /// # Errors
    /// This row is not saved, or the database cannot be asked.
    pub async fn all(&self, site: &Site) -> Result<Vec<T>> {
        match self.loaded.known(self.owner.key.as_ref(), site).await? {
            Some(rows) => Ok(rows),
            None => self.objects().all(site).await,
        }
    }

    /// How many there are. Asks nothing if `prefetch_related` has loaded them.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn count(&self, site: &Site) -> Result<u64> {
        match self.loaded.get() {
            Some(rows) => Ok(rows.len() as u64),
            None => self.objects().count(site).await,
        }
    }

    /// Whether there is one. Asks nothing if `prefetch_related` has loaded them.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn exists(&self, site: &Site) -> Result<bool> {
        match self.loaded.get() {
            Some(rows) => Ok(!rows.is_empty()),
            None => self.objects().exists(site).await,
        }
    }

    /// A query of the rows, whether they are loaded or not.
    #[must_use]
    pub fn objects(&self) -> QuerySet<T> {
        self.owner.objects()
    }

    /// A query of those for which `condition` holds.
    #[must_use]
    pub fn filter(&self, condition: impl FnOnce(&T::Columns) -> Q) -> QuerySet<T> {
        self.objects().filter(condition)
    }

    /// A query of those for which `condition` does not hold.
    #[must_use]
    pub fn exclude(&self, condition: impl FnOnce(&T::Columns) -> Q) -> QuerySet<T> {
        self.objects().exclude(condition)
    }

    /// A query of all of them in this order.
    #[must_use]
    pub fn order_by<O: OneOrMore<Order>>(
        &self,
        order: impl FnOnce(&T::Columns) -> O,
    ) -> QuerySet<T> {
        self.objects().order_by(order)
    }

    /// Adds rows; those that are there already stay as they are. One INSERT over a model between;
    /// over a foreign key one UPDATE, which calls no hook. Takes rows (`[&rust, &web]`, `&tags`) or
    /// foreign keys
    /// (`ids.into_iter().map(ForeignKey::to)`).
    ///
    /// # Errors
    /// This row or one of them is not saved, or the model between has fields of its own, see
    /// [`add_with`](Self::add_with) (`is_field`); a receiver of
    /// [`M2mChanged`](crate::models::M2mChanged) fails; the database refuses them.
    pub async fn add<R: KeyOf<T>>(
        &self,
        site: &Site,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let (change, keys) = (self.owner.change()?, self.keys(rows)?);
        if keys.is_empty() {
            return Ok(());
        }
        match change {
            Change::Pointing(pointing) => pointing.take(site, &keys).await?,
            Change::Between(between, auto) => {
                self.owner.plain(between, auto)?.add(site, keys, None).await?;
            }
        }
        self.loaded.expire();
        Ok(())
    }

    /// Adds rows over a model between with fields of its own: `row` says what these are, its two
    /// foreign keys are set for each (Django's `through_defaults`). Calls no hook of it. Rows that
    /// are in the relation already are left out; two who add the same at the same moment both do,
    /// unless the model between has the pair `unique(..)`.
    ///
    /// # Errors
    /// As [`add`](Self::add); `row` is of another model or does not fit.
    pub async fn add_with<R: KeyOf<T>, M: Model>(
        &self,
        site: &Site,
        rows: impl IntoIterator<Item = R>,
        mut row: M,
    ) -> Result<()> {
        let (change, keys) = (self.owner.change()?, self.keys(rows)?);
        let between = match change {
            Change::Between(between, _) if std::ptr::eq(between.through, M::meta()) => between,
            _ => {
                let words = format!("does not go over {}", M::meta().label());
                return Err(self.owner.error(words));
            }
        };
        if keys.is_empty() {
            return Ok(());
        }
        row.set_times(save::now(), true);
        between.add(site, keys, Some(row.values())).await?;
        self.loaded.expire();
        Ok(())
    }

    /// Removes rows from the relation; they themselves stay. Those that are not in it do not
    /// matter. One DELETE over a model between; over a foreign key, which must be nullable, one
    /// UPDATE.
    ///
    /// # Errors
    /// As [`add`](Self::add); the foreign key cannot be NULL (`is_field`).
    pub async fn remove<R: KeyOf<T>>(
        &self,
        site: &Site,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let (change, keys) = (self.owner.change()?, self.keys(rows)?);
        if keys.is_empty() {
            return Ok(());
        }
        match change {
            Change::Pointing(pointing) => pointing.release(site, Some(&keys)).await?,
            Change::Between(between, _) => between.remove(site, Some(&keys)).await?,
        }
        self.loaded.expire();
        Ok(())
    }

    /// Removes all rows from the relation.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn clear(&self, site: &Site) -> Result<()> {
        match self.owner.change()? {
            Change::Pointing(pointing) => pointing.release(site, None).await?,
            Change::Between(between, _) => between.remove(site, None).await?,
        }
        self.loaded.expire();
        Ok(())
    }

    /// Makes the relation hold these rows and no others: asks what is there, then removes and adds
    /// the difference, in one transaction.
    ///
    /// # Errors
    /// As [`add`](Self::add) and [`remove`](Self::remove).
    pub async fn set<R: KeyOf<T>>(
        &self,
        site: &Site,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let (change, wanted) = (self.owner.change()?, self.keys(rows)?);
        match change {
            Change::Pointing(pointing) => {
                site.atomic(async |site| {
                    let there = pointing.keys(&site).await?;
                    let gone = without(there.clone(), &wanted);
                    if !gone.is_empty() {
                        pointing.release(&site, Some(&gone)).await?;
                    }
                    pointing.take(&site, &without(wanted, &there)).await
                })
                .await?;
            }
            Change::Between(between, auto) => {
                let between = self.owner.plain(between, auto)?;
                site.atomic(async |site| between.set(wanted, &site).await).await?;
            }
        }
        self.loaded.expire();
        Ok(())
    }

    /// Writes `row` as a new one and adds it, in one transaction.
    ///
    /// # Errors
    /// As `create` and [`add`](Self::add).
    pub async fn create(&self, site: &Site, mut row: T) -> Result<T> {
        let made = match self.owner.change()? {
            Change::Pointing(pointing) => {
                if let Some(key) = &self.owner.own_key {
                    row.point(pointing.field.name, key.as_ref());
                }
                save::create(site, row).await?
            }
            Change::Between(between, auto) => {
                let between = self.owner.plain(between, auto)?;
                site.atomic(async |site| {
                    let made = save::create(&site, row).await?;
                    between.add(&site, self.keys([&made])?, None).await?;
                    Ok(made)
                })
                .await?
            }
        };
        self.loaded.expire();
        Ok(made)
    }

    /// Their keys, each once.
    fn keys<R: KeyOf<T>>(&self, rows: impl IntoIterator<Item = R>) -> Result<Vec<Value>> {
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        for row in rows {
            let Some(key) = row.key_value() else {
                return Err(self.owner.error(format!("takes a saved {}", T::meta().label())));
            };
            if seen.insert(KeyName::of(&key)) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

impl<T: Model> fmt::Debug for RelatedSet<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelatedSet({}.{})", self.owner.meta.label(), self.owner.many.name)
    }
}

/// The row that points to one row: `user.profile()`.
pub struct RelatedOne<'a, T: Model> {
    pub(in crate::models) owner: Owner,
    pub(in crate::models) loaded: &'a Loaded<T>,
}

impl<'a, T: Model> RelatedOne<'a, T> {
    /// The relation at `at` of the description of `row`, which `field` holds.
    #[doc(hidden)]
    #[must_use]
    pub fn new<M: Model>(row: &M, at: usize, field: &'a impl Holds<T>) -> Self {
        Self { owner: Owner::new(row, at), loaded: field.held() }
    }

    /// The row. Asks nothing if `select_related` or `prefetch_related` has loaded it.
    ///
    /// # Errors
    /// There is none (`is_does_not_exist`), this row is not saved, or the database cannot be asked.
    pub async fn get(&self, site: &Site) -> Result<T> {
        self.first(site).await?.ok_or_else(|| Error::does_not_exist(T::meta()))
    }

    /// The row, if there is one. Asks nothing if `select_related` or `prefetch_related` has looked.
    ///
    /// # Errors
    /// This row is not saved, or the database cannot be asked.
    pub async fn first(&self, site: &Site) -> Result<Option<T>> {
        match self.loaded.known(self.owner.key.as_ref(), site).await? {
            Some(rows) => Ok(rows.into_iter().next()),
            None => self.owner.objects::<T>().first(site).await,
        }
    }
}

impl<T: Model> fmt::Debug for RelatedOne<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelatedOne({}.{})", self.owner.meta.label(), self.owner.many.name)
    }
}
