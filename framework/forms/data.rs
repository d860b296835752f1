//! The fields of a posted form.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use axum::extract::{FromRequest, Request};
use http::Method;
use http::header::CONTENT_TYPE;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::uploads::{self, UploadedFile};
use crate::error::{Error, Result};
use crate::http::{
    Held, bad_request, boundary, check_field_count, pairs, remote_address, whole_form,
};
use crate::site::Site;

/// The fields of a form, each with the values it was sent with, in order (Django's `QueryDict`),
/// and its files. As an extractor it reads the body of the request; without a form body it is
/// empty. A view that wants no files takes a [`TextForm`].
///
/// In templates a field is its last value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormData {
    fields: BTreeMap<String, Vec<String>>,
    files: BTreeMap<String, Vec<UploadedFile>>,
}

impl FormData {
    /// Reads `application/x-www-form-urlencoded` text.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in pairs(body) {
            form.add(name.into_owned(), value.into_owned());
        }
        form
    }

    /// The last value of `field`.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.last().map(String::as_str)
    }

    /// All values of `field`, in order.
    #[must_use]
    pub fn all(&self, field: &str) -> &[String] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// The last file of `field`; the form says `enctype="multipart/form-data"`, else files do not
    /// come. `None` also if none was chosen.
    #[must_use]
    pub fn file(&self, field: &str) -> Option<&UploadedFile> {
        self.files(field).last()
    }

    /// All files of `field`, in order.
    #[must_use]
    pub fn files(&self, field: &str) -> &[UploadedFile] {
        self.files.get(field).map_or(&[], Vec::as_slice)
    }

    /// Replaces the values of `field` by one.
    pub fn set(&mut self, field: &str, value: impl Into<String>) {
        self.fields.insert(field.to_owned(), vec![value.into()]);
    }

    /// Forgets `field`: a password must not travel back into a page.
    pub fn remove(&mut self, field: &str) {
        self.fields.remove(field);
    }

    pub(super) fn add(&mut self, field: String, value: String) {
        self.fields.entry(field).or_default().push(value);
    }

    pub(super) fn add_file(&mut self, field: String, file: UploadedFile) {
        self.files.entry(field).or_default().push(file);
    }
}

impl FromRequest<Site> for FormData {
    type Rejection = Error;

    async fn from_request(request: Request, site: &Site) -> Result<Self> {
        Self::read(request, site, true).await
    }
}

/// A form without files: one that brings any is refused (400) before they are read, so that nobody
/// fills memory and disk by way of a page that wants none. Use it wherever strangers may post.
///
/// ```
/// # use hulse::prelude::*;
/// use hulse::forms::TextForm;
///
/// async fn subscribe(form: TextForm) -> String {
///     form.get("email").unwrap_or_default().to_owned()
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextForm(pub FormData);

impl Deref for TextForm {
    type Target = FormData;

    fn deref(&self) -> &FormData {
        &self.0
    }
}

impl DerefMut for TextForm {
    fn deref_mut(&mut self) -> &mut FormData {
        &mut self.0
    }
}

impl FromRequest<Site> for TextForm {
    type Rejection = Error;

    async fn from_request(request: Request, site: &Site) -> Result<Self> {
        FormData::read(request, site, false).await.map(Self)
    }
}

impl FormData {
    async fn read(request: Request, site: &Site, takes_files: bool) -> Result<Self> {
        if request.method() != Method::POST {
            return Ok(Self::default());
        }
        let address = remote_address(request.extensions());
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default();
        let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => {
                let body = whole_form(site, address, request.into_body()).await?;
                check_field_count(site.settings(), &body)?;
                Ok(Self::parse(&body))
            }
            "multipart/form-data" => {
                let boundary = boundary(parameters)
                    .ok_or_else(|| bad_request("a multipart form without a boundary"))?;
                let held = Held::new(site, address);
                uploads::read(site, held, &boundary, request.into_body(), takes_files).await
            }
            _ => Ok(Self::default()),
        }
    }
}

impl Serialize for FormData {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for name in self.fields.keys() {
            map.serialize_entry(name, &self.get(name))?;
        }
        map.end()
    }
}
