//! Lookups of every type: comparisons, lists, NULL.

use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz;
use sea_query::Value;

use crate::models::condition::{Lookup, Q};
use crate::models::expression::{Comparison, Expression, Function, Node, Output, Part};
use crate::models::field::Plain;
use crate::models::meta::FieldKind;
use crate::models::operand::Operand;
use crate::models::query::QuerySet;
use crate::models::sql::moment_of;

impl<T: Plain, Out: Output> Expression<T, Out> {
    pub(super) fn lookup(self, lookup: Lookup) -> Q {
        Q::test(self.into_node(), lookup)
    }

    /// A comparison; with NULL it is never true.
    fn compare(self, comparison: Comparison, value: impl Operand<T>) -> Q {
        match value.operand() {
            Some(value) => self.lookup(Lookup::Compare(comparison, value)),
            None => Q::NEVER,
        }
    }

    /// It is `value`; `None` asks for NULL.
    #[must_use]
    pub fn eq(self, value: impl Operand<T>) -> Q {
        match value.operand() {
            Some(value) => self.lookup(Lookup::Compare(Comparison::Equal, value)),
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
        if values.is_empty() { Q::NEVER } else { self.lookup(Lookup::In(values)) }
    }

    /// It is one of those that a query of one expression finds: `values(|c| c.name())`.
    #[must_use]
    pub fn in_query<M, R>(self, rows: QuerySet<M, R>) -> Q {
        self.lookup(Lookup::InQuery(Box::new(rows.into_plan())))
    }

    /// It is greater than `value`.
    #[must_use]
    pub fn gt(self, value: impl Operand<T>) -> Q {
        self.compare(Comparison::Greater, value)
    }

    /// It is `value` or greater.
    #[must_use]
    pub fn gte(self, value: impl Operand<T>) -> Q {
        self.compare(Comparison::GreaterOrEqual, value)
    }

    /// It is less than `value`.
    #[must_use]
    pub fn lt(self, value: impl Operand<T>) -> Q {
        self.compare(Comparison::Less, value)
    }

    /// It is `value` or less.
    #[must_use]
    pub fn lte(self, value: impl Operand<T>) -> Q {
        self.compare(Comparison::LessOrEqual, value)
    }

    /// It lies between `first` and `last`, both included.
    #[must_use]
    pub fn range(self, first: impl Operand<T>, last: impl Operand<T>) -> Q {
        match (first.operand(), last.operand()) {
            (Some(first), Some(last)) => self.lookup(Lookup::Range(first, last)),
            _ => Q::NEVER,
        }
    }

    /// It is NULL, or with `false` it is not.
    #[must_use]
    pub fn isnull(self, null: bool) -> Q {
        self.lookup(Lookup::IsNull(null))
    }
}

/// A comparison of a year with a number as one of the moments themselves, which an index answers.
pub(in crate::models) fn year_compared<'a>(
    left: &'a Node,
    comparison: Comparison,
    right: &Node,
    zone: Tz,
) -> Option<(&'a Node, Lookup)> {
    let (Node::Call(call), Node::Value(Value::Int(Some(year)))) = (left, right) else {
        return None;
    };
    let Function::Extract(part @ (Part::Year | Part::IsoYear), kind) = call.function else {
        return None;
    };
    let [moment] = call.arguments.as_slice() else { return None };
    let (first, last) = year_ends(*year, part == Part::IsoYear, kind, zone)?;
    let lookup = match comparison {
        Comparison::Equal => Lookup::Range(first, last),
        Comparison::Greater | Comparison::LessOrEqual => Lookup::Compare(comparison, last),
        Comparison::GreaterOrEqual | Comparison::Less => Lookup::Compare(comparison, first),
    };
    Some((moment, lookup))
}

/// The first and the last moment of a year, of those that databases keep.
fn year_ends(year: i32, is_iso: bool, kind: FieldKind, zone: Tz) -> Option<(Node, Node)> {
    let begin = |year| match is_iso {
        true => NaiveDate::from_isoywd_opt(year, 1, chrono::Weekday::Mon),
        false => NaiveDate::from_ymd_opt(year, 1, 1),
    };
    let (first, next) = (begin(year)?, begin(year.checked_add(1)?)?);
    let (first, last): (Value, Value) = if kind == FieldKind::Date {
        (first.into(), next.pred_opt()?.into())
    } else {
        let at = |day: NaiveDate| Some(moment_of(zone, day.and_hms_opt(0, 0, 0)?));
        (at(first)?.into(), (at(next)? - TimeDelta::microseconds(1)).into())
    };
    Some((Node::Value(first), Node::Value(last)))
}

/// A yes or no as a condition.
impl<Out: Output> Expression<bool, Out> {
    /// It is true.
    #[must_use]
    pub fn is_true(self) -> Q {
        self.eq(true)
    }
}
