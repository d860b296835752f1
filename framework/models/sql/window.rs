//! Windows, which all databases write alike.

use crate::models::expression::{Window, WindowFunction};
use crate::models::sql::{Compiler, Flavour};

impl Compiler {
    /// Writes a function over a window.
    pub(super) fn window(&mut self, window: &Window) {
        let over = self.piece(|compiler| compiler.over(window));
        match &window.function {
            WindowFunction::RowNumber => self.out.push("ROW_NUMBER()"),
            WindowFunction::Rank => self.out.push("RANK()"),
            WindowFunction::DenseRank => self.out.push("DENSE_RANK()"),
            WindowFunction::Lag(node, rows) => self.around("LAG(", node, &format!(", {rows})")),
            WindowFunction::Lead(node, rows) => self.around("LEAD(", node, &format!(", {rows})")),
            WindowFunction::Aggregate(aggregate) => {
                self.over = Some(over);
                self.of_group(aggregate, true);
                self.may_be_null = true;
                return;
            }
        }
        self.out.append(over);
        self.may_be_null = true;
    }

    fn over(&mut self, window: &Window) {
        self.out.push(" OVER (");
        for (at, node) in window.partition.iter().enumerate() {
            self.around(if at == 0 { "PARTITION BY " } else { ", " }, node, "");
        }
        for (at, order) in window.order.iter().enumerate() {
            if order.nulls.is_some() && self.flavour() == Flavour::Mysql {
                self.mistake("MariaDB cannot say where NULLs stand in a window");
            }
            self.around(if at == 0 { " ORDER BY " } else { ", " }, &order.node, "");
            self.direction(order);
        }
        self.out.push(")");
    }
}
