//! `FieldType`: what a Rust type is as a column, and the types that are one.

use std::any::Any;

use chrono::{DateTime, Utc};
use sea_query::Value;
use serde::Serialize;

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::meta::{Choice, Field, FieldKind, Meta};
use crate::models::slot::Slot;
use crate::models::trail::AtPath;

/// A type that a model's field may have.
///
/// A site's own type says what its column holds and how to get there and back. With [`Plain`] it
/// has all lookups; migrations, fixtures, `values` and `full_clean` know it without more.
///
/// ```
/// use hulse::db::Value;
/// use hulse::models::{Expression, FieldKind, FieldType, Plain};
/// use hulse::prelude::*;
///
/// /// Stored as `#rrggbb`.
/// #[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
/// struct Color(u32);
///
/// impl FieldType for Color {
///     const KIND: FieldKind = FieldKind::Char;
///     const MAX_LENGTH: Option<u32> = Some(7);
///     type Column = Expression<Self>;
///
///     fn unset() -> Self {
///         Self(0)
///     }
///
///     fn value(&self) -> Option<Value> {
///         Some(format!("#{:06x}", self.0).into())
///     }
///
///     fn from_stored(value: Value) -> Option<Self> {
///         let text = String::from_stored(value)?;
///         u32::from_str_radix(text.strip_prefix('#')?, 16).ok().map(Self)
///     }
/// }
///
/// impl Plain for Color {}
///
/// #[derive(Model, Clone, Debug)]
/// #[model(app = "shop")]
/// struct Paint {
///     id: Id,
///     #[field(default = Color(0xff0000))]
///     color: Color,
///     edge: Option<Color>,
/// }
///
/// # async fn paints(site: &Site) -> Result<()> {
/// let red = Paint::objects().filter(|p| p.color().eq(Color(0xff0000))).all(site).await?;
/// let edges = Paint::objects().values(|p| p.edge()).all(site).await?; // Vec<Option<Color>>
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "a model cannot have a field of type `{Self}`",
    label = "not a type of field",
    note = "a field is an `Id`, `String`, `bool`, `i16` to `i64`, `u16` to `u64`, `f64`, \
            `Decimal`, `DateTime<Utc>`, `NaiveDate`, `NaiveTime`, `TimeDelta`, `Uuid`, \
            `Json<..>`, `Vec<u8>`, `IpAddr`, `File`, `Image`, `ForeignKey<..>`, `OneToOne<..>`, \
            an enum with `#[derive(Choices)]`, or an `Option` of one; or, so written, a \
            `Deferred<..>` of one, a `ManyToMany<..>`, `HasMany<..>` or `HasOne<..>`"
)]
pub trait FieldType: Clone + Send + Sync + Serialize + Sized + 'static {
    /// What its column holds; [`value`](Self::value) is of this kind.
    const KIND: FieldKind;
    /// Whether NULL is allowed.
    const NULL: bool = false;
    /// Longest text, characters, unless the field says otherwise.
    const MAX_LENGTH: Option<u32> = None;
    /// The only values allowed.
    const CHOICES: &'static [Choice] = &[];
    /// The model it points to.
    const RELATION: Option<fn() -> &'static Meta> = None;
    /// Whether no two rows may share a value, whatever the field says.
    const UNIQUE: bool = false;
    /// What a query's closure gets for it: its lookups.
    type Column: AtPath;

    /// The value before anything is set.
    fn unset() -> Self;

    /// The value to store; `None` if it is unset and must not be.
    fn value(&self) -> Option<Value>;

    /// What `value` has stored; `None` if it cannot be that.
    fn from_stored(value: Value) -> Option<Self>;

    /// NULL of its column's type.
    #[must_use]
    fn null() -> Value {
        Self::KIND.null()
    }

    /// Reads it from the column at `index`.
    ///
    /// # Errors
    /// The column holds something else.
    fn read(row: &Row, index: usize) -> Result<Self> {
        let value = Self::KIND.read(row, index)?;
        let wrong = || {
            let words = format!("{value:?} is no {}", std::any::type_name::<Self>());
            Error::of(Kind::Field, words)
        };
        Self::from_stored(value.clone()).ok_or_else(wrong)
    }

    /// The value as the field that holds it shows it; nothing to do but for decimals.
    #[must_use]
    fn fitted(self, field: &Field) -> Self {
        let _ = field;
        self
    }

    /// What holds the related row; `None` unless it is a relation that is set.
    #[doc(hidden)]
    fn slot(&mut self) -> Option<&mut dyn Slot> {
        None
    }

    /// Has a foreign key point to the row with this key; nothing to do for others.
    #[doc(hidden)]
    fn point(&mut self, key: &dyn Any) {
        let _ = key;
    }
}

/// A field whose own type is what its lookups compare with.
pub trait Plain: FieldType {}

/// A field that `auto_now` and `auto_now_add` can set.
#[diagnostic::on_unimplemented(
    message = "`auto_now` and `auto_now_add` cannot set a `{Self}`",
    note = "they need a `DateTime<Utc>`, a `NaiveDate` or a `NaiveTime`"
)]
pub trait Timed: FieldType {
    /// Sets it.
    fn set_now(&mut self, now: DateTime<Utc>);
}

impl<T: Timed> Timed for Option<T> {
    fn set_now(&mut self, now: DateTime<Utc>) {
        self.get_or_insert_with(T::unset).set_now(now);
    }
}

#[diagnostic::do_not_recommend]
impl<T: FieldType> FieldType for Option<T> {
    const KIND: FieldKind = T::KIND;
    const NULL: bool = true;
    const MAX_LENGTH: Option<u32> = T::MAX_LENGTH;
    const CHOICES: &'static [Choice] = T::CHOICES;
    const RELATION: Option<fn() -> &'static Meta> = T::RELATION;
    const UNIQUE: bool = T::UNIQUE;
    type Column = <T::Column as AtPath>::Nullable;

    fn unset() -> Self {
        None
    }

    fn from_stored(value: Value) -> Option<Self> {
        if value.is_some() { T::from_stored(value).map(Some) } else { Some(None) }
    }

    fn value(&self) -> Option<Value> {
        self.as_ref().map_or_else(|| Some(T::null()), T::value)
    }

    fn null() -> Value {
        T::null()
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        if row.is_null(index) { Ok(None) } else { T::read(row, index).map(Some) }
    }

    fn fitted(self, field: &Field) -> Self {
        self.map(|value| value.fitted(field))
    }

    fn slot(&mut self) -> Option<&mut dyn Slot> {
        self.as_mut().and_then(T::slot)
    }

    fn point(&mut self, key: &dyn Any) {
        self.get_or_insert_with(T::unset).point(key);
    }
}
