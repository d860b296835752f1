//! What a client says: RFC 6455's frames, read strictly and as they come.
//!
//! A fault is found with the byte that makes it one: nobody waits for the rest of a frame that is
//! refused, and of text only what is valid so far is kept.
//!
//! Invariants:
//! - Pure: bytes in, at most one thing out; what is behind it stays with the caller.
//! - Holds no more than one message and one control frame, and of them only what has come.

use serde::{Deserialize, Serialize};

use super::deflate::inflate;
use crate::channels::blob;

/// Longest payload of a control frame, bytes. RFC 6455 §5.5.
const CONTROL_BYTES_MAX: usize = 125;
/// Longest header, bytes: two, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// First bit of an extension: the message is compressed. RFC 7692 §6.
const COMPRESSED: u8 = 0x40;

/// Something complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// Its payload, which is valid.
    Close(Vec<u8>),
}

/// Why a connection fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Protocol,
    Utf8,
    TooLarge,
    /// What claims to be compressed is not.
    Deflate,
}

/// Reads one client's frames.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Parser {
    head: [u8; HEAD_BYTES_MAX],
    /// Bytes of `head` that are there.
    head_bytes: u8,
    /// The frame whose payload is coming.
    frame: Option<Frame>,
    #[serde(with = "blob")]
    control: Vec<u8>,
    /// What has come of the message under way.
    #[serde(with = "blob")]
    message: Vec<u8>,
    /// [`TEXT`] or [`BINARY`] while a message is under way, else 0.
    kind: u8,
    /// It is compressed.
    is_deflated: bool,
    /// Bytes of a text that are known to be UTF-8.
    checked: usize,
}

/// What a connection allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Largest message, bytes.
    pub(super) message_max: usize,
    /// Compressed messages.
    pub(super) deflated: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Frame {
    opcode: u8,
    is_final: bool,
    left: u64,
    /// Turned to the next byte of the payload.
    mask: [u8; 4],
}

