//! Frames for connections that read them compressed: RFC 7692, every message by itself.
//!
//! Flow: a piece of whole frames → [`deflate_frames`] → as many frames, the long ones compressed.
//! Each piece of a tick is compressed once, however many members want it.
//!
//! No message refers to another (`no_context_takeover`): nothing is kept for a connection, where a
//! window each way would be 64 KiB.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress, Status};

use super::frame::{frame_bytes, header_bytes, put_header};

/// Shortest payload that is worth it, bytes: below it a frame fits one packet either way.
const PAYLOAD_BYTES_MIN: usize = 256;
/// First bit of an extension: this message is compressed. RFC 7692 §6.
const COMPRESSED: u8 = 0x40;
/// What ends every flush and is left out. RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Room for what does not get smaller, bytes.
const SLACK_BYTES: usize = 64;

thread_local! {
    /// Without a zlib header; a thread has one for all its connections (about 256 KiB).
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// The same messages in as many frames, each compressed if it is long and gets shorter by it.
pub(crate) fn deflate_frames(frames: &Bytes) -> Bytes {
    let mut rest = &frames[..];
    let mut is_worth_it = false;
    while !rest.is_empty() && !is_worth_it {
        let length = frame_bytes(rest);
        is_worth_it = length >= PAYLOAD_BYTES_MIN + header_bytes(rest);
        rest = &rest[length..];
    }
    if !is_worth_it {
        return frames.clone();
    }
    let mut out = BytesMut::with_capacity(frames.len() / 2);
    let mut rest = &frames[..];
    while !rest.is_empty() {
        let (frame, behind) = rest.split_at(frame_bytes(rest));
        put_frame(&mut out, frame);
        rest = behind;
    }
    out.freeze()
}

fn put_frame(out: &mut BytesMut, frame: &[u8]) {
    let payload = &frame[header_bytes(frame)..];
    let is_message = matches!(frame[0] & 0x0F, 1 | 2);
    let shorter = (is_message && payload.len() >= PAYLOAD_BYTES_MIN).then(|| deflate(payload));
    match shorter.flatten() {
        Some(shorter) => {
            put_header(out, frame[0] | COMPRESSED, shorter.len());
            out.extend_from_slice(&shorter);
        }
        None => out.extend_from_slice(frame),
    }
}

#[cfg(test)]
thread_local! {
    /// How often something was compressed.
    pub(crate) static DEFLATED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The payload compressed, if that is shorter.
fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    #[cfg(test)]
    DEFLATED.set(DEFLATED.get() + 1);
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(payload.len() + SLACK_BYTES);
        let done = compress.compress_vec(payload, &mut out, FlushCompress::Sync);
        let is_done = matches!(done, Ok(Status::Ok)) && compress.total_in() == payload.len() as u64;
        if !is_done || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        (out.len() < payload.len()).then_some(out)
    })
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use flate2::{Decompress, FlushDecompress};

    use super::{TAIL, deflate_frames};
    use crate::channels::Message;
    use crate::channels::frame::{Frame, frame_bytes, header_bytes};

    fn piece(messages: &[Message]) -> Bytes {
        let mut piece = BytesMut::new();
        messages.iter().for_each(|message| piece.extend_from_slice(Frame::new(message).bytes()));
        piece.freeze()
    }

    /// First byte and payload of each frame, compressed or not.
    fn read(mut frames: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut read = Vec::new();
        while !frames.is_empty() {
            let (frame, rest) = frames.split_at(frame_bytes(frames));
            let mut payload = frame[header_bytes(frame)..].to_vec();
            if frame[0] & 0x40 != 0 {
                payload.extend(TAIL);
                let mut plain = Vec::with_capacity(1 << 20);
                let mut decompress = Decompress::new(false);
                decompress.decompress_vec(&payload, &mut plain, FlushDecompress::Sync).unwrap();
                payload = plain;
            }
            read.push((frame[0] & 0xBF, payload));
            frames = rest;
        }
        read
    }

    #[test]
    fn a_piece_keeps_its_messages_and_their_number() {
        let noise: Vec<u8> = (0..3000).map(|_| rand::random()).collect();
        let messages = [
            Message::from("short"),
            Message::from("long ".repeat(500)),
            Message::from(noise.clone()),
            Message::from("x".repeat(200_000)),
            Message::from(""),
        ];
        let plain = piece(&messages);
        let made = deflate_frames(&plain);
        assert!(made.len() < 10_000, "{} bytes", made.len());
        let expected: Vec<(u8, Vec<u8>)> = messages
            .iter()
            .map(|message| (0x81 + u8::from(message.text().is_none()), message.as_bytes().to_vec()))
            .collect();
        assert_eq!(read(&made), expected);
    }

    #[test]
    fn what_is_short_is_not_even_copied() {
        let plain = piece(&[Message::from("a"), Message::from("b".repeat(255))]);
        assert_eq!(deflate_frames(&plain).as_ptr(), plain.as_ptr());
    }
}
