//! Scopes: the tables that one SELECT joins, by Django's rules.
//!
//! Invariants:
//! - A join to one row is made once and shared. A join to many rows is shared within one `filter`;
//!   another one makes its own. What is not a filter takes the latest.
//! - A join is LEFT if it may miss, until a condition demands the row.

use crate::models::meta::Meta;
use crate::models::sql::Compiler;
use crate::models::trail::{FieldPath, Step};

/// Most joins of one SELECT: SQLite joins at most 64 tables (<https://sqlite.org/limits.html>).
pub(super) const JOINS_MAX: usize = 63;

/// Joins of one scope, as bits.
pub(super) type Joins = u64;

/// One SELECT's tables.
pub(super) struct Scope {
    /// The model of its first table.
    meta: &'static Meta,
    /// The model that paths begin at.
    root: &'static Meta,
    /// The scope around it.
    around: Option<usize>,
    /// For a SELECT that only stands for a part of the query around it: the steps from that query's
    /// model to this one's first table. Other columns are that query's.
    inlet: Option<Vec<Step>>,
    /// The first table is called by its own name.
    is_plain: bool,
    joins: Vec<Join>,
    /// Joins that the filter being compiled has used.
    used: Joins,
}

struct Join {
    /// 0 for the first table, else one more than the index of a join.
    parent: usize,
    step: Step,
    /// Whether it, or one before it, may miss.
    may_miss: bool,
    is_left: bool,
}

impl Compiler {
    /// Opens the scope of a query of `meta`; returns where to go back to.
    pub(super) fn enter(&mut self, meta: &'static Meta, inlet: Option<Vec<Step>>) -> Option<usize> {
        let around = (!self.scopes.is_empty()).then_some(self.at);
        let root = match (&inlet, around) {
            (Some(_), Some(around)) => self.scopes[around].root,
            _ => meta,
        };
        let is_plain = around.is_none();
        self.scopes.push(Scope { meta, root, around, inlet, is_plain, joins: Vec::new(), used: 0 });
        self.at = self.scopes.len() - 1;
        self.scopes_opened += 1;
        around
    }

    pub(super) fn leave(&mut self, around: Option<usize>) {
        self.scopes.pop();
        self.at = around.unwrap_or_default();
    }

    /// Compiles something of the query around this one.
    pub(super) fn outside(&mut self, compile: impl FnOnce(&mut Self)) {
        let mut at = self.at;
        while self.scopes[at].inlet.is_some() {
            at = self.scopes[at].around.unwrap_or_default();
        }
        let Some(around) = self.scopes[at].around else {
            self.mistake("outer_ref marks a column of the query around a subquery; there is none");
            return;
        };
        let (here, touched, all) = (self.at, self.touched, self.shares_all);
        (self.at, self.shares_all) = (around, true);
        compile(self);
        (self.at, self.touched, self.shares_all) = (here, touched, all);
    }

    /// Forgets what the last filter has joined: the next one makes its own joins to many.
    pub(super) fn begin_filter(&mut self) {
        self.scopes[self.at].used = 0;
    }

    /// Whether the filter being compiled has already joined along `steps`; returns the table.
    pub(super) fn joined(&self, steps: &[Step]) -> Option<usize> {
        let scope = &self.scopes[self.at];
        steps.iter().try_fold(0, |parent, step| scope.find(parent, *step, scope.used))
    }

    /// Writes a column, joining what leads to it.
    pub(super) fn column(&mut self, path: &FieldPath) {
        let (at, skipped) = self.owner(path.steps());
        if path.trail.root.is_some_and(|root| !std::ptr::eq(root, self.scopes[at].root)) {
            let (model, here) = (path.trail.root.map(Meta::label), self.scopes[at].root.label());
            self.mistake(format!(
                "the column {} of {} stands in a query of {here}; in a subquery, mark it with \
                 outer_ref",
                path.field.name,
                model.unwrap_or_default(),
            ));
            return;
        }
        let (mut steps, mut field) = (&path.steps()[skipped..], path.field);
        // The other row's key is this row's foreign key: no join for that.
        while let Some((Step::Forward(last), before)) = steps.split_last()
            && field.primary_key
        {
            (steps, field) = (before, *last);
        }
        let table = self.join(at, steps);
        self.may_be_null |= field.null || steps.iter().any(|step| step.may_miss());
        self.table(at, table);
        self.out.push(".");
        self.out.name(field.column);
    }

    /// The scope a path belongs to, and how many of its steps lead to that one's first table.
    fn owner(&self, steps: &[Step]) -> (usize, usize) {
        let mut at = self.at;
        loop {
            match (&self.scopes[at].inlet, self.scopes[at].around) {
                (Some(inlet), _) if steps.starts_with(inlet) => return (at, inlet.len()),
                (Some(_), Some(around)) => at = around,
                _ => return (at, 0),
            }
        }
    }

    /// Joins along `steps`, as far as that is not done, and returns the last table.
    pub(super) fn join(&mut self, at: usize, steps: &[Step]) -> usize {
        let mut table = 0;
        for step in steps {
            let scope = &mut self.scopes[at];
            let shared = if self.shares_all || !step.is_many() { Joins::MAX } else { scope.used };
            let found = scope.find(table, *step, shared);
            if found.is_none() && scope.joins.len() == JOINS_MAX {
                self.mistake(format!("a query joins at most {JOINS_MAX} tables"));
                return 0;
            }
            table = found.unwrap_or_else(|| scope.add(table, *step));
            scope.used |= bit(table);
            if at == self.at {
                self.touched |= bit(table);
            }
        }
        table
    }

