//! Expressions as SQL.

use crate::models::expression::{Branches, Node};
use crate::models::sql::condition::Negation;
use crate::models::sql::{Compiler, Plan, Wanted, zone};

impl Compiler {
    /// Writes an expression.
    pub(super) fn node(&mut self, node: &Node) {
        match node {
            Node::Column(path) => self.column(path),
            Node::Value(value) => self.out.value(value.clone()),
            Node::Wall(wall) => self.out.value(zone::moment(self.zone, *wall).into()),
            Node::Binary(both) => self.binary(&both.0, both.1, &both.2),
            Node::Call(call) => self.call(call),
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Case(branches) => self.case(branches),
            Node::Window(window) => self.window(window),
            Node::Json(path) => self.json(path),
            Node::Subquery(plan) => {
                self.out.push("(");
                self.subquery(plan);
                self.out.push(")");
                self.may_be_null = true;
            }
            Node::Condition(condition) => {
                let may_be_null = self.may_be_null;
                self.out.push("((");
                self.settled(|compiler| {
                    compiler.condition(condition, Negation::default());
                });
                self.out.push(") IS TRUE)");
                self.may_be_null = may_be_null;
            }
            Node::Outer(node) => self.outside(|compiler| compiler.node(node)),
            Node::Mistake(words) => self.mistake(words.as_str()),
        }
    }

    fn case(&mut self, branches: &Branches) {
        self.out.push("CASE");
        for (condition, node) in &branches.whens {
            self.out.push(" WHEN ");
            let may_be_null = self.may_be_null;
            self.settled(|compiler| {
                compiler.condition(condition, Negation::default());
            });
            self.may_be_null = may_be_null;
            self.around(" THEN ", node, "");
        }
        match &branches.otherwise {
            Some(node) => self.around(" ELSE ", node, " END"),
            None => self.out.push(" END"),
        }
        // A NULL is among its values, as far as one can tell.
        self.may_be_null = true;
    }

    /// Writes conditions that choose no rows, so that joins stay as they are.
    pub(super) fn settled(&mut self, write: impl FnOnce(&mut Self)) {
        let is_settled = std::mem::replace(&mut self.is_settled, true);
        write(self);
        self.is_settled = is_settled;
    }

    /// Writes a whole SELECT that stands in another.
    pub(super) fn subquery(&mut self, plan: &Plan) {
        let (may_be_null, touched) = (self.may_be_null, self.touched);
        self.select(plan, Wanted::Rows);
        (self.may_be_null, self.touched) = (may_be_null, touched);
    }
}
