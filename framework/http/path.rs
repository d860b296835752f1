//! `Path`: what the URL captured, as the view's own types.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use super::beside::fact;
use crate::error::Error;
use crate::site::Site;

/// Names and texts of a route's converters, decoded, in the route's order.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<[(Arc<str>, String)]>);

impl Captured {
    pub(crate) fn new(values: Vec<(Arc<str>, String)>) -> Self {
        // Most routes capture nothing; the empty one is shared.
        if values.is_empty() { Self::default() } else { Self(values.into()) }
    }

    /// Whether the route captures nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text captured as `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(known, text)| (known == name).then_some(text))
    }

    /// All names and texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, text.as_str()))
    }

    /// The texts as a `T`: one value (`Path<i64>`), a tuple in the route's order, or a struct or
    /// map by name.
    ///
    /// # Errors
    /// 404 if a text does not fit its type; 500 if there are more or fewer values than `T` wants.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Values(&self.0)).map_err(|mismatch| match mismatch {
            Mismatch::Text(words) => Error::status(StatusCode::NOT_FOUND, words),
            Mismatch::Shape(words) => Error::new(format!("reading the captured path: {words}")),
        })
    }
}

/// What the URL captured: `Path(id): Path<i64>`, `Path((year, slug)): Path<(i32, String)>`, or a
/// struct whose fields are the converters' names.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Site> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _site: &Site) -> Result<Self, Error> {
        let captured = fact::<Captured>(&parts.extensions).cloned().unwrap_or_default();
        captured.parse().map(Self)
    }
}

/// Why a path is not a `T`.
#[derive(Debug)]
enum Mismatch {
    /// The visitor's text: that page does not exist.
    Text(String),
    /// The view's type: the programmer's error.
    Shape(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Text(words) | Self::Shape(words)) = self;
        f.write_str(words)
    }
}

impl std::error::Error for Mismatch {}

impl serde::de::Error for Mismatch {
    fn custom<M: fmt::Display>(words: M) -> Self {
        Self::Text(words.to_string())
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::Shape(format!("found {found}, the view wants {expected}"))
    }

    fn invalid_length(length: usize, expected: &dyn serde::de::Expected) -> Self {
        Self::Shape(format!("the route captures {length} values, the view wants {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Shape(format!("the route captures no {field:?}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Shape(format!("the route captures {field:?}, the view knows {expected:?}"))
    }
}

/// All captured values.
struct Values<'a>(&'a [(Arc<str>, String)]);

impl<'a> Values<'a> {
    fn only(&self) -> Result<Text<'a>, Mismatch> {
        match self.0 {
            [(_, text)] => Ok(Text(text)),
            values => {
                Err(Mismatch::Shape(format!("the route captures {} values, not 1", values.len())))
            }
        }
    }
}

macro_rules! forward_to_the_only_value {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Mismatch;

    forward_to_the_only_value! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_identifier
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().map(|(_, text)| Text(text))))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if length != self.0.len() {
            return Err(Mismatch::Shape(format!(
                "the route captures {} values, the view wants {length}",
                self.0.len()
            )));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let pairs = self.0.iter().map(|(name, text)| (&**name, Text(text)));
        visitor.visit_map(MapDeserializer::new(pairs))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }
}

/// One captured text.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl<'de> IntoDeserializer<'de, Mismatch> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            let parsed = self.0.parse();
            visitor.$visit(parsed.map_err(|why| Mismatch::Text(format!("{:?}: {why}", self.0)))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Mismatch;

    parse! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_u128 visit_u128
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
        deserialize_char visit_char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if !variants.contains(&self.0) {
            return Err(Mismatch::Text(format!("{:?} is none of {variants:?}", self.0)));
        }
        let variant: serde::de::value::StrDeserializer<'_, Mismatch> = self.0.into_deserializer();
        visitor.visit_enum(variant)
    }

    serde::forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
