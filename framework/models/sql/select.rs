//! SELECT statements.
//!
//! Flow: conditions, then columns, groups and order, each into a text of its own; the tables they
//! have joined come between them at the end.

use crate::models::expression::{Node, Nulls, Order};
use crate::models::meta::Field;
use crate::models::sql::condition::{Negation, first_many};
use crate::models::sql::plan::{Along, Combination, Combined, Distinct};
use crate::models::sql::writer::Writer;
use crate::models::sql::{Compiler, Flavour, Plan, Selected, Wanted};
use crate::models::trail::{FieldPath, Step};

/// Bytes that a column takes about, with its table.
const COLUMN_BYTES: usize = 40;

/// Bytes that a SELECT takes about besides its columns, conditions and order.
const FROM_BYTES: usize = 96;

/// The pieces of a SELECT.
struct Parts {
    columns: Writer,
    conditions: Writer,
    /// Groups and order.
    rest: Writer,
}

impl Compiler {
    /// Writes a SELECT.
    pub(super) fn select(&mut self, plan: &Plan, wanted: Wanted) {
        if let Some(combined) = &plan.combined {
            return self.combined(plan, combined, wanted);
        }
        // Columns that decide which rows come stand beside the key, and are cut off again.
        if wanted == Wanted::Keys && plan.is_distinct() && plan.is_sliced() {
            self.out.push("SELECT \"rows\".");
            self.out.name(plan.meta.primary_key().column);
            self.out.push(" FROM (");
            self.one_select(plan, Wanted::Keys);
            self.out.push(") AS \"rows\"");
            return;
        }
        self.one_select(plan, wanted);
    }

    fn one_select(&mut self, plan: &Plan, wanted: Wanted) {
        let around = std::mem::take(&mut self.out);
        let is_table = std::mem::take(&mut self.is_table);
        let state = (self.shares_all, self.is_grouped, self.is_settled);
        (self.shares_all, self.is_grouped, self.is_settled) = (true, false, false);
        let back = self.enter(plan.meta, None);
        self.filters(plan);
        let conditions = std::mem::take(&mut self.out);
        self.is_grouped = plan.is_grouped();
        let names = plan.per.is_some() || is_table;
        let named = std::mem::replace(&mut self.named, names.then_some(0));
        self.columns(plan, wanted);
        self.named = named;
        let mut columns = std::mem::take(&mut self.out);
        self.groups(plan);
        if matches!(wanted, Wanted::Rows) || plan.is_sliced() && wanted == Wanted::Keys {
            self.order(plan, wanted, &mut columns);
        }
        let rest = std::mem::replace(&mut self.out, around);
        let parts = Parts { columns, conditions, rest };
        match &plan.per {
            Some(per) => self.slice_each(plan, per, parts),
            None => {
                self.put_together(plan, wanted, parts);
                if wanted != Wanted::Count {
                    self.slice(plan);
                }
                if wanted == Wanted::Rows {
                    self.lock(plan);
                }
            }
        }
        self.leave(back);
        (self.shares_all, self.is_grouped, self.is_settled) = state;
    }

    fn put_together(&mut self, plan: &Plan, wanted: Wanted, parts: Parts) {
        let Parts { columns, conditions, rest } = &parts;
        self.out.reserve(columns.len() + conditions.len() + rest.len() + FROM_BYTES);
        self.out.push("SELECT ");
        self.distinct(plan, wanted);
        self.out.append(parts.columns);
        self.out.push(" FROM ");
        self.tables();
        if let Some(rows) = &plan.within {
            self.within(rows);
        }
        if !parts.conditions.is_empty() {
            self.out.push(" WHERE ");
            self.out.append(parts.conditions);
        }
        self.out.append(parts.rest);
    }

    /// Joins the rows of a query of the same model, each as often as it comes there.
    fn within(&mut self, rows: &Plan) {
        let mut fields = rows.meta.fields.iter();
        let key = match rows.columns {
            Selected::Model(_) => fields.position(|field| field.primary_key).unwrap_or_default(),
            _ => 0,
        };
        self.out.push(" INNER JOIN (");
        self.is_table = true;
        self.select(rows, Wanted::Rows);
        self.out.push(&format!(") AS \"_rows\" ON \"_rows\".\"_c{key}\" = "));
        self.first_column(rows.meta.primary_key().column);
    }

