//! `OneToOne`: a foreign key that no two rows share.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use sea_query::Value;
use serde::{Serialize, Serializer};

use crate::db::Row;
use crate::error::Result;
use crate::models::derive;
use crate::models::expression::Node;
use crate::models::field::FieldType;
use crate::models::foreign_key::ForeignKey;
use crate::models::meta::{FieldKind, Meta};
use crate::models::model::Model;
use crate::models::related::{PointsTo, Related};
use crate::models::related_set::KeyOf;
use crate::models::slot::Slot;

/// Points to a row of `T` that no other row of the model points to; else as [`ForeignKey`], whose
/// methods it has. The other side is a `HasOne`. It may be the primary key.
///
/// ```
/// # use hulse::prelude::*;
/// #[derive(Model, Clone)]
/// struct User {
///     id: Id,
///     #[field(by = user)]
///     profile: HasOne<Profile>,
/// }
///
/// #[derive(Model, Clone)]
/// struct Profile {
///     #[field(primary_key, on_delete = cascade)]
///     user: OneToOne<User>,
///     #[field(text)]
///     about: String,
/// }
///
/// # async fn about(site: &Site, user: &User) -> Result<()> {
/// println!("{}", user.profile().get(site).await?.about);
/// let users = User::objects().select_related(|u| u.profile()).all(site).await?;
/// println!("{:?}", users[0].profile.loaded().map(|profile| &profile.about));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OneToOne<T: Model>(ForeignKey<T>);

impl<T: Model> OneToOne<T> {
    /// Points to the row with this key; nobody checks here that there is one.
    #[must_use]
    pub fn to(key: T::Key) -> Self {
        Self(ForeignKey::to(key))
    }
}

impl<T: Model> Deref for OneToOne<T> {
    type Target = ForeignKey<T>;

    fn deref(&self) -> &ForeignKey<T> {
        &self.0
    }
}

/// Its key; the row itself is not kept.
impl<T: Model> From<&T> for OneToOne<T> {
    fn from(row: &T) -> Self {
        Self(row.into())
    }
}

impl<T: Model> Default for OneToOne<T> {
    fn default() -> Self {
        Self(ForeignKey::default())
    }
}

impl<T: Model> PartialEq for OneToOne<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Model> Eq for OneToOne<T> where T::Key: Eq {}

impl<T: Model> Hash for OneToOne<T>
where
    T::Key: Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: Model> fmt::Debug for OneToOne<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Model> Serialize for OneToOne<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Model> FieldType for OneToOne<T> {
    const KIND: FieldKind = ForeignKey::<T>::KIND;
    const RELATION: Option<fn() -> &'static Meta> = ForeignKey::<T>::RELATION;
    const UNIQUE: bool = true;
    type Column = Related<T>;

    fn unset() -> Self {
        Self::default()
    }

    fn value(&self) -> Option<Value> {
        self.0.value()
    }

    fn from_stored(value: Value) -> Option<Self> {
        ForeignKey::from_stored(value).map(Self)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        ForeignKey::read(row, index).map(Self)
    }

    fn slot(&mut self) -> Option<&mut dyn Slot> {
        Some(&mut self.0)
    }

    fn point(&mut self, key: &dyn Any) {
        self.0.point(key);
    }
}

/// As a primary key: the row is known by the one it belongs to.
#[diagnostic::do_not_recommend]
impl<T: Model> derive::Key for OneToOne<T> {
    type Plain = T::Key;

    fn plain(&self) -> Option<T::Key> {
        self.0.id()
    }
}

impl<T: Model> KeyOf<T> for &OneToOne<T> {
    fn key_value(self) -> Option<Value> {
        self.0.value()
    }
}

impl<T: Model> PointsTo<T> for &OneToOne<T> {
    fn target(self) -> Option<Node> {
        PointsTo::<T>::target(&self.0)
    }
}

impl<T: Model> PointsTo<T> for OneToOne<T> {
    fn target(self) -> Option<Node> {
        PointsTo::<T>::target(self.0)
    }
}
