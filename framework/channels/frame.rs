//! A message as it goes to a browser: one unmasked WebSocket frame, encoded once by its sender.

use bytes::{BufMut, Bytes, BytesMut};

use super::Message;

/// First byte of a whole text message. RFC 6455 §5.2: FIN and opcode 1.
const TEXT: u8 = 0x81;
/// First byte of a whole binary message: FIN and opcode 2.
const BINARY: u8 = 0x82;
/// Longest header of an unmasked frame, bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 10;

/// An encoded frame. A cheap clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    bytes: Bytes,
    header: u8,
}

impl Frame {
    pub(crate) fn new(message: &Message) -> Self {
        let first = if matches!(message, Message::Text(_)) { TEXT } else { BINARY };
        let payload = message.as_bytes();
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES_MAX + payload.len());
        put_header(&mut bytes, first, payload.len());
        let header = u8::try_from(bytes.len()).expect("a header has at most 10 bytes");
        bytes.put_slice(payload);
        Self { bytes: bytes.freeze(), header }
    }

    /// The frame in `bytes`, if they are exactly one.
    pub(crate) fn parse(bytes: Bytes) -> Option<Self> {
        let first = *bytes.first()?;
        let (header, length) = lengths(&bytes)?;
        let whole = u64::from(header) + length == bytes.len() as u64;
        (whole && (first == TEXT || first == BINARY)).then_some(Self { bytes, header })
    }

    /// Header and payload.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the header stands before.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header)..]
    }

    pub(crate) fn is_text(&self) -> bool {
        self.bytes[0] == TEXT
    }

    /// The message back. Text was UTF-8 when it was encoded; anything else reads with `U+FFFD`.
    pub(crate) fn message(&self) -> Message {
        let payload = self.bytes.slice(usize::from(self.header)..);
        if self.bytes[0] == TEXT {
            Message::Text(String::from_utf8_lossy(&payload).into_owned())
        } else {
            Message::Binary(payload)
        }
    }
}

/// Calls `hear` with each text among `frames`, which are whole and unmasked.
pub(crate) fn frame_texts(frames: &Bytes, mut hear: impl FnMut(&str)) {
    let mut rest = frames.clone();
    while !rest.is_empty() {
        let frame = rest.split_to(frame_bytes(&rest));
        if let Some(frame) = Frame::parse(frame)
            && let Ok(text) = std::str::from_utf8(frame.payload())
        {
            hear(text);
        }
    }
}

/// Bytes of the first of `frames`, which are whole and unmasked.
pub(crate) fn frame_bytes(frames: &[u8]) -> usize {
    let (header, length) = lengths(frames).expect("whole frames");
    usize::from(header) + usize::try_from(length).expect("it is in memory")
}

/// Bytes of the header of the first of `frames`.
pub(super) fn header_bytes(frames: &[u8]) -> usize {
    usize::from(lengths(frames).expect("whole frames").0)
}

/// Bytes of an unmasked frame's header and of its payload.
fn lengths(bytes: &[u8]) -> Option<(u8, u64)> {
    Some(match *bytes.get(1)? {
        short @ 0..=125 => (2, u64::from(short)),
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        _ => return None,
    })
}

/// Writes the header of a text of this length.
pub(super) fn put_text_header(out: &mut BytesMut, length: usize) {
    put_header(out, TEXT, length);
}

/// Writes an unmasked header with the shortest form of the length.
pub(super) fn put_header(out: &mut BytesMut, first: u8, length: usize) {
    out.put_u8(first);
    match length {
        0..=125 => out.put_u8(length as u8),
        126..=0xFFFF => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}