    /// A SELECT whose slice counts anew for each value of `per`: its rows are numbered, and the
    /// number stands behind their columns.
    fn slice_each(&mut self, plan: &Plan, per: &Node, mut parts: Parts) {
        let around = std::mem::take(&mut self.out);
        self.out.append(parts.columns);
        self.out.push(", ROW_NUMBER() OVER (PARTITION BY ");
        self.node(per);
        self.out.append(std::mem::take(&mut parts.rest));
        self.out.push(") AS \"_number\"");
        parts.columns = std::mem::replace(&mut self.out, around);
        self.out.push("SELECT * FROM (");
        self.put_together(plan, Wanted::Rows, parts);
        self.out.push(") AS \"_rows\" WHERE \"_number\" > ");
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
        self.out.value(number(plan.offset));
        if let Some(limit) = plan.limit {
            self.out.push(" AND \"_number\" <= ");
            self.out.value(number(plan.offset.saturating_add(limit)));
        }
        self.out.push(" ORDER BY \"_number\"");
    }

    /// Names the column just written, if those of two tables may have one name.
    fn named(&mut self) {
        if let Some(number) = &mut self.named {
            let name = format!(" AS \"_c{number}\"");
            *number += 1;
            self.out.push(&name);
        }
    }

    pub(super) fn filters(&mut self, plan: &Plan) {
        for (at, condition) in plan.filters.iter().enumerate() {
            if at > 0 {
                self.out.push(" AND ");
            }
            self.filter(condition);
        }
    }

    fn columns(&mut self, plan: &Plan, wanted: Wanted) {
        match wanted {
            Wanted::Keys => self.first_column(plan.meta.primary_key().column),
            Wanted::One => self.out.push("1"),
            Wanted::Count => {
                self.out.push("COUNT(*)");
                self.repeat(plan);
            }
            Wanted::Rows => match &plan.columns {
                Selected::Values(nodes) | Selected::Groups(nodes) => self.nodes(nodes),
                Selected::Model(more) => {
                    self.model_columns(plan, 0, &[], &plan.meta.fields);
                    for along in &plan.related {
                        let table = self.join(self.at, &along.trail.steps);
                        let Some(step) = along.trail.steps.last() else { continue };
                        self.out.push(", ");
                        let steps = &along.trail.steps;
                        self.model_columns(plan, table, steps, &step.target().fields);
                    }
                    self.undeferred(plan);
                    if !more.is_empty() {
                        self.out.push(", ");
                        self.nodes(more);
                    }
                }
            },
        }
    }

    /// Joins the many rows that the columns and the order join: these repeat what is counted.
    fn repeat(&mut self, plan: &Plan) {
        let (Selected::Model(nodes) | Selected::Values(nodes) | Selected::Groups(nodes)) =
            &plan.columns;
        let orders = plan.order.iter().flatten().map(|order| &order.node);
        for node in nodes.iter().chain(orders) {
            if matches!(node, Node::Column(path) if first_many(path).is_none()) {
                continue;
            }
            let known = self.joins();
            drop(self.piece(|compiler| compiler.node(node)));
            self.forget_joins_to_one(known);
        }
    }

