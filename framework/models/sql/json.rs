//! JSON documents, by each database's means.

use sea_query::Value;

use crate::db::MYSQL_COLLATION;
use crate::models::condition::JsonTest;
use crate::models::expression::{Comparison, JsonPath, JsonStep, Node};
use crate::models::sql::Compiler;
use crate::models::sql::Flavour::{Mysql, Postgres, Sqlite};
use crate::models::sql::condition::sign;

impl Compiler {
    /// Writes what is inside a document: as JSON, or as text.
    pub(super) fn json(&mut self, path: &JsonPath) {
        let JsonPath { document, steps, as_text } = path;
        match (self.flavour(), as_text) {
            (Postgres, _) => {
                self.around("(", document, "");
                for (at, step) in steps.iter().enumerate() {
                    let is_last = at + 1 == steps.len();
                    self.out.push(if is_last && *as_text { " ->> " } else { " -> " });
                    self.out.value(match step {
                        JsonStep::Key(key) => key.as_str().into(),
                        JsonStep::Index(index) => (*index).into(),
                    });
                }
                self.out.push(")");
            }
            (Sqlite, false) => {
                self.around("(", document, " -> ");
                self.path(steps);
                self.out.push(")");
            }
            // It has true as 1.
            (Sqlite, true) => {
                self.part("CASE JSON_TYPE(", document, steps, ")");
                self.out.push(" WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE ");
                self.part("CAST(JSON_EXTRACT(", document, steps, ") AS TEXT) END");
            }
            (Mysql, false) => self.part("JSON_EXTRACT(", document, steps, ")"),
            (Mysql, true) => {
                self.part("JSON_UNQUOTE(JSON_EXTRACT(", document, steps, ")) COLLATE ");
                // JSON has a collation of its own, which compares with no other.
                self.out.push(MYSQL_COLLATION);
            }
        }
        self.may_be_null = true;
    }

    fn part(&mut self, before: &str, document: &Node, steps: &[JsonStep], behind: &str) {
        self.around(before, document, ", ");
        self.path(steps);
        self.out.push(behind);
    }

    /// `$."key"[0]`, bound.
    fn path(&mut self, steps: &[JsonStep]) {
        let mut path = String::from("$");
        for step in steps {
            match step {
                JsonStep::Key(key) => {
                    path.push('.');
                    path.push_str(&serde_json::Value::from(key.as_str()).to_string());
                }
                JsonStep::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        self.out.value(path.into());
    }

    /// Compares a part of a document with a JSON value.
    pub(super) fn compare_json(
        &mut self,
        left: &Node,
        comparison: Comparison,
        right: &serde_json::Value,
    ) {
        let (document, steps) = taken_apart(left);
        let value = || Value::from(right.clone());
        match self.flavour() {
            Postgres => {
                self.node(left);
                self.out.push(sign(comparison));
                self.out.value(value());
            }
            // As JSON writes it: a number is no text, and true is not 1.
            Sqlite if comparison == Comparison::Equal && !right.is_number() => {
                self.around("(", document, " -> ");
                self.path(steps);
                self.out.push(") = JSON(");
                self.out.value(value());
                self.out.push(")");
            }
            Sqlite => {
                self.part("(JSON_TYPE(", document, steps, ") = JSON_TYPE(");
                self.out.value(value());
                let both = right.is_number();
                if both {
                    self.out.push(") OR JSON_TYPE(");
                    self.part("", document, steps, ") IN ('integer', 'real')) AND ");
                } else {
                    self.out.push(")) AND ");
                }
                self.part("JSON_EXTRACT(", document, steps, ")");
                self.out.push(sign(comparison));
                self.out.push("JSON_EXTRACT(");
                self.out.value(value());
                self.out.push(", '$')");
            }
            Mysql if comparison == Comparison::Equal => {
                self.part("JSON_EQUALS(JSON_EXTRACT(", document, steps, "), ");
                self.out.value(value());
                self.out.push(")");
            }
            Mysql => {
                self.part("JSON_EXTRACT(", document, steps, ") COLLATE ");
                self.out.push(MYSQL_COLLATION);
                self.out.push(sign(comparison));
                self.out.push("JSON_EXTRACT(");
                self.out.value(value());
                self.out.push(", '$')");
            }
        }
        self.may_be_null = true;
    }

    /// Writes a question to a document.
    pub(super) fn json_test(&mut self, left: &Node, test: &JsonTest) {
        match test {
            JsonTest::HasKeys { keys, all } => {
                self.out.push("(");
                for (at, key) in keys.iter().enumerate() {
                    let between = if *all { " AND " } else { " OR " };
                    self.out.push(if at > 0 { between } else { "" });
                    self.has_key(left, key);
                }
                self.out.push(")");
            }
            JsonTest::Contains(part) => self.json_contains(left, part, " @> ", true),
            JsonTest::ContainedBy(whole) => self.json_contains(left, whole, " <@ ", false),
        }
        self.may_be_null = true;
    }

    fn has_key(&mut self, left: &Node, key: &str) {
        if self.flavour() == Postgres {
            self.around("", left, " ? ");
            self.out.value(key.into());
            return;
        }
        let (document, steps) = taken_apart(left);
        let mut steps = steps.to_vec();
        steps.push(JsonStep::Key(key.to_owned()));
        if self.flavour() == Sqlite {
            self.part("JSON_TYPE(", document, &steps, ") IS NOT NULL");
        } else {
            self.part("JSON_EXISTS(", document, &steps, ")");
        }
    }

    fn json_contains(
        &mut self,
        left: &Node,
        other: &serde_json::Value,
        operator: &str,
        is_part: bool,
    ) {
        match self.flavour() {
            Sqlite => self.mistake(
                "SQLite cannot tell whether one JSON document contains another; compare keys",
            ),
            Postgres => {
                self.around("", left, operator);
                self.out.value(other.clone().into());
            }
            Mysql if is_part => {
                self.around("JSON_CONTAINS(", left, ", ");
                self.out.value(other.clone().into());
                self.out.push(")");
            }
            Mysql => {
                self.out.push("JSON_CONTAINS(");
                self.out.value(other.clone().into());
                self.around(", ", left, ")");
            }
        }
    }
}

fn taken_apart(node: &Node) -> (&Node, &[JsonStep]) {
    match node {
        Node::Json(path) => (&path.document, &path.steps),
        document => (document, &[]),
    }
}
