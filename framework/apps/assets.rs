//! Files built into the binary: templates, static files, migrations.

use std::borrow::Cow;
use std::fmt;

/// Embedded files by path (`templates/chat/index.html`). Made by [`assets!`](crate::assets).
#[derive(Clone, Copy)]
pub struct Assets {
    read: fn(&str) -> Option<Cow<'static, [u8]>>,
    names: fn() -> Vec<Cow<'static, str>>,
}

impl Assets {
    /// No files.
    #[must_use]
    pub fn none() -> Self {
        Self { read: |_| None, names: Vec::new }
    }

    /// The files of a type that embeds them.
    #[must_use]
    pub fn of<E: rust_embed::RustEmbed>() -> Self {
        Self { read: |path| E::get(path).map(|file| file.data), names: || E::iter().collect() }
    }

    /// The file's bytes.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        (self.read)(path)
    }

    /// All paths below `folder` (`"templates/"`).
    #[must_use]
    pub fn below(&self, folder: &str) -> Vec<Cow<'static, str>> {
        let mut names = (self.names)();
        names.retain(|name| name.starts_with(folder));
        names
    }
}

impl fmt::Debug for Assets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assets").field("files", &(self.names)().len()).finish()
    }
}

#[doc(hidden)]
pub use rust_embed as __rust_embed;

/// The `templates/`, `static/` and `migrations/` of the calling crate, built into the binary.
///
/// ```
/// use hulse::Project;
///
/// let project = Project::new("blog", env!("CARGO_MANIFEST_DIR")).assets(hulse::assets!());
/// ```
#[macro_export]
macro_rules! assets {
    () => {{
        #[derive($crate::apps::__rust_embed::RustEmbed)]
        #[crate_path = "::hulse::apps::__rust_embed"]
        #[folder = "."]
        #[include = "templates/**"]
        #[include = "static/**"]
        #[include = "migrations/**"]
        struct Files;
        $crate::apps::Assets::of::<Files>()
    }};
}
