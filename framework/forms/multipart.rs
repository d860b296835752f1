//! `multipart/form-data` (RFC 7578), cut into its parts as it comes.
//!
//! Flow: [`Parser::push`] takes what was read → [`Parser::next_piece`] gives the head of a part,
//! its data in pieces, its end, until more has to be read.
//!
//! Invariants:
//! - One reading: what could be read in two ways is refused.
//! - Beside what was pushed last it holds a part's head, or as much data as a delimiter is long.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Result};
use crate::http::bad_request;

/// Longest head of a part, bytes: a name, a file's name and a type.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Head(Head),
    Data(Bytes),
    /// Of the part.
    End,
}

/// What a part says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The field's.
    pub(super) name: String,
    /// As it was sent; a part without one is no file.
    pub(super) file_name: Option<String>,
    /// Empty if it says none.
    pub(super) content_type: String,
}

/// Cuts one body.
#[derive(Debug)]
pub(super) struct Parser {
    /// A line's end, two hyphens and the boundary.
    delimiter: Vec<u8>,
    read: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Behind a delimiter: another part, or the end.
    Delimited,
    Head,
    Data,
    Over,
}

impl Parser {
    pub(super) fn new(boundary: &str) -> Self {
        // As if a line had ended before the first delimiter.
        let (delimiter, read) = (format!("\r\n--{boundary}"), BytesMut::from("\r\n"));
        Self { delimiter: delimiter.into(), read, state: State::Start }
    }

    /// Takes what was read. What stands behind the end does not count.
    pub(super) fn push(&mut self, data: &[u8]) {
        if self.state != State::Over {
            self.read.extend_from_slice(data);
        }
    }

    /// Whether the last delimiter has come.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The next piece; `None` if more has to be pushed first.
    ///
    /// # Errors
    /// It is no multipart form (400).
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>> {
        loop {
            match self.state {
                State::Start => {
                    if self.read.starts_with(b"\r\n\r\n") {
                        self.read.advance(2);
                    }
                    let seen = self.read.len().min(self.delimiter.len());
                    if self.read[..seen] != self.delimiter[..seen] && self.read[..] != b"\r\n\r"[..]
                    {
                        return Err(malformed("it does not begin with its boundary"));
                    }
                    if seen < self.delimiter.len() {
                        return Ok(None);
                    }
                    self.read.advance(seen);
                    self.state = State::Delimited;
                }
                State::Delimited => match self.read.get(..2) {
                    None => return Ok(None),
                    // The line's end belongs to the head, which may be empty.
                    Some(b"\r\n") => self.state = State::Head,
                    Some(b"--") => self.state = State::Over,
                    Some(_) => return Err(malformed("a boundary is followed by something else")),
                },
                State::Head => {
                    let Some(end) = find(&self.read, b"\r\n\r\n") else {
                        if self.read.len() > HEAD_BYTES_MAX {
                            return Err(malformed("a part's head is too long"));
                        }
                        return Ok(None);
                    };
                    let head = Head::read(&self.read.split_to(end))?;
                    self.read.advance(b"\r\n\r\n".len());
                    self.state = State::Data;
                    return Ok(Some(Piece::Head(head)));
                }
                State::Data => return Ok(self.next_data()),
                State::Over => {
                    self.read.clear();
                    return Ok(None);
                }
            }
        }
    }

    fn next_data(&mut self) -> Option<Piece> {
        let sure = match find(&self.read, &self.delimiter) {
            Some(0) => {
                self.read.advance(self.delimiter.len());
                self.state = State::Delimited;
                return Some(Piece::End);
            }
            Some(at) => at,
            // The rest may be the beginning of a delimiter.
            None => self.read.len().saturating_sub(self.delimiter.len() - 1),
        };
        (sure > 0).then(|| Piece::Data(self.read.split_to(sure).freeze()))
    }
}

impl Head {
    fn read(text: &[u8]) -> Result<Self> {
        if text.len() > HEAD_BYTES_MAX {
            return Err(malformed("a part's head is too long"));
        }
        let text = String::from_utf8_lossy(text);
        let (mut disposition, mut content_type) = (None, None);
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("a bad header"))?;
            let place = match name.trim().to_ascii_lowercase().as_str() {
                "content-disposition" => &mut disposition,
                "content-type" => &mut content_type,
                _ => continue,
            };
            if place.replace(value.trim()).is_some() {
                return Err(malformed("a header comes twice"));
            }
        }
        let disposition = disposition.unwrap_or_default();
        let (kind, rest) = disposition.split_once(';').unwrap_or((disposition, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(malformed("a part is no form-data"));
        }
        let (mut name, mut file_name) = (None, None);
        for (parameter, value) in parameters(rest)? {
            let place = match parameter.as_str() {
                "name" => &mut name,
                "filename" => &mut file_name,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(malformed("a part has two names"));
            }
        }
        let name = name.ok_or_else(|| malformed("a part has no name"))?;
        let content_type = content_type.unwrap_or_default().to_owned();
        Ok(Self { name, file_name, content_type })
    }
}

/// `a=b; c="d"`, in one go from left to right.
fn parameters(mut rest: &str) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Ok(all);
        }
        let (name, after) = rest.split_once('=').ok_or_else(|| malformed("a bad parameter"))?;
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(|| malformed("a quote has no end"))?,
            None => {
                let (value, rest) = after.split_at(after.find(';').unwrap_or(after.len()));
                (value.trim().to_owned(), rest)
            }
        };
        all.push((name.trim().to_ascii_lowercase(), value));
    }
}

/// What stands before the closing quote, and what behind it. Browsers write quotes and line ends as
/// percent codes, others a quote with a backslash; any other backslash is one.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                let value = value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
                return Some((value, &text[at + 1..]));
            }
            '\\' if text[at + 1..].starts_with('"') => {
                letters.next();
                value.push('"');
            }
            letter => value.push(letter),
        }
    }
    None
}

/// The first place of `what`, which begins with a line's end.
fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = within[from..].iter().position(|byte| *byte == b'\r') {
        from += at;
        if within[from..].starts_with(what) {
            return Some(from);
        }
        from += 1;
    }
    None
}

fn malformed(what: &str) -> Error {
    bad_request(format!("reading a multipart form: {what}"))
}
