//! `Content-Security-Policy`: what a page may load and run.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `'self'`: this site.
pub const SELF: &str = "'self'";
/// `'none'`: nothing.
pub const NONE: &str = "'none'";
/// Stands for the nonce of the request, `'nonce-..'`; for nothing if no template has asked for it.
pub const NONCE: &str = "'nonce'";
/// `'unsafe-inline'`: scripts or styles in the page itself, injected ones too.
pub const UNSAFE_INLINE: &str = "'unsafe-inline'";
/// `'unsafe-eval'`: text as code.
pub const UNSAFE_EVAL: &str = "'unsafe-eval'";
/// `'strict-dynamic'`: what a script that is allowed loads itself.
pub const STRICT_DYNAMIC: &str = "'strict-dynamic'";
/// `data:` URLs.
pub const DATA: &str = "data:";

/// What one page may load: directives with their sources, in order.
///
/// In the settings it is a table, `{ default-src = ["'self'"] }`, or the header's own text,
/// `"default-src 'self'"`; an empty one is no policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentPolicy(Vec<(String, Vec<String>)>);

impl ContentPolicy {
    /// No policy: everything is allowed.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The one sites have unless they say another: all from this site, scripts and styles in a
    /// page only with the request's nonce, no plugins, forms only to this site.
    #[must_use]
    pub fn strict() -> Self {
        Self::none()
            .directive("default-src", [SELF])
            .directive("script-src", [SELF, NONCE])
            .directive("style-src", [SELF, NONCE])
            .directive("img-src", [SELF, DATA])
            .directive("object-src", [NONE])
            .directive("base-uri", [SELF])
            .directive("form-action", [SELF])
    }

    /// The same, but that `name` allows these sources and no others.
    ///
    /// # Panics
    /// Name or a source hold what would begin something else: a blank, a comma, a semicolon.
    #[must_use]
    #[expect(clippy::panic, reason = "a malformed policy is the programmer's and stops the start")]
    pub fn directive<'s>(mut self, name: &str, sources: impl IntoIterator<Item = &'s str>) -> Self {
        let sources = sources.into_iter().map(str::to_owned).collect();
        if let Err(words) = self.put(name.to_owned(), sources) {
            panic!("{words}");
        }
        self
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header's text for a page with this nonce, or for one without any.
    #[must_use]
    pub fn text(&self, nonce: Option<&str>) -> String {
        let lines = self.0.iter().map(|(name, sources)| {
            let mut line = name.clone();
            let given = sources.iter().filter(|source| nonce.is_some() || *source != NONCE);
            let mut count = 0;
            for source in given {
                count += 1;
                match nonce.filter(|_| source == NONCE) {
                    Some(nonce) => line.extend([" 'nonce-", nonce, "'"]),
                    None => line.extend([" ", source]),
                }
            }
            // Without its only source it would not allow more, but nothing.
            if count == 0 && !sources.is_empty() {
                line.extend([" ", NONE]);
            }
            line
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    fn put(&mut self, name: String, sources: Vec<String>) -> Result<(), String> {
        let fits = |char: char| char.is_ascii_lowercase() || char == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(format!("{name:?} is no directive of a content security policy"));
        }
        let fits = |char: char| char.is_ascii_graphic() && !matches!(char, ',' | ';');
        let bad = |source: &&String| source.is_empty() || !source.chars().all(fits);
        if let Some(source) = sources.iter().find(bad) {
            return Err(format!("{source:?} is no source of {name}"));
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = sources,
            None => self.0.push((name, sources)),
        }
        Ok(())
    }
}

impl Serialize for ContentPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, sources)| (name, sources)))
    }
}

impl<'de> Deserialize<'de> for ContentPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> de::Visitor<'de> for Reading {
            type Value = ContentPolicy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of directives and their lists, or the policy as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ContentPolicy, E> {
                let mut policy = ContentPolicy::none();
                for line in text.split(';') {
                    let mut words = line.split_ascii_whitespace().map(str::to_owned);
                    let Some(name) = words.next() else { continue };
                    policy.put(name, words.collect()).map_err(E::custom)?;
                }
                Ok(policy)
            }

            fn visit_map<A: de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<ContentPolicy, A::Error> {
                let mut policy = ContentPolicy::none();
                while let Some((name, sources)) = map.next_entry()? {
                    policy.put(name, sources).map_err(de::Error::custom)?;
                }
                Ok(policy)
            }
        }
        deserializer.deserialize_any(Reading)
    }
}
