//! Templates: Tera, with the site's and the apps' files and Django's functions.

use crate::error::Result;

/// The loaded templates. A cheap clone.
#[derive(Clone, Debug)]
pub struct Templates {}

impl Templates {
    /// Renders the template `name` with `context` and returns the text.
    ///
    /// # Errors
    /// The template is missing or wrong (`is_template`).
    pub fn render(&self, name: &str, context: &tera::Context) -> Result<String> {
        let _ = context;
        todo!("{name}")
    }
}
