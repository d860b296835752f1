//! `File` and `Image`: fields that name a file below the site's media folder.

use std::fmt;

use sea_query::Value;
use serde::{Serialize, Serializer};

use crate::db::Row;
use crate::error::{Error, Kind, Result};
use crate::models::expression::{Expression, Node};
use crate::models::field::FieldType;
use crate::models::meta::FieldKind;
use crate::models::operand::Operand;

/// Longest path, characters, unless the field says otherwise.
const PATH_LENGTH: u32 = 100;

/// Endings of images that browsers and common libraries show. SVG is not among them: it may hold
/// scripts, which run with the site's rights when it is opened.
pub(super) const IMAGE_ENDINGS: [&str; 10] =
    ["avif", "bmp", "gif", "ico", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// Why a path may not name a file of the site, if it may not.
///
/// It is relative, with `/` between its parts, none of them empty, `.` or `..`; no backslash, colon
/// or control character, which some system would understand in its own way.
pub(super) fn refusal(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.contains('\\') {
        return Some("has a backslash");
    }
    if path.contains(':') {
        return Some("has a colon");
    }
    if path.chars().any(char::is_control) {
        return Some("has a control character");
    }
    if path.split('/').any(|part| part == "..") {
        return Some("has a `..`");
    }
    path.split('/').any(|part| part.is_empty() || part == ".").then_some("has an empty part")
}

macro_rules! path_field {
    ($(#[$words:meta])* $name:ident, $refusal:expr) => {
        $(#[$words])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Names the file at `path`, from the media folder on. Whether it is there nobody
            /// checks here. An empty path is no file.
            ///
            /// # Errors
            /// The path leads elsewhere or is no such file's (`is_field`).
            pub fn new(path: impl Into<String>) -> Result<Self> {
                let path = path.into();
                let refusal: fn(&str) -> Option<&'static str> = $refusal;
                match refusal(&path).filter(|_| !path.is_empty()) {
                    None => Ok(Self(path)),
                    Some(why) => {
                        Err(Error::of(Kind::Field, format!("the path {path:?} {why}")))
                    }
                }
            }

            /// Its path below the media folder; empty if there is no file.
            #[must_use]
            pub fn path(&self) -> &str {
                &self.0
            }

            /// The last part of its path.
            #[must_use]
            pub fn name(&self) -> &str {
                self.0.rsplit('/').next().unwrap_or_default()
            }

            /// Whether there is none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        /// Its path.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        /// Its lookups are those of a text. A path that is refused is an error when it is read too.
        #[diagnostic::do_not_recommend]
        impl FieldType for $name {
            const KIND: FieldKind = FieldKind::Char;
            const MAX_LENGTH: Option<u32> = Some(PATH_LENGTH);
            type Column = Expression<String>;

            fn unset() -> Self {
                Self::default()
            }

            fn value(&self) -> Option<Value> {
                Some(self.0.clone().into())
            }

            fn from_stored(value: Value) -> Option<Self> {
                match value {
                    Value::String(path) => Self::new(path?).ok(),
                    _ => None,
                }
            }

            fn read(row: &Row, index: usize) -> Result<Self> {
                Self::new(row.get::<String>(index)?)
            }
        }

        impl Operand<String> for &$name {
            type Out = String;

            fn operand(self) -> Option<Node> {
                self.value().map(Node::Value)
            }
        }
    };
}

path_field!(
    /// The path of a file below the site's media folder; empty if there is none. It cannot lead out
    /// of that folder.
    File,
    refusal
);

path_field!(
    /// The path of an image below the site's media folder; empty if there is none. It cannot lead
    /// out of that folder, and its ending is that of an image.
    Image,
    |path| refusal(path).or_else(|| {
        let ending = path.rsplit('/').next()?.rsplit_once('.').map(|(_, ending)| ending);
        let known = ending.is_some_and(|ending| {
            IMAGE_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
        });
        (!known).then_some("has no ending of an image, like .png or .jpg")
    })
);
