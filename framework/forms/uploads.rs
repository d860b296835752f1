//! Files that come with a form.
//!
//! Flow: the body is cut into parts → text becomes fields; files stay in memory as long as there is
//! room, then lie in a file without a name → the view reads them or puts them into a folder.
//!
//! Invariants:
//! - Text, fields and files are counted as they are read; the whole of it `server` counts, and
//!   `http/room` what all forms of the process have together.
//! - A visitor's name for a file is never a path: what stands before a slash is cut off.
//! - What is put into a folder replaces nothing and follows no link.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::FormData;
use super::multipart::{Head, Parser, Piece};
use crate::conf;
use crate::error::{Error, Result};
use crate::http::{Gathered, Held, bad_request, in_time, next_data, too_large};
use crate::signing::random_string;
use crate::site::Site;

/// Longest name of a file, bytes (Linux's `NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// What is added to a name that is taken, characters, and how often that is tried.
const SUFFIX_CHARS: usize = 7;
const SUFFIXES_MAX: usize = 100;

/// Bytes copied at once, and gathered before they are written: a visitor decides how small the
/// pieces are that come.
const PIECE_BYTES: usize = 64 * 1024;

/// A file that came with a form. A cheap clone; what it holds is gone with the last.
///
/// ```
/// # use hulse::prelude::*;
/// use hulse::forms::FormData;
/// # use hulse::http::bad_request;
///
/// async fn upload(form: FormData) -> Result<String> {
///     let photo = form.file("photo").ok_or_else(|| bad_request("no photo"))?;
///     let kept = photo.save_in("media/photos".as_ref()).await?;
///     Ok(kept.display().to_string())
/// }
/// ```
#[derive(Clone)]
pub struct UploadedFile(Arc<Inner>);

struct Inner {
    name: String,
    content_type: String,
    size: u64,
    content: Content,
    #[expect(dead_code, reason = "its place among all forms, given back with it")]
    held: Arc<Held>,
}

enum Content {
    Memory(Bytes),
    /// Without a name, so it is gone when it is closed.
    Disk(Arc<File>),
}

impl UploadedFile {
    /// The last part of the visitor's name for it, without what cannot be seen; at most 255 bytes,
    /// and never empty, `.` or `..`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the visitor says it is: nobody has looked.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.0.content_type
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// All of it.
    ///
    /// # Errors
    /// It cannot be read back from the disk.
    pub async fn bytes(&self) -> Result<Bytes> {
        if let Content::Memory(bytes) = &self.0.content {
            return Ok(bytes.clone());
        }
        let inner = Arc::clone(&self.0);
        let read = move || {
            let mut all = Vec::new();
            inner.copy(&mut all).map(|()| Bytes::from(all))
        };
        spawn_blocking(read).await?.map_err(|error| Error::from(error).context("reading an upload"))
    }

    /// Puts it into `folder` and says where. Of its name letters, digits, `_`, `-` and `.` are
    /// kept; if that is taken, seven characters are added. It may be read by all (0644).
    ///
    /// # Errors
    /// The folder is not there, or cannot be written to.
    pub async fn save_in(&self, folder: &Path) -> Result<PathBuf> {
        let (inner, folder) = (Arc::clone(&self.0), folder.to_owned());
        let words = format!("saving an upload in {}", folder.display());
        let saved = spawn_blocking(move || inner.save_in(&folder)).await?;
        saved.map_err(|error| Error::from(error).context(words))
    }
}

impl Inner {
    fn copy(&self, to: &mut impl Write) -> io::Result<()> {
        let file = match &self.content {
            Content::Memory(bytes) => return to.write_all(bytes),
            Content::Disk(file) => file,
        };
        let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
        loop {
            let read = file.read_at(&mut piece, at)?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(&piece[..read])?;
            at += read as u64;
        }
    }

