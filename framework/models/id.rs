//! `Id`: the key the database counts up.

use std::fmt;

use sea_query::Value;
use serde::{Deserialize, Serialize};

use crate::db::Row;
use crate::error::Result;
use crate::models::expression::{Expression, Node};
use crate::models::field::FieldType;
use crate::models::meta::FieldKind;
use crate::models::operand::Operand;

/// A primary key that the database counts up; unset until the first save, and after a delete.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Id(Option<i64>);

impl Id {
    /// The number, once there is one.
    #[must_use]
    pub fn get(self) -> Option<i64> {
        self.0
    }

    /// Whether it has its number.
    #[must_use]
    pub fn is_set(self) -> bool {
        self.0.is_some()
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self(Some(number))
    }
}

impl From<Id> for Option<i64> {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl PartialEq<i64> for Id {
    fn eq(&self, number: &i64) -> bool {
        self.0 == Some(*number)
    }
}

/// The number; `unset` before there is one.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("unset"),
        }
    }
}

#[diagnostic::do_not_recommend]
impl FieldType for Id {
    const KIND: FieldKind = FieldKind::BigAuto;
    type Column = Expression<i64>;

    fn unset() -> Self {
        Self(None)
    }

    fn value(&self) -> Option<Value> {
        self.0.map(Value::from)
    }

    fn from_stored(value: Value) -> Option<Self> {
        i64::from_stored(value).map(Self::from)
    }

    fn read(row: &Row, index: usize) -> Result<Self> {
        row.get(index).map(Self)
    }
}

impl Operand<i64> for Id {
    type Out = i64;

    fn operand(self) -> Option<Node> {
        self.value().map(Node::Value)
    }
}

impl Operand<i64> for &Id {
    type Out = i64;

    fn operand(self) -> Option<Node> {
        self.value().map(Node::Value)
    }
}
