//! Conditions, and which joins they demand (Django's `build_filter` and `JoinPromoter`).
//!
//! Invariants:
//! - A test that NULL leaves undecided counts as "no" once it is negated.
//! - Under a negation, a test of one of many rows asks whether there is such a row.

use sea_query::Value;

use crate::models::condition::{Lookup, Q, Test, Tree};
use crate::models::expression::{Comparison, Node, year_compared};
use crate::models::sql::scope::Joins;
use crate::models::sql::{Compiler, Flavour, Plan};
use crate::models::trail::{FieldPath, Step, Trail};

impl Compiler {
    /// One call of `filter`.
    pub(super) fn filter(&mut self, condition: &Q) {
        self.begin_filter();
        let inner = self.inner();
        let shares_all = std::mem::replace(&mut self.shares_all, false);
        let demanded = self.condition(condition, Negation::default());
        self.shares_all = shares_all;
        self.demand(demanded | inner);
    }

    /// Writes a condition and returns the joins whose rows it demands.
    pub(super) fn condition(&mut self, condition: &Q, negation: Negation) -> Joins {
        match &condition.0 {
            Tree::Always => self.constant("1 = 1"),
            Tree::Never => self.constant("1 = 0"),
            Tree::Exists(plan) => {
                self.exists(plan);
                0
            }
            Tree::Not(inner) => self.negated(inner, negation),
            Tree::All(parts) => self.parts(parts, " AND ", negation),
            Tree::Any(parts) => self.parts(parts, " OR ", negation),
            Tree::Test(test) => self.test(test, negation),
        }
    }

    fn constant(&mut self, text: &str) -> Joins {
        self.out.push(text);
        0
    }

    fn negated(&mut self, inner: &Q, negation: Negation) -> Joins {
        let around = std::mem::take(&mut self.out);
        let may_be_null = std::mem::replace(&mut self.may_be_null, false);
        let demanded = self.condition(inner, negation.once_more());
        let inside = std::mem::replace(&mut self.out, around);
        let undecided = std::mem::replace(&mut self.may_be_null, may_be_null);
        self.out.push(if undecided { "(" } else { "NOT (" });
        self.out.append(inside);
        self.out.push(if undecided { ") IS NOT TRUE" } else { ")" });
        demanded
    }