    /// Writes a table's name in its SELECT.
    pub(super) fn table(&mut self, at: usize, table: usize) {
        if table == 0 && self.scopes[at].is_plain {
            self.out.name(self.scopes[at].meta.table);
            return;
        }
        let letter = char::from(b't' + u8::try_from(at % 7).unwrap_or_default());
        self.out.push(&format!("\"_{letter}{table}\""));
    }

    /// Writes what follows FROM.
    pub(super) fn tables(&mut self) {
        let at = self.at;
        self.out.name(self.scopes[at].meta.table);
        if !self.scopes[at].is_plain {
            self.out.push(" AS ");
            self.table(at, 0);
        }
        for index in 0..self.scopes[at].joins.len() {
            let Join { parent, step, is_left, .. } = self.scopes[at].joins[index];
            self.out.push(if is_left { " LEFT JOIN " } else { " INNER JOIN " });
            self.out.name(step.target().table);
            self.out.push(" AS ");
            self.table(at, index + 1);
            self.out.push(" ON ");
            self.table(at, parent);
            self.out.push(".");
            let (here, there) = self.scopes[at].ends(parent, step);
            self.out.name(here);
            self.out.push(" = ");
            self.table(at, index + 1);
            self.out.push(".");
            self.out.name(there);
        }
    }

    /// Writes a column of the first table.
    pub(super) fn first_column(&mut self, column: &str) {
        self.table(self.at, 0);
        self.out.push(".");
        self.out.name(column);
    }

    /// The key's column of the first table.
    pub(super) fn first_key(&self) -> &'static str {
        self.scopes[self.at].meta.primary_key().column
    }

    /// The model that paths begin at.
    pub(super) fn root(&self) -> &'static Meta {
        self.scopes[self.at].root
    }

    /// Whether a table has been joined.
    pub(super) fn has_joins(&self) -> bool {
        !self.scopes[self.at].joins.is_empty()
    }

    /// How many tables have been joined.
    pub(super) fn joins(&self) -> usize {
        self.scopes[self.at].joins.len()
    }

    /// Drops what was joined after the first `known` joins, if none of it leads to many rows.
    pub(super) fn forget_joins_to_one(&mut self, known: usize) {
        let joins = &mut self.scopes[self.at].joins;
        if !joins[known..].iter().any(|join| join.step.is_many()) {
            joins.truncate(known);
        }
    }

    /// The joins that are INNER now.
    pub(super) fn inner(&self) -> Joins {
        let joins = self.scopes[self.at].joins.iter().enumerate();
        joins.filter(|(_, join)| !join.is_left).fold(0, |all, (index, _)| all | bit(index + 1))
    }

    /// A condition demands the rows of these joins.
    pub(super) fn demand(&mut self, joins: Joins) {
        if self.is_settled {
            return;
        }
        for (index, join) in self.scopes[self.at].joins.iter_mut().enumerate() {
            if joins & bit(index + 1) != 0 {
                join.is_left = false;
            }
        }
    }

    /// These joins must not lose rows: they become LEFT if they may miss, and those behind them.
    pub(super) fn spare(&mut self, joins: Joins) {
        if self.is_settled {
            return;
        }
        let scope = &mut self.scopes[self.at];
        for index in 0..scope.joins.len() {
            let parent = scope.joins[index].parent;
            let behind_left = parent > 0 && scope.joins[parent - 1].is_left;
            let join = &mut scope.joins[index];
            let spared = joins & bit(index + 1) != 0 && join.step.may_miss();
            if spared || behind_left {
                join.is_left = true;
            }
        }
    }
}

impl Scope {
    /// The latest join along `step` from `parent` among those `allowed`.
    fn find(&self, parent: usize, step: Step, allowed: Joins) -> Option<usize> {
        let found = self.joins.iter().enumerate().rev().find(|(index, join)| {
            join.parent == parent && join.step == step && allowed & bit(index + 1) != 0
        });
        found.map(|(index, _)| index + 1)
    }

    fn add(&mut self, parent: usize, step: Step) -> usize {
        let before = parent.checked_sub(1).map(|index| &self.joins[index]);
        let behind_left = before.is_some_and(|join| join.is_left);
        let may_miss = step.may_miss() || before.is_some_and(|join| join.may_miss);
        let is_left = step.may_miss() || behind_left;
        self.joins.push(Join { parent, step, may_miss, is_left });
        self.joins.len()
    }

    /// The columns that a join compares: here and there.
    fn ends(&self, parent: usize, step: Step) -> (&'static str, &'static str) {
        match step {
            Step::Forward(field) => (field.column, step.target().primary_key().column),
            Step::Reverse { field, .. } => {
                let meta = match parent.checked_sub(1) {
                    None => self.meta,
                    Some(index) => self.joins[index].step.target(),
                };
                (meta.primary_key().column, field.column)
            }
        }
    }
}

fn bit(table: usize) -> Joins {
    1 << table
}
