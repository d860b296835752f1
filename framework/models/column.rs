//! What a query's closure gets: columns with their lookups, and relations to step over.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use sea_query::Value;

use crate::models::field::FieldType;
use crate::models::foreign_key::ForeignKey;
use crate::models::lookup::{Q, Test, TextAt};
use crate::models::meta::Field;
use crate::models::model::Model;
use crate::models::operand::Operand;

/// The foreign keys walked from the query's model to a column's.
#[derive(Clone, Debug, Default)]
pub struct Trail(pub(super) Vec<&'static Field>);

impl Trail {
    /// The column or relation of `field` at its end.
    #[must_use]
    pub fn column<C: AtPath>(&self, field: &'static Field) -> C {
        C::at(FieldPath { trail: self.clone(), field })
    }
}

/// A column as seen from the query's model.
#[derive(Clone, Debug)]
pub struct FieldPath {
    pub(super) trail: Trail,
    pub(super) field: &'static Field,
}

impl FieldPath {
    /// Whether it may be NULL in a row of the query.
    pub(super) fn may_be_null(&self) -> bool {
        self.field.null || self.trail.0.iter().any(|step| step.null)
    }
}

/// Made from a path: a [`Column`] or a [`Related`].
pub trait AtPath {
    /// Makes it.
    fn at(path: FieldPath) -> Self;
}

/// A model's columns (`PostColumns`), reached over a trail of foreign keys.
pub trait Columns: Clone + fmt::Debug + Send + Sync + 'static {
    /// Those at the end of `trail`.
    fn along(trail: Trail) -> Self;
}

/// A column of type `T` with its lookups.
pub struct Column<T> {
    path: FieldPath,
    of: PhantomData<fn() -> T>,
}

impl<T> AtPath for Column<T> {
    fn at(path: FieldPath) -> Self {
        Self { path, of: PhantomData }
    }
}

impl<T> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({})", self.path.field.name)
    }
}

impl<T: FieldType> Column<T> {
    fn test(self, test: Test) -> Q {
        Q::test(self.path, test)
    }

    /// A comparison; with NULL it is never true.
    fn compare(self, value: impl Operand<T>, test: fn(Value) -> Test) -> Q {
        value.operand().map_or(Q::NEVER, |value| self.test(test(value)))
    }

    /// It is `value`; `None` asks for NULL.
    #[must_use]
    pub fn eq(self, value: impl Operand<T>) -> Q {
        match value.operand() {
            Some(value) => self.test(Test::Equal(value)),
            None => self.isnull(true),
        }
    }

    /// It is not `value`; NULL is not `value` either.
    #[must_use]
    pub fn ne(self, value: impl Operand<T>) -> Q {
        !self.eq(value)
    }

    /// It is one of `values`. None of them: no row, and no query.
    #[must_use]
    pub fn in_<V: Operand<T>>(self, values: impl IntoIterator<Item = V>) -> Q {
        let values: Vec<_> = values.into_iter().filter_map(Operand::operand).collect();
        if values.is_empty() { Q::NEVER } else { self.test(Test::In(values)) }
    }

    /// It is greater than `value`.
    #[must_use]
    pub fn gt(self, value: impl Operand<T>) -> Q {
        self.compare(value, Test::Greater)
    }

    /// It is `value` or greater.
    #[must_use]
    pub fn gte(self, value: impl Operand<T>) -> Q {
        self.compare(value, Test::GreaterOrEqual)
    }

    /// It is less than `value`.
    #[must_use]
    pub fn lt(self, value: impl Operand<T>) -> Q {
        self.compare(value, Test::Less)
    }

    /// It is `value` or less.
    #[must_use]
    pub fn lte(self, value: impl Operand<T>) -> Q {
        self.compare(value, Test::LessOrEqual)
    }

    /// It lies between `first` and `last`, both included.
    #[must_use]
    pub fn range(self, first: impl Operand<T>, last: impl Operand<T>) -> Q {
        match (first.operand(), last.operand()) {
            (Some(first), Some(last)) => self.test(Test::Range(first, last)),
            _ => Q::NEVER,
        }
    }

    /// It is NULL, or with `false` it is not.
    #[must_use]
    pub fn isnull(self, null: bool) -> Q {
        self.test(Test::IsNull(null))
    }

    /// Smallest first.
    #[must_use]
    pub fn asc(self) -> Order {
        Order { path: self.path, descending: false }
    }

    /// Largest first.
    #[must_use]
    pub fn desc(self) -> Order {
        Order { path: self.path, descending: true }
    }

    /// What `update` sets it to; `None` is NULL.
    #[must_use]
    pub fn set(self, value: impl Operand<T>) -> Assignment {
        Assignment { path: self.path, value: value.operand().unwrap_or_else(T::null) }
    }
}

/// Lookups in text. Those with an `i` ignore case; SQLite knows the case of ASCII letters only.
impl Column<String> {
    fn text(self, text: impl AsRef<str>, at: TextAt, ignore_case: bool) -> Q {
        self.test(Test::Text { text: text.as_ref().to_owned(), at, ignore_case })
    }