    fn parts(&mut self, parts: &[Q], between: &str, negation: Negation) -> Joins {
        let (mut of_all, mut of_any) = (Joins::MAX, 0);
        self.out.push("(");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.out.push(between);
            }
            let demanded = self.condition(part, negation);
            of_all &= demanded;
            of_any |= demanded;
        }
        self.out.push(")");
        // A negated AND is an OR of what is negated.
        if (between == " AND ") != negation.is_negated {
            self.demand(of_any);
            return of_any;
        }
        self.spare(of_any & !of_all);
        self.demand(of_all);
        of_all
    }

    fn test(&mut self, test: &Test, negation: Negation) -> Joins {
        if negation.is_under_one && test.any_column(&mut |path| first_many(path).is_some()) {
            self.there_is(test);
            return 0;
        }
        let touched = std::mem::replace(&mut self.touched, 0);
        self.lookup(&test.left, &test.lookup);
        let demanded = std::mem::replace(&mut self.touched, touched);
        self.touched |= demanded;
        let asks_for_null = matches!(test.lookup, Lookup::IsNull(true));
        let demands = if asks_for_null { negation.is_negated } else { !negation.is_negated };
        if demands && test.is_decided_by_null() { demanded } else { 0 }
    }

    /// `EXISTS` of rows behind a relation to many for which `test` holds.
    fn there_is(&mut self, test: &Test) {
        let mut many = None;
        let mut others = false;
        test.any_column(&mut |path| {
            if let Some(first) = first_many(path) {
                let steps = &path.steps()[..=first];
                match &many {
                    None => many = Some(steps.to_vec()),
                    Some(known) => others |= known.as_slice() != steps,
                }
            }
            false
        });
        let inlet = many.filter(|_| !others && test.is_strict()).unwrap_or_default();
        let joined = self.joined(&inlet).filter(|_| !inlet.is_empty());
        let here = self.at;
        let conditions = |compiler: &mut Self| {
            if let Some(table) = joined {
                // The same filter asks for one of these rows already: it means that one.
                let key = compiler.first_key();
                compiler.out.push(" AND ");
                compiler.first_column(key);
                compiler.out.push(" = ");
                compiler.table(here, table);
                compiler.out.push(".");
                compiler.out.name(key);
            }
            compiler.out.push(" AND ");
            compiler.filter(&Q(Tree::Test(Box::new(test.clone()))));
        };
        self.out.push("EXISTS (");
        self.correlated(inlet, |compiler| compiler.out.push("1"), conditions);
        self.out.push(")");
    }

    /// Writes a SELECT over the rows that `inlet` leads to from the row of the query around it;
    /// without steps, over that row itself. Each of `conditions` begins with ` AND `.
    pub(super) fn correlated(
        &mut self,
        inlet: Vec<Step>,
        columns: impl FnOnce(&mut Self),
        conditions: impl FnOnce(&mut Self),
    ) {
        let root = self.root();
        let (meta, column, outer) = match inlet.split_last() {
            Some((Step::Reverse { meta, field }, before)) => {
                let from = before.last().map_or(root, |step| step.target());
                let trail = Trail { root: Some(root), steps: before.to_vec() };
                (*meta, field.column, FieldPath { trail, field: from.primary_key() })
            }
            _ => (root, root.primary_key().column, FieldPath::own(root, root.primary_key())),
        };
        let (may_be_null, touched) = (self.may_be_null, self.touched);
        let (is_settled, shares_all) = (self.is_settled, self.shares_all);
        let is_grouped = std::mem::replace(&mut self.is_grouped, false);
        let around = std::mem::take(&mut self.out);
        self.column(&outer);
        let outer = std::mem::take(&mut self.out);
        let back = self.enter(meta, Some(inlet));
        (self.is_settled, self.shares_all) = (false, true);
        columns(self);
        let columns = std::mem::take(&mut self.out);
        self.first_column(column);
        self.out.push(" = ");
        self.out.append(outer);
        conditions(self);
        let conditions = std::mem::replace(&mut self.out, around);
        self.out.push("SELECT ");
        self.out.append(columns);
        self.out.push(" FROM ");
        self.tables();
        self.out.push(" WHERE ");
        self.out.append(conditions);
        self.leave(back);
        (self.may_be_null, self.touched) = (may_be_null, touched);
        (self.is_settled, self.shares_all) = (is_settled, shares_all);
        self.is_grouped = is_grouped;
    }

    /// Writes one question to an expression.
    fn lookup(&mut self, left: &Node, lookup: &Lookup) {
        match lookup {
            Lookup::Compare(comparison, Node::Value(Value::Json(Some(right)))) => {
                self.compare_json(left, *comparison, right);
            }
            Lookup::Compare(comparison, right) => {
                match year_compared(left, *comparison, right, self.zone) {
                    Some((moment, lookup)) => self.lookup(moment, &lookup),
                    None => {
                        self.node(left);
                        self.out.push(sign(*comparison));
                        self.node(right);
                    }
                }
            }
            Lookup::Range(first, last) => {
                self.node(left);
                self.out.push(" BETWEEN ");
                self.node(first);
                self.out.push(" AND ");
                self.node(last);
            }
            Lookup::In(values) if matches!(values[0], Node::Value(Value::Json(_))) => {
                for (at, value) in values.iter().enumerate() {
                    self.out.push(if at > 0 { " OR " } else { "(" });
                    if let Node::Value(Value::Json(Some(value))) = value {
                        self.compare_json(left, Comparison::Equal, value);
                    }
                }
                self.out.push(")");
            }
            Lookup::In(values) => {
                self.node(left);
                self.out.push(" IN (");
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        self.out.push(", ");
                    }
                    self.node(value);
                }
                self.out.push(")");
            }
            Lookup::InQuery(plan) => self.in_query(left, plan),
            Lookup::IsNull(null) => {
                let may_be_null = self.may_be_null;
                self.node(left);
                self.may_be_null = may_be_null;
                self.out.push(if *null { " IS NULL" } else { " IS NOT NULL" });
            }
            Lookup::Text { text, at, ignore_case } => {
                self.text_test(left, text, *at, *ignore_case);
            }
            Lookup::Regex { pattern, ignore_case } => self.regex(left, pattern, *ignore_case),
            Lookup::Json(test) => self.json_test(left, test),
        }
    }

    fn in_query(&mut self, left: &Node, plan: &Plan) {
        if plan.is_never() {
            self.out.push("1 = 0");
            return;
        }
        self.node(left);
        // MariaDB knows no LIMIT right behind IN, but in a table behind it.
        let wraps = plan.is_sliced() && self.flavour() == Flavour::Mysql;
        self.out.push(if wraps { " IN (SELECT * FROM (" } else { " IN (" });
        self.subquery(plan);
        self.out.push(if wraps { ") AS \"some\")" } else { ")" });
        // A NULL among the rows leaves "none of them" undecided.
        self.may_be_null = true;
    }

    pub(super) fn exists(&mut self, plan: &Plan) {
        self.out.push("EXISTS (");
        self.subquery(plan);
        self.out.push(")");
    }
}

/// Whether what is written stands under a negation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Negation {
    /// Under an odd number of them.
    is_negated: bool,
    /// Under any.
    is_under_one: bool,
}

impl Negation {
    fn once_more(self) -> Self {
        Self { is_negated: !self.is_negated, is_under_one: true }
    }
}

pub(super) fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
    }
}

/// Where a path first leads to many rows.
pub(super) fn first_many(path: &FieldPath) -> Option<usize> {
    path.steps().iter().position(|step| step.is_many())
}
