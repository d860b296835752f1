//! Files in folders.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;

use super::Found;
use crate::error::Result;

/// Bytes read at once: one turn on the blocking pool each.
const PIECE_BYTES: usize = 64 * 1024;

/// A folder that may be there or not; it is looked for at each request, so that one made while the
/// site runs is served.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

struct Opened {
    file: File,
    length: u64,
    modified: DateTime<Utc>,
    /// The first piece, read while the thread was there anyway: often it is all.
    first: Bytes,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file at `path`, which is clean.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Found>> {
        let (root, path) = (self.0.clone(), path.to_owned());
        // Whatever the system does not let us open is not there, for a visitor.
        let opened = tokio::task::spawn_blocking(move || open(&root, &path).ok()).await?;
        Ok(opened.map(found))
    }
}

fn open(root: &Path, path: &str) -> io::Result<Opened> {
    let root = fs::canonicalize(root)?;
    let real = fs::canonicalize(root.join(path))?;
    // A link may point anywhere; what it points to must lie in the folder too. `is_file` comes
    // before opening because opening a pipe would wait for its writer.
    if !real.starts_with(&root) || !fs::metadata(&real)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut file = File::open(&real)?;
    let about = file.metadata()?;
    let first = piece(&mut file)?;
    Ok(Opened { length: about.len(), modified: about.modified()?.into(), file, first })
}

fn found(opened: Opened) -> Found {
    let Opened { file, length, modified, first } = opened;
    let since = modified.timestamp_nanos_opt().unwrap_or_default();
    let body =
        if length <= first.len() as u64 { Body::from(first) } else { rest(file, first, length) };
    Found {
        etag: format!("\"{since:x}-{length:x}\""),
        modified: (modified.timestamp() >= UNIX_EPOCH_SECONDS)
            .then(|| modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        length,
        body,
    }
}

/// Dates before this one say nothing: some archives set them to zero.
const UNIX_EPOCH_SECONDS: i64 = 1;

/// `first`, then the file piece by piece. One that shrinks meanwhile ends the connection, because
/// its length was promised; one that grows is cut.
fn rest(file: File, first: Bytes, length: u64) -> Body {
    let left = length - first.len() as u64;
    let start = stream::iter([Ok(first)]);
    let pieces = stream::try_unfold((file, left), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || piece(&mut file).map(|bytes| (bytes, file)));
        let (mut bytes, file) = read.await.map_err(io::Error::other)??;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - bytes.len() as u64;
        Ok::<_, io::Error>(Some((bytes, (file, left))))
    });
    Body::from_stream(futures_util::StreamExt::chain(start, pieces))
}

fn piece(file: &mut File) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    file.take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
