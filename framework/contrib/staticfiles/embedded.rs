//! Files inside the binary.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::body::Body;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Found;
use crate::apps::Assets;

/// The folder of a crate whose files these are.
const FOLDER: &str = "static/";

/// Bytes of the SHA-256 kept for an `ETag`: two files of one name in a site's life will not
/// collide.
const ETAG_HASH_BYTES: usize = 12;

/// Static files by path below the URL.
#[derive(Debug, Default)]
pub(super) struct Embedded(HashMap<String, File>);

#[derive(Debug)]
struct File {
    bytes: Bytes,
    /// Made when the file is first asked for; the bytes never change.
    etag: OnceLock<String>,
}

impl Embedded {
    /// The `static/` of each, the first of a name wins.
    pub(super) fn of(all: impl IntoIterator<Item = Assets>) -> Self {
        let mut files = HashMap::new();
        for assets in all {
            for name in assets.below(FOLDER) {
                let Some(content) = assets.read(&name) else { continue };
                let bytes = match content {
                    Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                    Cow::Owned(bytes) => Bytes::from(bytes),
                };
                let file = File { bytes, etag: OnceLock::new() };
                files.entry(name[FOLDER.len()..].to_owned()).or_insert(file);
            }
        }
        Self(files)
    }

    pub(super) fn find(&self, path: &str) -> Option<Found> {
        let file = self.0.get(path)?;
        Some(Found {
            etag: file.etag.get_or_init(|| etag(&file.bytes)).clone(),
            modified: None,
            length: file.bytes.len() as u64,
            body: Body::from(file.bytes.clone()),
        })
    }
}

fn etag(bytes: &[u8]) -> String {
    let mut etag = String::from('"');
    for byte in &Sha256::digest(bytes)[..ETAG_HASH_BYTES] {
        write!(etag, "{byte:02x}").expect("a string takes everything");
    }
    etag.push('"');
    etag
}
