//! Expressions as SQL.

use crate::models::expression::{Node, Operator};
use crate::models::sql::condition::Negation;
use crate::models::sql::scope::Joins;
use crate::models::sql::{Compiler, Plan};

impl Compiler {
    /// Writes an expression.
    pub(super) fn node(&mut self, node: &Node) {
        match node {
            Node::Column(path) => self.column(path),
            Node::Value(value) => self.out.value(value.clone()),
            Node::Binary(both) => {
                let (left, operator, right) = both.as_ref();
                self.out.push("(");
                self.node(left);
                self.out.push(sign(*operator));
                self.node(right);
                self.out.push(")");
            }
            Node::Subquery(plan) => {
                self.out.push("(");
                self.subquery(plan);
                self.out.push(")");
                self.may_be_null = true;
            }
            Node::Condition(condition) => {
                self.out.push("(");
                let _: Joins = self.condition(condition, Negation::default());
                self.out.push(")");
            }
            Node::Outer(node) => self.outside(|compiler| compiler.node(node)),
        }
    }

    /// Writes a whole SELECT that stands in another.
    pub(super) fn subquery(&mut self, plan: &Plan) {
        let (may_be_null, touched) = (self.may_be_null, self.touched);
        self.select(plan, super::Wanted::Rows);
        (self.may_be_null, self.touched) = (may_be_null, touched);
    }
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => " + ",
        Operator::Subtract => " - ",
        Operator::Multiply => " * ",
        Operator::Divide => " / ",
        Operator::Remainder => " % ",
    }
}