impl Parser {
    /// Reads `input` up to the next complete thing and takes it away there. `None`: all was read.
    pub(super) fn next(
        &mut self,
        input: &mut &[u8],
        allowed: Allowed,
    ) -> Option<Result<Heard, Fault>> {
        loop {
            if self.frame.is_none() {
                match self.read_head(input, allowed) {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(fault) => return Some(Err(fault)),
                }
            }
            match self.read_payload(input, allowed.message_max) {
                Ok(None) if self.frame.is_some() => return None,
                Ok(None) => {}
                Ok(Some(heard)) => return Some(Ok(heard)),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.head_bytes == 0 && self.frame.is_none() && self.kind == 0
    }

    /// Whether it is one that reading has made: of another process's nothing else is known.
    pub(super) fn is_sound(&self) -> bool {
        let there = usize::from(self.head_bytes);
        there < HEAD_BYTES_MAX
            && there < head_bytes(&self.head[..there])
            && self.checked <= self.message.len()
            && matches!(self.kind, CONTINUATION | TEXT | BINARY)
    }

    /// What is kept of what came, bytes.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Reads a header; whether it is complete.
    fn read_head(&mut self, input: &mut &[u8], allowed: Allowed) -> Result<bool, Fault> {
        loop {
            let there = usize::from(self.head_bytes);
            let wanted = head_bytes(&self.head[..there]);
            if there == wanted {
                self.frame = Some(self.begin(allowed.message_max)?);
                self.head_bytes = 0;
                return Ok(true);
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(false) };
            *input = rest;
            self.head[there] = byte;
            self.head_bytes += 1;
            match there {
                0 => self.check_first(byte, allowed.deflated)?,
                1 => check_second(self.head[0], byte)?,
                _ => {}
            }
            // Only the mask is still to come.
            if there + 5 == head_bytes(&self.head[..=there]) {
                self.length(allowed.message_max)?;
            }
        }
    }

    /// Checks FIN, RSV and opcode against what is under way.
    fn check_first(&self, byte: u8, deflated: bool) -> Result<(), Fault> {
        let (is_final, mut reserved, opcode) = (byte & 0x80 != 0, byte & 0x70, byte & 0x0F);
        if deflated && matches!(opcode, TEXT | BINARY) {
            // RFC 7692 §6: of a message's first frame only.
            reserved &= !COMPRESSED;
        }
        let is_expected = match opcode {
            CONTINUATION => self.kind != 0,
            TEXT | BINARY => self.kind == 0,
            CLOSE | PING | PONG => is_final,
            _ => false,
        };
        if reserved == 0 && is_expected { Ok(()) } else { Err(Fault::Protocol) }
    }

    /// The payload's length, in its shortest form and within the limit.
    fn length(&self, message_max: usize) -> Result<u64, Fault> {
        let length = match self.head[1] & 0x7F {
            126 => {
                let length = u16::from_be_bytes([self.head[2], self.head[3]]);
                if length < 126 {
                    return Err(Fault::Protocol);
                }
                u64::from(length)
            }
            127 => {
                let bytes = self.head[2..10].try_into().expect("eight bytes");
                let length = u64::from_be_bytes(bytes);
                if length <= u64::from(u16::MAX) || length >> 63 != 0 {
                    return Err(Fault::Protocol);
                }
                length
            }
            short => u64::from(short),
        };
        let is_control = self.head[0] & 0x08 != 0;
        let room = message_max.saturating_sub(self.message.len());
        if !is_control && length > room as u64 {
            return Err(Fault::TooLarge);
        }
        Ok(length)
    }

    fn begin(&mut self, message_max: usize) -> Result<Frame, Fault> {
        let left = self.length(message_max)?;
        let end = usize::from(self.head_bytes);
        let mask = self.head[end - 4..end].try_into().expect("four bytes");
        let opcode = self.head[0] & 0x0F;
        if matches!(opcode, TEXT | BINARY) {
            self.kind = opcode;
            self.is_deflated = self.head[0] & COMPRESSED != 0;
        }
        Ok(Frame { opcode, is_final: self.head[0] & 0x80 != 0, left, mask })
    }

    /// Reads what there is of a payload; what it completes.
    fn read_payload(
        &mut self,
        input: &mut &[u8],
        message_max: usize,
    ) -> Result<Option<Heard>, Fault> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let count = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at(count);
        *input = rest;
        let is_control = frame.opcode & 0x08 != 0;
        let into = if is_control { &mut self.control } else { &mut self.message };
        let start = into.len();
        into.extend_from_slice(bytes);
        unmask(&mut into[start..], frame.mask);
        frame.mask.rotate_left(count % 4);
        frame.left -= count as u64;
        let frame = *frame;
        if frame.left > 0 {
            return if is_control { Ok(None) } else { self.check_text().map(|()| None) };
        }
        self.frame = None;
        if is_control {
            return complete_control(frame.opcode, std::mem::take(&mut self.control)).map(Some);
        }
        if !frame.is_final {
            return self.check_text().map(|()| None);
        }
        let mut message = std::mem::take(&mut self.message);
        self.checked = 0;
        if std::mem::take(&mut self.is_deflated) {
            message = inflate(message, message_max)?;
        }
        match std::mem::take(&mut self.kind) {
            TEXT => String::from_utf8(message)
                .map(|text| Some(Heard::Text(text)))
                .map_err(|_| Fault::Utf8),
            _ => Ok(Some(Heard::Binary(message))),
        }
    }

    /// Whether what has come of a text can still become UTF-8.
    fn check_text(&mut self) -> Result<(), Fault> {
        if self.kind != TEXT || self.is_deflated {
            return Ok(());
        }
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(valid) => self.checked += valid.len(),
            Err(error) if error.error_len().is_some() => return Err(Fault::Utf8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

/// How many bytes the header has that begins with `head`.
fn head_bytes(head: &[u8]) -> usize {
    match head.get(1).map(|byte| byte & 0x7F) {
        None => 2,
        Some(126) => 8,
        Some(127) => HEAD_BYTES_MAX,
        Some(_) => 6,
    }
}

/// Checks that it is masked, and a control frame short.
fn check_second(first: u8, second: u8) -> Result<(), Fault> {
    let is_masked = second & 0x80 != 0;
    let is_too_long = first & 0x08 != 0 && usize::from(second & 0x7F) > CONTROL_BYTES_MAX;
    if is_masked && !is_too_long { Ok(()) } else { Err(Fault::Protocol) }
}

fn complete_control(opcode: u8, payload: Vec<u8>) -> Result<Heard, Fault> {
    match opcode {
        PING => return Ok(Heard::Ping(payload)),
        PONG => return Ok(Heard::Pong),
        _ => {}
    }
    match payload.split_at_checked(2) {
        None if payload.is_empty() => Ok(Heard::Close(payload)),
        None => Err(Fault::Protocol),
        Some((code, _)) if !may_travel(u16::from_be_bytes([code[0], code[1]])) => {
            Err(Fault::Protocol)
        }
        Some((_, reason)) if std::str::from_utf8(reason).is_err() => Err(Fault::Utf8),
        Some(_) => Ok(Heard::Close(payload)),
    }
}

/// Whether a close frame may carry `code`: RFC 6455 §7.4, and 1012 to 1014, registered since.
pub(super) fn may_travel(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// XORs with the mask, eight bytes at a time.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut eights = bytes.chunks_exact_mut(8);
    for eight in &mut eights {
        let word = u64::from_ne_bytes((&*eight).try_into().expect("eight bytes")) ^ wide;
        eight.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, mask) in eights.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The close frame with this payload.
pub(super) fn close_frame(payload: &[u8]) -> Vec<u8> {
    control_frame(CLOSE, payload)
}

/// The answer to a ping.
pub(super) fn pong_frame(payload: &[u8]) -> Vec<u8> {
    control_frame(PONG, payload)
}

fn control_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= CONTROL_BYTES_MAX);
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.extend([0x80 | opcode, payload.len() as u8]);
    frame.extend(payload);
    frame
}
