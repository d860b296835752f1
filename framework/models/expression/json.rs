//! Ways into JSON documents, and what can be asked of them.

use crate::models::condition::{JsonTest, Lookup, Q};
use crate::models::expression::node::{JsonPath, JsonStep};
use crate::models::expression::{Expression, Node, Output};
use crate::models::field::FieldType;
use crate::models::json::Json;

fn step(node: Node, step: JsonStep) -> Expression<serde_json::Value, Option<serde_json::Value>> {
    Expression::from_node(match node {
        Node::Json(mut path) if !path.as_text => {
            path.steps.push(step);
            Node::Json(path)
        }
        document => Node::Json(Box::new(JsonPath { document, steps: vec![step], as_text: false })),
    })
}

fn has(node: Node, keys: Vec<String>, all: bool) -> Q {
    let none = keys.is_empty();
    match (none, all) {
        (true, true) => Q::ALWAYS,
        (true, false) => Q::NEVER,
        _ => Q::test(node, Lookup::Json(JsonTest::HasKeys { keys, all })),
    }
}

macro_rules! json {
    () => {
        /// What the object has under `name`; NULL if it is not there.
        #[must_use]
        pub fn key(
            self,
            name: impl Into<String>,
        ) -> Expression<serde_json::Value, Option<serde_json::Value>> {
            step(self.into_node(), JsonStep::Key(name.into()))
        }

        /// What the array has at `index`, from 0; NULL if it is not that long.
        #[must_use]
        pub fn index(self, index: u16) -> Expression<serde_json::Value, Option<serde_json::Value>> {
            step(self.into_node(), JsonStep::Index(index.into()))
        }

        /// It is an object with this key.
        #[must_use]
        pub fn has_key(self, name: impl Into<String>) -> Q {
            has(self.into_node(), vec![name.into()], true)
        }

        /// It is an object with all these keys.
        #[must_use]
        pub fn has_keys<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Q {
            has(self.into_node(), names.into_iter().map(Into::into).collect(), true)
        }

        /// It is an object with one of these keys.
        #[must_use]
        pub fn has_any_keys<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Q {
            has(self.into_node(), names.into_iter().map(Into::into).collect(), false)
        }

        /// All that `part` has is in it. SQLite cannot tell: asking is an error there.
        #[must_use]
        pub fn contains(self, part: serde_json::Value) -> Q {
            Q::test(self.into_node(), Lookup::Json(JsonTest::Contains(part)))
        }

        /// All it has is in `whole`. SQLite cannot tell: asking is an error there.
        #[must_use]
        pub fn contained_by(self, whole: serde_json::Value) -> Q {
            Q::test(self.into_node(), Lookup::Json(JsonTest::ContainedBy(whole)))
        }

        /// A JSON string without its quotes, anything else as JSON writes it.
        #[must_use]
        pub fn text(self) -> Expression<String, Option<String>> {
            Expression::from_node(match self.into_node() {
                Node::Json(mut path) => {
                    path.as_text = true;
                    Node::Json(path)
                }
                _ => Node::Mistake(
                    "`text` comes behind a `key` or `index` of a JSON document".to_owned(),
                ),
            })
        }
    };
}

impl<Out: Output> Expression<serde_json::Value, Out> {
    json!();
}

impl<T, Out: Output> Expression<Json<T>, Out>
where
    Json<T>: FieldType,
{
    json!();
}
