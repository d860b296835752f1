//! From the tree to typed settings: a serde deserializer that knows where each value was written.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::conf::file;
use crate::conf::nearest::nearest;
use crate::conf::sections::{ReadSections, Sections};
use crate::conf::settings::Settings;
use crate::conf::tree::{self, Node, Origin, Table, Value};
use crate::error::{Error, Kind, Result};

/// Reads the framework's settings and every registered section.
pub(super) fn settings(mut table: Table, sections: &Sections) -> Result<Settings> {
    let origins = tree::origins(&table);
    let names = sections.names();
    let mut read = ReadSections::default();
    for name in &names {
        let node = table.remove(*name);
        if let Some(section) = sections.read(name, node.as_ref())? {
            read.0.insert(name, section);
        }
    }
    let root = TableReader { table: &table, path: String::new(), also: &names };
    let mut settings = Settings::deserialize(root).map_err(|wrong| wrong.error())?;
    settings.origins = origins.into();
    settings.sections = read;
    Ok(settings)
}

/// What is wrong, and once known, with which key and where it was written.
#[derive(Debug)]
pub(super) struct Wrong {
    words: String,
    place: Option<(String, Origin)>,
}

impl Wrong {
    /// The place of the value that was being read, unless a deeper one is known.
    fn at(mut self, key: &str, origin: &Origin) -> Self {
        self.place.get_or_insert_with(|| (key.to_owned(), origin.clone()));
        self
    }

    pub(super) fn error(&self) -> Error {
        let words = match &self.place {
            None => self.words.clone(),
            Some((key, origin)) => format!("{origin}: {key}: {}", self.words),
        };
        Error::of(Kind::Settings, words)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self { words: words.to_string(), place: None }
    }
}

/// Reads one node.
pub(super) struct Reader<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Reader<'a> {
    pub(super) fn section(node: &'a Node, name: &str) -> Self {
        Self { node, path: name.to_owned() }
    }

    /// Says where, for whatever goes wrong in `read`.
    fn located<T>(self, read: impl FnOnce(&Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        read(&self).map_err(|wrong| wrong.at(&self.path, &self.node.origin))
    }

    fn table(&self, table: &'a Table) -> TableReader<'a> {
        TableReader { table, path: self.path.clone(), also: &[] }
    }

    /// The text of a variable or flag as a number.
    fn number<T: std::str::FromStr>(&self, text: &str) -> Result<T, Wrong> {
        text.trim()
            .parse()
            .map_err(|_| de::Error::custom(format!("{text:?} is not a number that fits")))
    }
}

/// Integers and floats: loose text is parsed, the rest is as it was written.
macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match &self.node.value {
                Value::Loose(text) => {
                    self.located(|at| visitor.$visit(at.number::<$type>(text)?))
                }
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.located(|at| match &at.node.value {
            Value::Table(table) => visitor.visit_map(at.table(table).entries()),
            Value::Array(nodes) => visitor.visit_seq(Items { nodes: nodes.iter(), path: &at.path }),
            Value::Text(text) | Value::Loose(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(yes) => visitor.visit_bool(*yes),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let Value::Loose(text) = &self.node.value else { return self.deserialize_any(visitor) };
        self.located(|_| match text.trim().to_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => visitor.visit_bool(true),
            "0" | "false" | "no" | "off" => visitor.visit_bool(false),
            _ => Err(de::Error::custom(format!("{text:?} is neither true nor false"))),
        })
    }

    numbers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64, deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let Value::Loose(text) = &self.node.value else { return self.deserialize_any(visitor) };
        let nodes = loose_items(text, &self.node.origin);
        self.located(|at| visitor.visit_seq(Items { nodes: nodes.iter(), path: &at.path }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let Value::Table(table) = &self.node.value else { return self.deserialize_any(visitor) };
        self.located(|at| at.table(table).deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.located(|at| match &at.node.value {
            Value::Text(text) | Value::Loose(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Value::Table(_)
            | Value::Array(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_) => Err(de::Error::custom("expected one of a few words, in quotes")),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier ignored_any
    }
}

/// A list in a variable: TOML's `["a", "b"]`, or `a,b`.
fn loose_items(text: &str, origin: &Origin) -> Vec<Node> {
    let text = text.trim();
    if text.starts_with('[')
        && let Some(Value::Array(nodes)) = file::parse_value(text, origin)
    {
        return nodes;
    }
    let item = |t: &str| Node::new(Value::Loose(t.trim().to_owned()), origin.clone());
    text.split(',').filter(|item| !item.trim().is_empty()).map(item).collect()
}

/// Reads a table: as a struct, whose fields are the only keys there may be, or as a map.
struct TableReader<'a> {
    table: &'a Table,
    path: String,
    /// Keys that are known beside the struct's fields, to be suggested.
    also: &'a [&'static str],
}

impl<'a> TableReader<'a> {
    fn entries(self) -> Entries<'a> {
        let mut entries: Vec<(&String, &Node)> = self.table.iter().collect();
        entries.sort_by_key(|(_, node)| node.place);
        Entries { entries: entries.into_iter(), path: self.path, next: None }
    }

    fn refuse_unknown(&self, fields: &'static [&'static str]) -> Result<(), Wrong> {
        let Some((key, node)) = self.table.iter().find(|(k, _)| !fields.contains(&k.as_str()))
        else {
            return Ok(());
        };
        let known = fields.iter().chain(self.also).copied();
        let words = match nearest(key, known.clone()) {
            Some(near) => format!("unknown key, did you mean {}?", tree::join(&self.path, near)),
            None => format!("unknown key, known here are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let wrong: Wrong = de::Error::custom(words);
        Err(wrong.at(&tree::join(&self.path, key), &node.origin))
    }
}

impl<'de> Deserializer<'de> for TableReader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self.entries())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.refuse_unknown(fields)?;
        visitor.visit_map(self.entries())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Entries<'a> {
    entries: std::vec::IntoIter<(&'a String, &'a Node)>,
    path: String,
    next: Option<(&'a String, &'a Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.next = self.entries.next();
        let Some((key, _)) = self.next else { return Ok(None) };
        let key: StringDeserializer<Wrong> = key.clone().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (key, node) = self.next.take().expect("serde asks for a value after its key");
        let path = tree::join(&self.path, key);
        // Also here: what a type's own `Deserialize` finds wrong knows no place.
        seed.deserialize(Reader { node, path: path.clone() })
            .map_err(|wrong| wrong.at(&path, &node.origin))
    }
}

struct Items<'a> {
    nodes: std::slice::Iter<'a, Node>,
    path: &'a str,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let path = self.path.to_owned();
        let read = seed.deserialize(Reader { node, path });
        read.map(Some).map_err(|wrong| wrong.at(self.path, &node.origin))
    }
}
