//! `Q`: conditions, put together with `&`, `|` and `!`.

use std::ops::{BitAnd, BitOr, Not};

use crate::models::expression::{Comparison, Node};
use crate::models::query::QuerySet;
use crate::models::sql::Plan;
use crate::models::trail::FieldPath;

/// A condition on rows. Columns make them: `p.title().eq("x") & !p.live().eq(false)`.
#[derive(Clone, Debug)]
pub struct Q(pub(super) Tree);

#[derive(Clone, Debug)]
pub(super) enum Tree {
    Always,
    Never,
    Test(Box<Test>),
    Exists(Box<Plan>),
    All(Vec<Q>),
    Any(Vec<Q>),
    Not(Box<Q>),
}

/// What is asked of one expression.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) left: Node,
    pub(super) lookup: Lookup,
}

/// A question to an expression.
#[derive(Clone, Debug)]
pub(super) enum Lookup {
    Compare(Comparison, Node),
    Range(Node, Node),
    In(Vec<Node>),
    InQuery(Box<Plan>),
    IsNull(bool),
    Text { text: Node, at: TextAt, ignore_case: bool },
    Regex { pattern: String, ignore_case: bool },
    Json(JsonTest),
}

/// A question to a JSON document.
#[derive(Clone, Debug)]
pub(super) enum JsonTest {
    HasKeys { keys: Vec<String>, all: bool },
    Contains(serde_json::Value),
    ContainedBy(serde_json::Value),
}

/// Where in a text another is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextAt {
    Anywhere,
    Start,
    End,
    Whole,
}

impl Test {
    /// Whether a NULL in one of its columns decides it.
    pub(super) fn is_decided_by_null(&self) -> bool {
        self.left.is_strict()
            && match &self.lookup {
                // It may be one of the others.
                Lookup::In(values) => {
                    values.iter().all(|value| !value.any_column(&mut |_| true) && value.is_strict())
                }
                lookup => lookup.operands().all(Node::is_strict),
            }
    }

    /// Whether a NULL in one of its columns keeps it from being true.
    pub(super) fn is_strict(&self) -> bool {
        !matches!(self.lookup, Lookup::IsNull(true)) && self.is_decided_by_null()
    }

    /// As [`Node::any`].
    fn any(&self, visit: &mut dyn FnMut(&Node) -> bool) -> bool {
        self.left.any(visit) || self.lookup.operands().any(|node| node.any(visit))
    }

    pub(super) fn any_column(&self, look: &mut dyn FnMut(&FieldPath) -> bool) -> bool {
        self.left.any_column(look) || self.lookup.operands().any(|node| node.any_column(look))
    }
}

impl Lookup {
    fn operands(&self) -> impl Iterator<Item = &Node> {
        let (some, list): (_, &[Node]) = match self {
            Self::Compare(_, right) | Self::Text { text: right, .. } => ([Some(right), None], &[]),
            Self::Range(first, last) => ([Some(first), Some(last)], &[]),
            Self::In(values) => ([None, None], values),
            Self::InQuery(_) | Self::IsNull(_) | Self::Regex { .. } | Self::Json(_) => {
                ([None, None], &[])
            }
        };
        some.into_iter().flatten().chain(list)
    }
}

impl Q {
    /// True of every row.
    pub(super) const ALWAYS: Self = Self(Tree::Always);
    /// True of no row; nobody asks the database.
    pub(super) const NEVER: Self = Self(Tree::Never);

    pub(super) fn test(left: Node, lookup: Lookup) -> Self {
        Self(Tree::Test(Box::new(Test { left, lookup })))
    }

    /// There is a row in `rows`. Columns of the query around it are marked with `outer_ref`.
    #[must_use]
    pub fn exists<M, R>(rows: QuerySet<M, R>) -> Self {
        let plan = rows.into_plan();
        if plan.is_never() { Self::NEVER } else { Self(Tree::Exists(Box::new(plan))) }
    }

    /// As [`Node::any`].
    pub(super) fn any(&self, visit: &mut dyn FnMut(&Node) -> bool) -> bool {
        match &self.0 {
            Tree::Test(test) => test.any(visit),
            Tree::All(parts) | Tree::Any(parts) => parts.iter().any(|q| q.any(visit)),
            Tree::Not(inner) => inner.any(visit),
            Tree::Always | Tree::Never | Tree::Exists(_) => false,
        }
    }

    /// Whether a column in it is one that `look` looks for.
    pub(super) fn any_column(&self, look: &mut dyn FnMut(&FieldPath) -> bool) -> bool {
        self.any(&mut |node| matches!(node, Node::Column(path) if look(path)))
    }

    /// Whether something in it was built wrong.
    pub(super) fn is_mistaken(&self) -> bool {
        match &self.0 {
            Tree::Exists(plan) => plan.is_mistaken(),
            Tree::Not(inner) => inner.is_mistaken(),
            Tree::All(parts) | Tree::Any(parts) => parts.iter().any(Self::is_mistaken),
            Tree::Test(test) => match &test.lookup {
                Lookup::InQuery(plan) if plan.is_mistaken() => true,
                _ => test.any(&mut |node| matches!(node, Node::Mistake(_))),
            },
            Tree::Always | Tree::Never => false,
        }
    }

    /// `decided`, unless this was built wrong: that is told, whatever stands beside it.
    fn mistaken_or(self, decided: Self) -> Self {
        if self.is_mistaken() { self } else { decided }
    }

    pub(super) fn has_aggregate(&self) -> bool {
        self.any(&mut |node| matches!(node, Node::Aggregate(_)))
    }
}

/// Both.
impl BitAnd for Q {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Tree::Never, other) | (other, Tree::Never) => Self(other).mistaken_or(Self::NEVER),
            (Tree::Always, other) | (other, Tree::Always) => Self(other),
            (Tree::All(mut all), other) => {
                all.push(Self(other));
                Self(Tree::All(all))
            }
            (one, other) => Self(Tree::All(vec![Self(one), Self(other)])),
        }
    }
}

/// Either, or both.
impl BitOr for Q {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Tree::Always, other) | (other, Tree::Always) => Self(other).mistaken_or(Self::ALWAYS),
            (Tree::Never, other) | (other, Tree::Never) => Self(other),
            (Tree::Any(mut any), other) => {
                any.push(Self(other));
                Self(Tree::Any(any))
            }
            (one, other) => Self(Tree::Any(vec![Self(one), Self(other)])),
        }
    }
}

/// Not so. NULL counts as "no", so a row whose column is NULL is not equal to anything.
impl Not for Q {
    type Output = Self;

    fn not(self) -> Self {
        match self.0 {
            Tree::Always => Self::NEVER,
            Tree::Never => Self::ALWAYS,
            Tree::Not(inner) => *inner,
            tree => Self(Tree::Not(Box::new(Self(tree)))),
        }
    }
}
