//! Sections of `settings.toml` that belong to apps.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::conf::read::Reader;
use crate::conf::tree::Node;
use crate::error::Result;

/// An app's own section: `[chat]` in `settings.toml`, typed and checked like the framework's.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct ChatSettings {
///     message_bytes_max: usize,
/// }
///
/// impl Default for ChatSettings {
///     fn default() -> Self {
///         Self { message_bytes_max: 4096 }
///     }
/// }
///
/// impl hulse::conf::Section for ChatSettings {
///     const NAME: &'static str = "chat";
/// }
/// ```
///
/// An app registers it in `App::sections`; [`Settings::section`](super::Settings::section) reads
/// it.
pub trait Section: Serialize + DeserializeOwned + Default + Send + Sync + 'static {
    /// The table's name.
    const NAME: &'static str;
}

/// The registered sections.
#[derive(Clone, Default)]
pub struct Sections(BTreeMap<&'static str, Registered>);

type Shared = Arc<dyn Any + Send + Sync>;

#[derive(Clone, Copy)]
struct Registered {
    read: fn(Option<&Node>) -> Result<Read>,
}

/// A section that has been read.
#[derive(Clone)]
pub(super) struct Read {
    id: TypeId,
    value: Shared,
    pub(super) shown: serde_json::Value,
}

/// All sections that have been read, by name.
#[derive(Clone, Default)]
pub(super) struct ReadSections(pub(super) BTreeMap<&'static str, Read>);

impl Sections {
    /// Adds the section of `S`.
    #[must_use]
    pub fn with<S: Section>(mut self) -> Self {
        self.0.insert(S::NAME, Registered { read: read::<S> });
        self
    }

    /// Adds all of `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// Reads the section called `name` from its node, or its defaults.
    pub(super) fn read(&self, name: &'static str, node: Option<&Node>) -> Result<Option<Read>> {
        self.0.get(name).map(|registered| (registered.read)(node)).transpose()
    }
}

impl ReadSections {
    pub(super) fn get<S: Section>(&self) -> Option<Arc<S>> {
        let read = self.0.get(S::NAME).filter(|read| read.id == TypeId::of::<S>())?;
        Arc::clone(&read.value).downcast().ok()
    }

    pub(super) fn set<S: Section>(&mut self, value: S) -> Result<()> {
        self.0.insert(S::NAME, Read::new(value)?);
        Ok(())
    }
}

impl Read {
    fn new<S: Section>(value: S) -> Result<Self> {
        let shown = serde_json::to_value(&value)?;
        Ok(Self { id: TypeId::of::<S>(), value: Arc::new(value), shown })
    }
}

fn read<S: Section>(node: Option<&Node>) -> Result<Read> {
    let value = match node {
        None => S::default(),
        Some(node) => S::deserialize(Reader::section(node, S::NAME)).map_err(|w| w.error())?,
    };
    Read::new(value)
}

impl fmt::Debug for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for ReadSections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, read)| (name, &read.shown))).finish()
    }
}