    /// It is `text`, whatever the case.
    #[must_use]
    pub fn iexact(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::Whole, true)
    }

    /// It has `text` in it.
    #[must_use]
    pub fn contains(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::Anywhere, false)
    }

    /// It has `text` in it, whatever the case.
    #[must_use]
    pub fn icontains(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::Anywhere, true)
    }

    /// It begins with `text`.
    #[must_use]
    pub fn startswith(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::Start, false)
    }

    /// It begins with `text`, whatever the case.
    #[must_use]
    pub fn istartswith(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::Start, true)
    }

    /// It ends with `text`.
    #[must_use]
    pub fn endswith(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::End, false)
    }

    /// It ends with `text`, whatever the case.
    #[must_use]
    pub fn iendswith(self, text: impl AsRef<str>) -> Q {
        self.text(text, TextAt::End, true)
    }
}

/// A foreign key to `T`: its own lookups, and the columns of `T` behind it.
pub struct Related<T: Model> {
    path: FieldPath,
    columns: T::Columns,
}

impl<T: Model> AtPath for Related<T> {
    fn at(path: FieldPath) -> Self {
        let mut trail = path.trail.clone();
        trail.0.push(path.field);
        Self { path, columns: T::Columns::along(trail) }
    }
}

impl<T: Model> Deref for Related<T> {
    type Target = T::Columns;

    fn deref(&self) -> &T::Columns {
        &self.columns
    }
}

impl<T: Model> fmt::Debug for Related<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Related({})", self.path.field.name)
    }
}

impl<T: Model> Related<T> {
    /// It points to `row`; if that has no key yet, nothing does.
    #[must_use]
    pub fn eq(self, row: impl PointsTo<T>) -> Q {
        row.target().map_or(Q::NEVER, |key| Q::test(self.path, Test::Equal(key)))
    }

    /// It does not point to `row`.
    #[must_use]
    pub fn ne(self, row: impl PointsTo<T>) -> Q {
        !self.eq(row)
    }

    /// It points to one of `rows`.
    #[must_use]
    pub fn in_<R: PointsTo<T>>(self, rows: impl IntoIterator<Item = R>) -> Q {
        let keys: Vec<_> = rows.into_iter().filter_map(PointsTo::target).collect();
        if keys.is_empty() { Q::NEVER } else { Q::test(self.path, Test::In(keys)) }
    }

    /// It points nowhere, or with `false` somewhere.
    #[must_use]
    pub fn isnull(self, null: bool) -> Q {
        Q::test(self.path, Test::IsNull(null))
    }

    /// What `update` sets it to.
    #[must_use]
    pub fn set(self, row: impl PointsTo<T>) -> Assignment {
        let value = row.target().unwrap_or_else(<ForeignKey<T> as FieldType>::null);
        Assignment { path: self.path, value }
    }

    /// The path of the key itself.
    pub(super) fn into_path(self) -> FieldPath {
        self.path
    }
}

/// What a foreign key to `T` can be compared with: a row or another key. For a bare number or text
/// compare the key's column: `p.author().id().eq(7)`.
#[diagnostic::on_unimplemented(
    message = "a foreign key to `{T}` cannot be compared with a `{Self}`",
    label = "expected a `&{T}`",
    note = "to compare with a key, name its column: `.author().id().eq(7)`"
)]
pub trait PointsTo<T> {
    /// The key, if it is set.
    fn target(self) -> Option<Value>;
}

impl<T: Model> PointsTo<T> for &T {
    fn target(self) -> Option<Value> {
        self.key()
    }
}

impl<T: Model> PointsTo<T> for &ForeignKey<T> {
    fn target(self) -> Option<Value> {
        self.value()
    }
}

impl<T: Model> PointsTo<T> for ForeignKey<T> {
    fn target(self) -> Option<Value> {
        self.value()
    }
}

/// One column of an ORDER BY.
#[derive(Clone, Debug)]
pub struct Order {
    pub(super) path: FieldPath,
    pub(super) descending: bool,
}

/// One column of an `update`.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub(super) path: FieldPath,
    pub(super) value: Value,
}

/// One of something, or several: an array or a `Vec`.
pub trait OneOrMore<T> {
    /// All of them.
    fn into_all(self) -> Vec<T>;
}

macro_rules! one_or_more {
    ($($type:ty),+) => {$(
        impl OneOrMore<$type> for $type {
            fn into_all(self) -> Vec<$type> {
                vec![self]
            }
        }

        impl<const N: usize> OneOrMore<$type> for [$type; N] {
            fn into_all(self) -> Vec<$type> {
                self.into()
            }
        }

        impl OneOrMore<$type> for Vec<$type> {
            fn into_all(self) -> Self {
                self
            }
        }
    )+};
}

one_or_more!(Order, Assignment);