    /// The columns of a row that is read over `steps`. In the place of one that is left out stands
    /// NULL under its name, so the others stand where the description says.
    fn model_columns(&mut self, plan: &Plan, table: usize, steps: &[Step], fields: &[Field]) {
        self.out.reserve(COLUMN_BYTES * fields.len());
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.out.push(", ");
            }
            if plan.leaves_out(steps, field) {
                self.out.push("NULL");
                if self.named.is_none() {
                    self.out.push(" AS ");
                    self.out.name(field.column);
                }
                self.named();
                continue;
            }
            self.table(self.at, table);
            self.out.push(".");
            self.out.name(field.column);
            self.named();
        }
    }

    /// A deferred field is read with the row that has it.
    fn undeferred(&mut self, plan: &Plan) {
        for one in &plan.undeferred {
            let steps = one.path.steps();
            let is_read = |along: &Along| along.trail.steps == steps;
            if !steps.is_empty() && !plan.related.iter().any(is_read) {
                let (row, field) = (one.names[..steps.len()].join("__"), one.names.join("__"));
                self.mistake(format!("with_deferred of `{field}` needs select_related of `{row}`"));
            }
        }
    }

    pub(super) fn nodes(&mut self, nodes: &[Node]) {
        for (at, node) in nodes.iter().enumerate() {
            if at > 0 {
                self.out.push(", ");
            }
            let named = self.named.take();
            self.node(node);
            self.named = named;
            self.named();
        }
    }

    fn distinct(&mut self, plan: &Plan, wanted: Wanted) {
        if matches!(wanted, Wanted::Count | Wanted::One) {
            return;
        }
        match &plan.distinct {
            Distinct::No => {}
            Distinct::All => self.out.push("DISTINCT "),
            Distinct::On(nodes) if self.flavour() == Flavour::Postgres => {
                self.out.push("DISTINCT ON (");
                self.nodes(nodes);
                self.out.push(") ");
            }
            Distinct::On(_) => self.mistake(
                "only PostgreSQL has distinct_on; elsewhere filter by the row you want of each",
            ),
        }
    }

    /// GROUP BY what is no aggregate, and HAVING.
    fn groups(&mut self, plan: &Plan) {
        let Selected::Groups(nodes) = &plan.columns else { return };
        let plain = nodes.iter().enumerate().filter(|(_, node)| !node.has_aggregate());
        let mut first = true;
        for (at, _) in plain {
            // By place: an expression with bound values is never the same twice.
            self.out.push(if first { " GROUP BY " } else { ", " });
            self.out.push(&(at + 1).to_string());
            first = false;
        }
        let orders = plan.orders();
        let mut others: Vec<&Node> = orders.iter().map(|order| &order.node).collect();
        let mut columns = Vec::new();
        for condition in &plan.having {
            condition.any(&mut |node| {
                if matches!(node, Node::Aggregate(_)) {
                    return false;
                }
                if let Node::Column(_) = node
                    && !is_in_aggregate(condition, node)
                {
                    columns.push(node.clone());
                }
                false
            });
        }
        others.extend(&columns);
        for node in others {
            if !node.has_aggregate() && place(nodes, node).is_none() {
                self.out.push(if first { " GROUP BY " } else { ", " });
                self.node(node);
                first = false;
            }
        }
        for (at, condition) in plan.having.iter().enumerate() {
            self.out.push(if at == 0 { " HAVING " } else { " AND " });
            self.settled(|compiler| {
                compiler.condition(condition, Negation::default());
            });
        }
    }

    /// Writes the order; what a DISTINCT orders by must be among its columns.
    fn order(&mut self, plan: &Plan, wanted: Wanted, columns: &mut Writer) {
        let places: &[Node] = match &plan.columns {
            Selected::Values(nodes) | Selected::Groups(nodes) if wanted == Wanted::Rows => nodes,
            _ => &[],
        };
        let by_place = plan.is_grouped() || plan.is_distinct();
        for (at, order) in plan.orders().iter().enumerate() {
            self.out.push(if at == 0 { " ORDER BY " } else { ", " });
            match place(places, &order.node).filter(|_| by_place) {
                Some(place) => {
                    self.nulls_of_mysql(plan, (at, order), columns);
                    self.out.push(&place.to_string());
                }
                None => {
                    if plan.is_distinct() && !is_among(plan, &order.node, wanted) {
                        let before = std::mem::take(&mut self.out);
                        self.node(&order.node);
                        columns.push(", ");
                        columns.append(std::mem::replace(&mut self.out, before));
                        columns.push(&format!(" AS \"_order{at}\""));
                    }
                    self.nulls_of_mysql(plan, (at, order), columns);
                    self.node(&order.node);
                }
            }
            self.direction(order);
        }
    }

    /// Where the database has no words for where NULLs stand. MariaDB 10.11 orders a DISTINCT
    /// wrongly by an expression that is not among its columns, so there it is.
    fn nulls_of_mysql(&mut self, plan: &Plan, (at, order): (usize, &Order), columns: &mut Writer) {
        let (Some(nulls), Flavour::Mysql) = (order.nulls, self.flavour()) else { return };
        let test = if nulls == Nulls::First { " IS NOT NULL" } else { " IS NULL" };
        if !plan.is_distinct() {
            self.around("", &order.node, test);
            self.out.push(", ");
            return;
        }
        let before = std::mem::take(&mut self.out);
        self.around("", &order.node, test);
        columns.push(", ");
        columns.append(std::mem::replace(&mut self.out, before));
        columns.push(&format!(" AS \"_nulls{at}\""));
        self.out.push(&format!("\"_nulls{at}\", "));
    }

    pub(super) fn direction(&mut self, order: &Order) {
        self.out.push(if order.descending { " DESC" } else { " ASC" });
        self.out.push(match order.nulls.filter(|_| self.flavour() != Flavour::Mysql) {
            None => "",
            Some(Nulls::First) => " NULLS FIRST",
            Some(Nulls::Last) => " NULLS LAST",
        });
    }

    fn slice(&mut self, plan: &Plan) {
        if plan.is_sliced() {
            self.out.push(" LIMIT ");
            // SQLite knows no OFFSET without a LIMIT.
            let limit = plan.limit.unwrap_or(i64::MAX.unsigned_abs());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            // SQLite looks at a bound limit when it plans, so it would plan each time anew: parsing
            // and all (3.51, `sqlite3ExprIsInteger`).
            match self.flavour() {
                Flavour::Sqlite => self.out.push(&limit.to_string()),
                Flavour::Postgres | Flavour::Mysql => self.out.value(limit.into()),
            }
        }
        if plan.offset > 0 {
            self.out.push(" OFFSET ");
            self.out.value(i64::try_from(plan.offset).unwrap_or(i64::MAX).into());
        }
    }

    fn lock(&mut self, plan: &Plan) {
        let Some(lock) = &plan.lock else { return };
        let flavour = self.flavour();
        if flavour == Flavour::Sqlite {
            // Its transactions that write have the whole file already.
            return;
        }
        if flavour == Flavour::Mysql && (lock.no_key || !lock.of.is_empty()) {
            return self.mistake("MariaDB locks whole rows of all tables: no `no_key`, no `of`");
        }
        self.out.push(if lock.no_key { " FOR NO KEY UPDATE" } else { " FOR UPDATE" });
        for (at, name) in lock.of.iter().enumerate() {
            self.out.push(if at == 0 { " OF " } else { ", " });
            let names = |along: &Along| along.names.join("__");
            let trail = plan.related.iter().find(|along| names(along) == *name);
            match trail {
                _ if *name == "self" => self.table(self.at, 0),
                Some(along) => {
                    let table = self.join(self.at, &along.trail.steps);
                    self.table(self.at, table);
                }
                None => {
                    let known: Vec<_> = plan.related.iter().map(names).collect();
                    self.mistake(format!(
                        "select_for_update of `{name}`: choices are self, {}",
                        known.join(", ")
                    ));
                }
            }
        }
        self.out.push(match (lock.nowait, lock.skip_locked) {
            (true, _) => " NOWAIT",
            (false, true) => " SKIP LOCKED",
            (false, false) => "",
        });
    }

    /// Writes queries put together.
    fn combined(&mut self, plan: &Plan, combined: &Combined, wanted: Wanted) {
        if wanted == Wanted::Count {
            self.out.push("SELECT COUNT(*) FROM (");
        }
        for (at, part) in combined.parts.iter().enumerate() {
            if at > 0 {
                self.out.push(match combined.how {
                    Combination::Union => " UNION ",
                    Combination::UnionAll => " UNION ALL ",
                    Combination::Intersection => " INTERSECT ",
                    Combination::Difference => " EXCEPT ",
                });
            }
            // SQLite takes no parentheses here, and a part may have a slice of its own.
            self.out.push("SELECT * FROM (");
            let is_empty = part.is_never();
            let mut part = part.clone();
            if is_empty {
                part.filters.retain(|q| !matches!(q.0, crate::models::condition::Tree::Never));
                part.limit = Some(0);
            }
            self.is_table = true;
            self.select(&part, Wanted::Rows);
            self.out.push(") AS \"part\"");
        }
        let orders = plan.orders();
        for (at, order) in orders.iter().enumerate().filter(|_| plan.order.is_some()) {
            self.out.push(if at == 0 { " ORDER BY " } else { ", " });
            if order.nulls.is_some() && self.flavour() == Flavour::Mysql {
                self.mistake("MariaDB cannot say where NULLs stand in queries put together");
            }
            match column_place(plan, &order.node) {
                Some(place) => self.out.push(&place.to_string()),
                None => self.mistake("queries put together are ordered by what they select"),
            }
            self.direction(order);
        }
        self.slice(plan);
        if wanted == Wanted::Count {
            self.out.push(") AS \"rows\"");
        }
    }
}

