//! `Q`: conditions, put together with `&`, `|` and `!`.

use std::ops::{BitAnd, BitOr, Not};

use sea_query::Value;

use crate::models::column::FieldPath;

/// A condition on rows. Columns make them: `p.title().eq("x") & !p.live().eq(false)`.
#[derive(Clone, Debug)]
pub struct Q(pub(super) Node);

#[derive(Clone, Debug)]
pub(super) enum Node {
    Always,
    Never,
    Test(FieldPath, Test),
    All(Vec<Q>),
    Any(Vec<Q>),
    Not(Box<Q>),
}

/// What is asked of one column.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Equal(Value),
    Greater(Value),
    GreaterOrEqual(Value),
    Less(Value),
    LessOrEqual(Value),
    Range(Value, Value),
    In(Vec<Value>),
    IsNull(bool),
    Text { text: String, at: TextAt, ignore_case: bool },
}

/// Where in a text another is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextAt {
    Anywhere,
    Start,
    End,
    Whole,
}

impl Q {
    /// True of every row.
    pub(super) const ALWAYS: Self = Self(Node::Always);
    /// True of no row; nobody asks the database.
    pub(super) const NEVER: Self = Self(Node::Never);
}

impl Q {
    pub(super) fn test(path: FieldPath, test: Test) -> Self {
        Self(Node::Test(path, test))
    }
}

/// Both.
impl BitAnd for Q {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Node::Never, _) | (_, Node::Never) => Self::NEVER,
            (Node::Always, other) | (other, Node::Always) => Self(other),
            (Node::All(mut all), other) => {
                all.push(Self(other));
                Self(Node::All(all))
            }
            (one, other) => Self(Node::All(vec![Self(one), Self(other)])),
        }
    }
}

/// Either, or both.
impl BitOr for Q {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Node::Always, _) | (_, Node::Always) => Self::ALWAYS,
            (Node::Never, other) | (other, Node::Never) => Self(other),
            (Node::Any(mut any), other) => {
                any.push(Self(other));
                Self(Node::Any(any))
            }
            (one, other) => Self(Node::Any(vec![Self(one), Self(other)])),
        }
    }
}

/// Not so. NULL counts as "no", so a row whose column is NULL is not equal to anything.
impl Not for Q {
    type Output = Self;

    fn not(self) -> Self {
        match self.0 {
            Node::Always => Self::NEVER,
            Node::Never => Self::ALWAYS,
            Node::Not(inner) => *inner,
            node => Self(Node::Not(Box::new(Self(node)))),
        }
    }
}