    fn save_in(&self, folder: &Path) -> io::Result<PathBuf> {
        let (path, mut file) = new_file(folder, &plain_name(&self.name))?;
        // The process' umask does not count: who serves it may be another user.
        let saved =
            file.set_permissions(Permissions::from_mode(0o644)).and_then(|()| self.copy(&mut file));
        match saved {
            Ok(()) => Ok(path),
            Err(error) => {
                // Half a file is none.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }
}

/// A file that was not there before, under this name or one like it.
fn new_file(folder: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let mut path = folder.join(name);
    for _ in 0..SUFFIXES_MAX {
        // Neither what is there nor where a link leads to is touched.
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let (stem, end) = split_name(name);
                let room = NAME_BYTES_MAX - SUFFIX_CHARS - "_".len() - end.len();
                let (stem, more) = (cut(stem, room), random_string(SUFFIX_CHARS));
                path = folder.join(format!("{stem}_{more}{end}"));
            }
            made => return made.map(|file| (path, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Of a visitor's name what is a file's: nothing of a path, nothing that cannot be seen.
pub(super) fn file_name(sent: &str) -> Option<String> {
    let text = without_entities(sent);
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let seen: String = last.chars().filter(|letter| is_seen(*letter)).collect();
    let name = seen.trim();
    if matches!(name, "" | "." | "..") {
        return None;
    }
    let (stem, end) = split_name(name);
    Some(format!("{}{end}", cut(stem, NAME_BYTES_MAX - end.len())))
}

/// Of a name what is harmless in any folder, URL and shell.
pub(super) fn plain_name(name: &str) -> String {
    let fits = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let plain: String = name.replace(' ', "_").chars().filter(fits).collect();
    // A hyphen in front is an option to somebody's program, a dot hides, or configures a server.
    let plain = plain.trim_start_matches(['-', '.']);
    if plain.is_empty() { "file".to_owned() } else { plain.to_owned() }
}

/// Neither a control character nor one that turns the others round or is none.
fn is_seen(letter: char) -> bool {
    let is_format = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !letter.is_control() && !is_format
}

/// Decodes what browsers write for letters that a page's encoding does not have, and the names of
/// those that matter in a path.
fn without_entities(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match entity(rest) {
            Some((letter, behind)) => {
                decoded.push(letter);
                rest = behind;
            }
            None => decoded.push('&'),
        }
    }
    decoded + rest
}

/// The letter an entity behind its `&` stands for, and what comes behind it.
fn entity(text: &str) -> Option<(char, &str)> {
    let known = [("sol;", '/'), ("bsol;", '\\'), ("period;", '.'), ("amp;", '&')];
    if let Some((name, letter)) = known.into_iter().find(|(name, _)| text.starts_with(name)) {
        return Some((letter, &text[name.len()..]));
    }
    let number = text.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let end = digits.find(|letter: char| !letter.is_digit(radix)).unwrap_or(digits.len());
    let letter = char::from_u32(u32::from_str_radix(&digits[..end], radix).ok()?)?;
    Some((letter, digits[end..].strip_prefix(';').unwrap_or(&digits[end..])))
}

/// A name and its end with the dot; an end that is too long is none.
fn split_name(name: &str) -> (&str, &str) {
    const END_BYTES_MAX: usize = 32;
    let dot = name.rfind('.').filter(|at| *at > 0 && name.len() - at <= END_BYTES_MAX);
    name.split_at(dot.unwrap_or(name.len()))
}

/// The beginning of `text`, in whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Reads a multipart body.
///
/// # Errors
/// It is malformed, has too many parts, or files where none are taken (400), is too large (413),
/// comes too slowly (408), or other forms have all the room (503).
pub(super) async fn read(
    site: &Site,
    held: Held,
    boundary: &str,
    body: Body,
    takes_files: bool,
) -> Result<FormData> {
    let reading = Reading::new(site, held, takes_files);
    in_time(&site.settings().http, reading.read(boundary, body)).await
}

/// A form as far as it was read.
struct Reading<'l> {
    limits: &'l conf::Http,
    form: FormData,
    field_count: usize,
    file_count: usize,
    text_bytes: usize,
    /// Of files that are in memory.
    file_bytes: usize,
    part: Part,
    takes_files: bool,
    held: Arc<Held>,
}

/// The part that is being read.
enum Part {
    /// None, or a file without a name: none was chosen.
    Nothing,
    Text(String, Gathered),
    File(Head, Growing),
}

enum Growing {
    Memory(Gathered),
    Disk(Spool),
}

/// A file on the disk, and what is still to be written to it.
struct Spool {
    file: Arc<File>,
    written: u64,
    gathered: Vec<u8>,
}

impl<'l> Reading<'l> {
    fn new(site: &'l Site, held: Held, takes_files: bool) -> Self {
        Self {
            limits: &site.settings().http,
            form: FormData::default(),
            field_count: 0,
            file_count: 0,
            text_bytes: 0,
            file_bytes: 0,
            part: Part::Nothing,
            takes_files,
            held: Arc::new(held),
        }
    }

    async fn read(mut self, boundary: &str, mut body: Body) -> Result<FormData> {
        let mut parser = Parser::new(boundary);
        while let Some(data) = next_data(&mut body).await? {
            parser.push(&data);
            while let Some(piece) = parser.next_piece()? {
                match piece {
                    Piece::Head(head) => self.begin(head)?,
                    Piece::Data(data) => self.add(&data).await?,
                    Piece::End => self.end().await?,
                }
            }
        }
        if !parser.is_over() {
            return Err(bad_request("reading a multipart form: it breaks off"));
        }
        Ok(self.form)
    }

    fn begin(&mut self, head: Head) -> Result<()> {
        let Some(sent) = &head.file_name else {
            self.field_count += 1;
            let most = self.limits.data_upload_max_number_fields;
            if self.field_count > most {
                return Err(too_many("fields", "data_upload_max_number_fields", most));
            }
            self.text(head.name.len())?;
            self.part = Part::Text(head.name, Gathered::default());
            return Ok(());
        };
        self.file_count += 1;
        let most = self.limits.data_upload_max_number_files;
        if self.file_count > most {
            return Err(too_many("files", "data_upload_max_number_files", most));
        }
        let name = file_name(sent);
        if name.is_some() && !self.takes_files {
            return Err(bad_request("the form takes no files"));
        }
        self.part = match name {
            Some(_) => {
                Part::File(Head { file_name: name, ..head }, Growing::Memory(Gathered::default()))
            }
            None => Part::Nothing,
        };
        Ok(())
    }

    /// Counts text of the form.
    fn text(&mut self, bytes: usize) -> Result<()> {
        self.text_bytes += bytes;
        let limit = self.limits.data_upload_max_memory_size;
        if self.text_bytes > limit { Err(too_large(limit)) } else { self.held.take(bytes) }
    }

    async fn add(&mut self, data: &Bytes) -> Result<()> {
        if matches!(self.part, Part::Text(..)) {
            self.text(data.len())?;
        }
        match &mut self.part {
            Part::Nothing => Ok(()),
            Part::Text(_, text) => {
                text.push(data);
                Ok(())
            }
            Part::File(_, content) => {
                let room = self.limits.file_upload_max_memory_size;
                if let Growing::Memory(known) = content {
                    if self.file_bytes + data.len() <= room {
                        self.held.take(data.len())?;
                        self.file_bytes += data.len();
                        known.push(data);
                        return Ok(());
                    }
                    self.file_bytes -= known.len();
                    let known = std::mem::take(known).whole();
                    let file = unnamed_file(self.limits).await?;
                    self.held.take_disk(known.len())?;
                    self.held.take(PIECE_BYTES)?;
                    self.held.give_back(known.len());
                    let mut spool = Spool { file, written: 0, gathered: known };
                    spool.write().await?;
                    *content = Growing::Disk(spool);
                }
                let Growing::Disk(spool) = content else { return Ok(()) };
                self.held.take_disk(data.len())?;
                spool.gather(data).await
            }
        }
    }

    async fn end(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.part, Part::Nothing) {
            Part::Nothing => {}
            Part::Text(name, text) => {
                let text = String::from_utf8(text.whole());
                let text = text
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
                self.form.add(name, text);
            }
            Part::File(head, content) => {
                let name = head.file_name.unwrap_or_default();
                let (content, size) = match content {
                    Growing::Memory(bytes) => {
                        let size = bytes.len() as u64;
                        (Content::Memory(bytes.whole().into()), size)
                    }
                    Growing::Disk(mut spool) => {
                        spool.write().await?;
                        self.held.give_back(PIECE_BYTES);
                        (Content::Disk(spool.file), spool.written)
                    }
                };
                let (content_type, held) = (head.content_type, Arc::clone(&self.held));
                let inner = Inner { name, content_type, size, content, held };
                self.form.add_file(head.name, UploadedFile(Arc::new(inner)));
            }
        }
        Ok(())
    }
}

impl Spool {
    /// Takes what came; a piece that is large enough is written.
    async fn gather(&mut self, data: &[u8]) -> Result<()> {
        self.gathered.extend_from_slice(data);
        if self.gathered.len() < PIECE_BYTES { Ok(()) } else { self.write().await }
    }

    /// Writes what was gathered.
    async fn write(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let (file, at) = (Arc::clone(&self.file), self.written);
        let mut data = std::mem::take(&mut self.gathered);
        self.written += data.len() as u64;
        let written = spawn_blocking(move || {
            file.write_all_at(&data, at)?;
            // The memory is good for the next piece.
            data.clear();
            Ok::<_, io::Error>(data)
        });
        let written = written.await?;
        self.gathered = written.map_err(|error| Error::from(error).context("keeping an upload"))?;
        self.gathered.shrink_to(2 * PIECE_BYTES);
        Ok(())
    }
}

/// A file that nobody else can open and that is gone when it is closed.
async fn unnamed_file(limits: &conf::Http) -> Result<Arc<File>> {
    let folder = match limits.file_upload_temp_dir.as_os_str().is_empty() {
        true => std::env::temp_dir(),
        false => limits.file_upload_temp_dir.clone(),
    };
    let words = format!("keeping an upload in {}", folder.display());
    let made = spawn_blocking(move || {
        let (path, file) = new_file(&folder, &format!("upload_{}", random_string(16)))?;
        std::fs::remove_file(path)?;
        Ok::<_, io::Error>(Arc::new(file))
    });
    made.await?.map_err(|error| Error::from(error).context(words))
}

fn too_many(what: &str, setting: &str, limit: usize) -> Error {
    bad_request(format!("the form has more {what} than http.{setting}, {limit}"))
}

/// Two are equal if they are the same upload.
impl PartialEq for UploadedFile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for UploadedFile {}

impl fmt::Debug for UploadedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadedFile")
            .field("name", &self.name())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{PIECE_BYTES, Spool, unnamed_file};
    use crate::conf;

    #[tokio::test]
    async fn small_pieces_are_gathered_before_they_are_written() {
        let file = unnamed_file(&conf::Http::default()).await.unwrap();
        let mut spool = Spool { file: Arc::clone(&file), written: 0, gathered: Vec::new() };
        for byte in 0..PIECE_BYTES - 1 {
            spool.gather(&[byte as u8]).await.unwrap();
            assert_eq!(spool.written, 0, "{byte}");
        }
        spool.gather(b"x").await.unwrap();
        assert_eq!(spool.written, PIECE_BYTES as u64);
        assert_eq!(file.metadata().unwrap().len(), PIECE_BYTES as u64);
        spool.gather(b"rest").await.unwrap();
        spool.write().await.unwrap();
        assert_eq!(file.metadata().unwrap().len(), PIECE_BYTES as u64 + 4);
    }
}
