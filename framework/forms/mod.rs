//! Forms: what a visitor typed, what it means, what is wrong with it.
//!
//! Flow: [`FormData`] reads the body of a POST (bounded), with its [`UploadedFile`]s → the view
//! takes its fields and notes what is wrong in [`Errors`] → [`Form`] carries both into the
//! template, for the page that asks again.
//!
//! Invariants:
//! - Longer than `http.data_upload_max_memory_size` is a 413, more fields than
//!   `http.data_upload_max_number_fields` (or files than theirs) a 400; counted on what was read.
//! - A password never travels back into a page: views leave it out of `values`.

mod data;
mod errors;
mod multipart;
mod uploads;

pub use data::{FormData, TextForm};
pub use errors::Errors;
pub use uploads::UploadedFile;

use serde::Serialize;

/// A form as a template sees it: `form.values.username`, `form.errors.username`,
/// `form.non_field_errors`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Form {
    /// What to show in the fields.
    pub values: FormData,
    /// What is wrong, by field.
    pub errors: Errors,
    /// What is wrong with the form as a whole.
    pub non_field_errors: Vec<String>,
}

impl Form {
    /// An empty form, for a GET.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A form with these values and nothing wrong yet.
    #[must_use]
    pub fn of(values: FormData) -> Self {
        Self { values, ..Self::default() }
    }

    /// The text of `field`, trimmed; if it is empty, notes that it is required.
    pub fn required(&mut self, field: &str) -> String {
        let text = self.values.get(field).unwrap_or_default().trim().to_owned();
        if text.is_empty() {
            self.errors.add(field, "This field is required.");
        }
        text
    }

    /// Notes what is wrong with the form as a whole.
    pub fn fail(&mut self, message: impl Into<String>) {
        self.non_field_errors.push(message.into());
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty() && self.non_field_errors.is_empty()
    }
}

#[cfg(test)]
mod tests;
