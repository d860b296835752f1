//! `FieldType`: what a Rust type is as a column, and the types that are one.

use chrono::{DateTime, NaiveDate, Utc};
use sea_query::Value;
use serde::Serialize;

use crate::db::Row;
use crate::error::Result;
use crate::models::column::{AtPath, Column};
use crate::models::meta::{Choice, Default, FieldKind, Meta};

/// A type that a model's field may have.
#[diagnostic::on_unimplemented(
    message = "a model cannot have a field of type `{Self}`",
    label = "not a type of field",
    note = "a field is an `Id`, `String`, `bool`, `i16`, `i32`, `i64`, `f64`, `DateTime<Utc>`, \
            `NaiveDate`, `ForeignKey<..>`, an enum with `#[derive(Choices)]`, or an `Option` of one"
)]
pub trait FieldType: Clone + Send + Sync + Serialize + Sized + 'static {
    /// What its column holds.
    const KIND: FieldKind;
    /// Whether NULL is allowed.
    const NULL: bool = false;
    /// Longest text, characters, unless the field says otherwise.
    const MAX_LENGTH: Option<u32> = None;
    /// The only values allowed.
    const CHOICES: &'static [Choice] = &[];
    /// The model it points to.
    const RELATION: Option<fn() -> &'static Meta> = None;
    /// What a query's closure gets for it: its lookups.
    type Column: AtPath;

    /// The value before anything is set.
    fn unset() -> Self;

    /// The value a declared default means, if it fits.
    fn from_default(default: &Default) -> Option<Self>;

    /// The value to store; `None` if it is unset and must not be.
    fn value(&self) -> Option<Value>;

    /// NULL of its column's type.
    fn null() -> Value;

    /// Reads it from the column at `index`.
    ///
    /// # Errors
    /// The column holds something else.
    fn read(row: &Row, index: usize) -> Result<Self>;

    /// Reads the related row, whose columns begin at `index`; nothing to do but for a relation.
    ///
    /// # Errors
    /// The columns do not fit.
    fn attach(&mut self, row: &Row, index: usize) -> Result<()> {
        let _ = (row, index);
        Ok(())
    }
}

/// A field whose own type is what its lookups compare with.
pub trait Plain: FieldType {}

/// A field that `auto_now` and `auto_now_add` can set.
#[diagnostic::on_unimplemented(
    message = "`auto_now` and `auto_now_add` cannot set a `{Self}`",
    note = "they need a `DateTime<Utc>` or a `NaiveDate`"
)]
pub trait Timed: FieldType {
    /// Sets it.
    fn set_now(&mut self, now: DateTime<Utc>);
}

macro_rules! plain {
    ($($type:ty: $kind:ident, $variant:ident, $unset:expr, $default:pat => $made:expr;)+) => {$(
        // The note of the trait names them better than a list of impls.
        #[diagnostic::do_not_recommend]
        impl FieldType for $type {
            const KIND: FieldKind = FieldKind::$kind;
            type Column = Column<Self>;

            fn unset() -> Self {
                $unset
            }

            fn from_default(default: &Default) -> Option<Self> {
                match default {
                    $default => $made,
                    _ => None,
                }
            }

            fn value(&self) -> Option<Value> {
                Some(Value::$variant(Some(self.clone().into())))
            }

            fn null() -> Value {
                Value::$variant(None)
            }

            fn read(row: &Row, index: usize) -> Result<Self> {
                row.get(index)
            }
        }

        impl Plain for $type {}
    )+};
}

plain! {
    bool: Boolean, Bool, false, Default::Bool(value) => Some(*value);
    i16: SmallInteger, SmallInt, 0, Default::Int(value) => Self::try_from(*value).ok();
    i32: Integer, Int, 0, Default::Int(value) => Self::try_from(*value).ok();
    i64: BigInteger, BigInt, 0, Default::Int(value) => Some(*value);
    f64: Float, Double, 0.0, Default::Float(value) => Some(*value);
    String: Text, String, Self::new(), Default::Text(value) => Some((*value).to_owned());
    DateTime<Utc>: DateTime, ChronoDateTimeUtc, Self::UNIX_EPOCH, Default::Bool(_) => None;
    NaiveDate: Date, ChronoDate, <Self as std::default::Default>::default(),
        Default::Bool(_) => None;
}

impl Timed for DateTime<Utc> {
    fn set_now(&mut self, now: DateTime<Utc>) {
        *self = now;
    }
}

impl Timed for NaiveDate {
    fn set_now(&mut self, now: DateTime<Utc>) {
        *self = now.date_naive();
    }
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
    type Column = T::Column;

    fn unset() -> Self {
        None
    }

    fn from_default(default: &Default) -> Option<Self> {
        T::from_default(default).map(Some)
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

    fn attach(&mut self, row: &Row, index: usize) -> Result<()> {
        self.as_mut().map_or(Ok(()), |value| value.attach(row, index))
    }
}
