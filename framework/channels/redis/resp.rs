//! RESP3, the protocol of Redis, as far as the layer speaks it.
//!
//! Invariants:
//! - Every length is checked before anything is set aside for it.
//! - What cannot be read ends the connection; nothing is guessed.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest reply, bytes: a history of a few MiB, a roster of 8.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most values in a list.
const LIST_MAX: usize = 1_000_000;
/// How deep lists may be in lists.
const DEPTH_MAX: usize = 8;
/// Longest line, bytes: an error's words.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A value from Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    /// Simple and bulk strings, doubles and big numbers.
    Bytes(Bytes),
    Error(String),
    /// Lists, sets, and maps as their keys and values in turn.
    List(Vec<Self>),
    /// What nobody asked for: messages of a channel.
    Push(Vec<Self>),
}

/// The reply is longer than any should be, or is no RESP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadReply;

impl Value {
    pub(super) fn bytes(self) -> Option<Bytes> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(super) fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(integer) => u64::try_from(*integer).ok(),
            // A number above 2^53 comes from a script as text.
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn list(self) -> Option<Vec<Self>> {
        if let Self::List(list) = self { Some(list) } else { None }
    }
}

/// Appends a command of `parts`, its name first.
pub(super) fn command(out: &mut BytesMut, parts: &[&[u8]]) {
    put_length(out, b'*', parts.len());
    for part in parts {
        put_length(out, b'$', part.len());
        out.put_slice(part);
        out.put_slice(b"\r\n");
    }
}

fn put_length(out: &mut BytesMut, first: u8, length: usize) {
    out.put_u8(first);
    out.put_slice(length.to_string().as_bytes());
    out.put_slice(b"\r\n");
}

/// Takes the next whole value out of `input`.
pub(super) fn next(input: &mut BytesMut) -> Result<Option<Value>, BadReply> {
    let mut scan = Scan { bytes: input, at: 0 };
    match scan.skip(0) {
        Ok(()) => {}
        Err(Stop::Short) if input.len() <= REPLY_BYTES_MAX => return Ok(None),
        Err(_) => return Err(BadReply),
    }
    let length = scan.at;
    let mut whole = input.split_to(length).freeze();
    read(&mut whole).map(Some).ok_or(BadReply)
}

/// Finds the end of a value without keeping anything of it.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

enum Stop {
    /// The rest has not come yet.
    Short,
    Bad,
}

impl Scan<'_> {
    fn skip(&mut self, depth: usize) -> Result<(), Stop> {
        let line = self.line()?;
        let (first, rest) = line.split_first().ok_or(Stop::Bad)?;
        match first {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(()),
            b'$' | b'!' | b'=' => match length(rest) {
                Ok(Some(length)) if length <= REPLY_BYTES_MAX => self.skip_bytes(length + 2),
                Ok(None) => Ok(()),
                _ => Err(Stop::Bad),
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let Ok(count) = length(rest) else { return Err(Stop::Bad) };
                let count = count.unwrap_or(0) * if matches!(first, b'%' | b'|') { 2 } else { 1 };
                if count > LIST_MAX || depth >= DEPTH_MAX {
                    return Err(Stop::Bad);
                }
                (0..count).try_for_each(|_| self.skip(depth + 1))
            }
            _ => Err(Stop::Bad),
        }
    }

    fn line(&mut self) -> Result<&[u8], Stop> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            return Err(if rest.len() >= LINE_BYTES_MAX { Stop::Bad } else { Stop::Short });
        };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").ok_or(Stop::Bad)
    }

    fn skip_bytes(&mut self, count: usize) -> Result<(), Stop> {
        if self.bytes.len() - self.at < count {
            return Err(Stop::Short);
        }
        self.at += count;
        Ok(())
    }
}

/// A length; `None`: there is nothing (`-1`).
fn length(text: &[u8]) -> Result<Option<usize>, BadReply> {
    if text == b"-1" {
        return Ok(None);
    }
    if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
        return Err(BadReply);
    }
    let length = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(BadReply)
}

/// Reads a value that was scanned: it is all there.
fn read(input: &mut Bytes) -> Option<Value> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = input.split_to(end - 1);
    input.advance(2);
    let (first, rest) = line.split_first()?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    Some(match first {
        b'+' | b',' | b'(' => Value::Bytes(line.slice(1..)),
        b'-' => Value::Error(text()),
        b':' => Value::Integer(std::str::from_utf8(rest).ok()?.parse().ok()?),
        b'#' => Value::Integer(i64::from(rest == b"t")),
        b'_' => Value::Null,
        b'$' | b'!' | b'=' => {
            let Some(length) = length(rest).ok()? else { return Some(Value::Null) };
            let bytes = input.split_to(length);
            input.advance(2);
            if *first == b'!' {
                Value::Error(String::from_utf8_lossy(&bytes).into_owned())
            } else {
                Value::Bytes(bytes)
            }
        }
        _ => {
            let Some(count) = length(rest).ok()? else { return Some(Value::Null) };
            let count = count * if matches!(first, b'%' | b'|') { 2 } else { 1 };
            let list = (0..count).map(|_| read(input)).collect::<Option<Vec<_>>>()?;
            if *first == b'>' { Value::Push(list) } else { Value::List(list) }
        }
    })
}