fn is_in_aggregate(condition: &crate::models::condition::Q, column: &Node) -> bool {
    let mut inside = false;
    condition.any(&mut |node| {
        if let Node::Aggregate(aggregate) = node {
            inside |= aggregate.argument.any(&mut |node| is_same(node, column));
        }
        inside
    });
    inside
}

/// Where among the columns an expression stands, from 1.
fn place(nodes: &[Node], node: &Node) -> Option<usize> {
    nodes.iter().position(|other| is_same(other, node)).map(|at| at + 1)
}

fn is_same(one: &Node, two: &Node) -> bool {
    match (one, two) {
        (Node::Column(one), Node::Column(two)) => {
            std::ptr::eq(one.field, two.field) && one.steps() == two.steps()
        }
        (Node::Column(_), _) | (_, Node::Column(_)) => false,
        _ => format!("{one:?}") == format!("{two:?}"),
    }
}

/// Whether it is a column of the model itself, which a whole row has, or its key.
fn is_among(plan: &Plan, node: &Node, wanted: Wanted) -> bool {
    let is_wanted = |path: &FieldPath| {
        wanted == Wanted::Rows && !plan.leaves_out(&[], path.field) || path.field.primary_key
    };
    matches!(node, Node::Column(path) if path.steps().is_empty() && is_wanted(path))
}

fn column_place(plan: &Plan, node: &Node) -> Option<usize> {
    match &plan.columns {
        Selected::Values(nodes) | Selected::Groups(nodes) => place(nodes, node),
        Selected::Model(_) => match node {
            Node::Column(path) if path.steps().is_empty() && !plan.leaves_out(&[], path.field) => {
                let mut fields = plan.meta.fields.iter();
                fields.position(|field| std::ptr::eq(field, path.field)).map(|at| at + 1)
            }
            _ => None,
        },
    }
}
