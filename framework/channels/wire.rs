//! Frames between a worker and the store's process: a length, a tag, and the fields in order.
//!
//! Little-endian; `u32` length of what follows, `u8` tag; a name is `u8` length and bytes, a
//! message `u32` length and bytes.
//!
//! Invariants:
//! - Every length is checked before anything is set aside for it.
//! - What cannot be read ends the link; nothing is guessed.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::calls::{ChannelAsk, ChannelTell};
use super::frame::Frame;
use super::groups::{GroupAsk, GroupTell};
use super::position::Lineage;
use super::protocol::{Ask, Entry, Key, Named, Person, Tell};
use super::values::calls::{Outcome, ValueAsk};
use super::{GroupName, Position};

/// Longest frame, bytes: a message of 16 MiB, or a roster of 8 MiB, with its fields.
const FRAME_BYTES_MAX: usize = 20 * 1024 * 1024;
/// What an entry's byte of flags says.
const IS_PRESENCE: u8 = 1;
const IS_OF: u8 = 2;
/// Length and tag.
const LENGTH_BYTES: usize = 4;

/// Why a frame cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadFrame;

/// The length of the next frame with its prefix, once that is there.
fn next_frame(input: &mut BytesMut) -> Result<Option<Bytes>, BadFrame> {
    let Some(prefix) = input.get(..LENGTH_BYTES) else { return Ok(None) };
    let length = u32::from_le_bytes(prefix.try_into().expect("four bytes")) as usize;
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(BadFrame);
    }
    if input.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    input.advance(LENGTH_BYTES);
    Ok(Some(input.split_to(length).freeze()))
}

/// Takes the next whole [`Ask`] out of `input`.
pub(super) fn next_ask(input: &mut BytesMut) -> Result<Option<Ask>, BadFrame> {
    next_frame(input)?.map(|frame| read_whole(frame, read_ask)).transpose()
}

/// Takes the next whole [`Tell`] out of `input`.
pub(super) fn next_tell(input: &mut BytesMut) -> Result<Option<Tell>, BadFrame> {
    next_frame(input)?.map(|frame| read_whole(frame, read_tell)).transpose()
}

fn read_whole<T>(frame: Bytes, read: fn(&mut Reader) -> Option<T>) -> Result<T, BadFrame> {
    let mut reader = Reader(frame);
    let value = read(&mut reader).ok_or(BadFrame)?;
    if reader.0.is_empty() { Ok(value) } else { Err(BadFrame) }
}

/// Appends `ask` to `out`.
pub(super) fn encode_ask(ask: &Ask, out: &mut BytesMut) {
    framed(out, |out| match ask {
        Ask::Hello { version, resumed, latest } => {
            out.put_u8(1);
            out.put_u32_le(*version);
            out.put_u8(u8::from(*resumed));
            out.put_u64_le(*latest);
        }
        Ask::Announce { .. }
        | Ask::AnnounceEntry { .. }
        | Ask::AnnounceNames { .. }
        | Ask::AnnouncePerson { .. } => encode_announcement(ask, out),
        Ask::Announced => out.put_u8(14),
        Ask::Subscribe { request, group } => put_numbered(out, 5, *request, group),
        Ask::Unsubscribe { group } => {
            out.put_u8(6);
            put_name(out, group);
        }
        Ask::Publish { key, retry, group, frame } => {
            put_message(out, (7, *key, *retry), group, frame)
        }
        Ask::Enter { request, group, connection, person } => {
            put_numbered(out, 8, *request, group);
            out.put_u64_le(*connection);
            put_person(out, person);
        }
        Ask::Leave { request, group, connection } => {
            put_numbered(out, 9, *request, group);
            out.put_u64_le(*connection);
        }
        Ask::Send { key, retry, channel, frame } => {
            put_message(out, (10, *key, *retry), channel, frame)
        }
        Ask::Receive { request, channel } => put_numbered(out, 11, *request, channel),
        Ask::Cancel { request, channel } => put_numbered(out, 12, *request, channel),
        Ask::Return { channel, number, frame } => {
            out.put_u8(13);
            put_name(out, channel);
            out.put_u64_le(*number);
            put_frame(out, frame);
        }
        Ask::PublishLatest { key, retry, group, of, frame } => {
            put_message(out, (28, *key, *retry), group, frame);
            out.put_u64_le(*of);
        }
        Ask::Group(ask) => {
            out.put_u8(30);
            ask.encode(out);
        }
        Ask::Value(ask) => {
            out.put_u8(24);
            ask.encode(out);
        }
        Ask::PublishOnce { request, key, group, frame } => {
            put_numbered(out, 21, *request, group);
            put_key(out, *key);
            put_frame(out, frame);
        }
        Ask::History { request, group, since, limit } => {
            put_numbered(out, 20, *request, group);
            put_since(out, *since);
            out.put_u32_le(*limit);
        }
        Ask::Channel(ask) => ask.encode(out),
    });
}

/// What a worker holds, said over a new link.
fn encode_announcement(ask: &Ask, out: &mut BytesMut) {
    match ask {
        Ask::Announce { group, position, lineage } => {
            out.put_u8(2);
            put_name(out, group);
            put_position(out, *position);
            put_lineage(out, lineage);
        }
        Ask::AnnounceEntry { group, epoch, entry } => {
            out.put_u8(3);
            put_name(out, group);
            out.put_u64_le(*epoch);
            put_entry(out, entry);
        }
        Ask::AnnounceNames { group, epoch, names } => put_names(out, (15, group), *epoch, names),
        Ask::AnnouncePerson { group, connection, person } => {
            put_numbered(out, 4, *connection, group);
            put_person(out, person);
        }
        _ => {}
    }
}

/// Appends `tell` to `out`.
pub(super) fn encode_tell(tell: &Tell, out: &mut BytesMut) {
    framed(out, |out| match tell {
        Tell::Subscribed { request, group, position, lineage } => {
            put_numbered(out, 1, *request, group);
            put_position(out, *position);
            put_lineage(out, lineage);
        }
        Tell::Names { group, epoch, names } => put_names(out, (10, group), *epoch, names),
        Tell::Published { request, position } => {
            out.put_u8(2);
            out.put_u64_le(*request);
            put_position(out, *position);
        }
        Tell::Entered { request, position, first, roster, history } => {
            out.put_u8(3);
            out.put_u64_le(*request);
            put_position(out, *position);
            out.put_u8(u8::from(*first));
            put_frames(out, roster);
            put_frames(out, history);
        }
        Tell::Done { request } => {
            out.put_u8(4);
            out.put_u64_le(*request);
        }
        Tell::Full { request } => {
            out.put_u8(5);
            out.put_u64_le(*request);
        }
        Tell::Received { request, channel, number, frame } => {
            put_numbered(out, 6, *request, channel);
            out.put_u64_le(*number);
            put_frame(out, frame);
        }
        Tell::Deliver { group, epoch, entry } => {
            out.put_u8(7);
            put_name(out, group);
            out.put_u64_le(*epoch);
            put_entry(out, entry);
        }
        Tell::Gap { group, position } => {
            out.put_u8(8);
            put_name(out, group);
            put_position(out, *position);
        }
        Tell::Renew { group, position, lineage } => {
            out.put_u8(9);
            put_name(out, group);
            put_position(out, *position);
            put_lineage(out, lineage);
        }
        Tell::Group(tell) => {
            out.put_u8(30);
            tell.encode(out);
        }
        Tell::Valued { request, outcome } => {
            out.put_u8(24);
            out.put_u64_le(*request);
            outcome.encode(out);
        }
        Tell::History { request, top, recovered, entries } => {
            out.put_u8(20);
            out.put_u64_le(*request);
            put_position(out, *top);
            out.put_u8(u8::from(*recovered));
            out.put_u32_le(u32::try_from(entries.len()).expect("bounded by their bytes"));
            entries.iter().for_each(|entry| put_entry(out, entry));
        }
        Tell::Channel(tell) => tell.encode(out),
    });
}

fn read_ask(r: &mut Reader) -> Option<Ask> {
    Some(match r.u8()? {
        1 => Ask::Hello { version: r.u32()?, resumed: r.bool()?, latest: r.u64()? },
        2 => {
            let (group, position) = (r.name()?, r.position()?);
            Ask::Announce { group, position, lineage: r.lineage()? }
        }
        3 => Ask::AnnounceEntry { group: r.name()?, epoch: r.u64()?, entry: r.entry()? },
        4 => {
            let (connection, group) = r.numbered()?;
            Ask::AnnouncePerson { group, connection, person: r.person()? }
        }
        5 => {
            let (request, group) = r.numbered()?;
            Ask::Subscribe { request, group }
        }
        6 => Ask::Unsubscribe { group: r.name()? },
        7 => {
            let (key, retry, group, frame) = r.message()?;
            Ask::Publish { key, retry, group, frame }
        }
        8 => {
            let (request, group) = r.numbered()?;
            Ask::Enter { request, group, connection: r.u64()?, person: r.person()? }
        }
        9 => {
            let (request, group) = r.numbered()?;
            Ask::Leave { request, group, connection: r.u64()? }
        }
        10 => {
            let (key, retry, channel, frame) = r.message()?;
            Ask::Send { key, retry, channel, frame }
        }
        11 => {
            let (request, channel) = r.numbered()?;
            Ask::Receive { request, channel }
        }
        12 => {
            let (request, channel) = r.numbered()?;
            Ask::Cancel { request, channel }
        }
        13 => Ask::Return { channel: r.name()?, number: r.u64()?, frame: r.frame()? },
        tag => return read_later_ask(tag, r),
    })
}

/// What came to the protocol later, by the tag that was read.
fn read_later_ask(tag: u8, r: &mut Reader) -> Option<Ask> {
    Some(match tag {
        14 => Ask::Announced,
        28 => {
            let (key, retry, group, frame) = r.message()?;
            Ask::PublishLatest { key, retry, group, frame, of: r.u64()? }
        }
        30 => Ask::Group(GroupAsk::read(r)?),
        24 => Ask::Value(ValueAsk::read(r)?),
        21 => {
            let (request, group) = r.numbered()?;
            Ask::PublishOnce { request, group, key: r.key()?, frame: r.frame()? }
        }
        20 => {
            let (request, group) = r.numbered()?;
            let (is_since, position) = (r.bool()?, r.position()?);
            let since = is_since.then_some(position);
            Ask::History { request, group, since, limit: r.u32()? }
        }
        15 => Ask::AnnounceNames { group: r.name()?, epoch: r.u64()?, names: r.names()? },
        tag => Ask::Channel(ChannelAsk::read(tag, r)?),
    })
}

fn read_tell(r: &mut Reader) -> Option<Tell> {
    Some(match r.u8()? {
        1 => {
            let (request, group) = r.numbered()?;
            Tell::Subscribed { request, group, position: r.position()?, lineage: r.lineage()? }
        }
        2 => Tell::Published { request: r.u64()?, position: r.position()? },
        3 => Tell::Entered {
            request: r.u64()?,
            position: r.position()?,
            first: r.bool()?,
            roster: r.frames()?,
            history: r.frames()?,
        },
        4 => Tell::Done { request: r.u64()? },
        5 => Tell::Full { request: r.u64()? },
        6 => {
            let (request, channel) = r.numbered()?;
            Tell::Received { request, channel, number: r.u64()?, frame: r.frame()? }
        }
        7 => Tell::Deliver { group: r.name()?, epoch: r.u64()?, entry: r.entry()? },
        8 => Tell::Gap { group: r.name()?, position: r.position()? },
        9 => {
            let (group, position) = (r.name()?, r.position()?);
            Tell::Renew { group, position, lineage: r.lineage()? }
        }
        10 => Tell::Names { group: r.name()?, epoch: r.u64()?, names: r.names()? },
        30 => Tell::Group(GroupTell::read(r)?),
        24 => Tell::Valued { request: r.u64()?, outcome: Outcome::read(r)? },
        20 => Tell::History {
            request: r.u64()?,
            top: r.position()?,
            recovered: r.bool()?,
            entries: r.entries()?,
        },
        tag => Tell::Channel(ChannelTell::read(tag, r)?),
    })
}

/// Puts what `write` appends behind its length.
fn framed(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32_le(0);
    write(out);
    let length = out.len() - start - LENGTH_BYTES;
    let length = u32::try_from(length).expect("messages are far below 4 GiB");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

fn put_numbered(out: &mut BytesMut, tag: u8, number: u64, name: &GroupName) {
    out.put_u8(tag);
    out.put_u64_le(number);
    put_name(out, name);
}

pub(super) fn put_message(
    out: &mut BytesMut,
    (tag, key, retry): (u8, Key, bool),
    name: &GroupName,
    frame: &Frame,
) {
    out.put_u8(tag);
    put_key(out, key);
    out.put_u8(u8::from(retry));
    put_name(out, name);
    put_frame(out, frame);
}

pub(super) fn put_name(out: &mut BytesMut, name: &GroupName) {
    put_short(out, name.as_str());
}

pub(super) fn put_short(out: &mut BytesMut, text: &str) {
    out.put_u8(u8::try_from(text.len()).expect("names and keys are checked when made"));
    out.put_slice(text.as_bytes());
}

pub(super) fn put_frame(out: &mut BytesMut, frame: &Frame) {
    out.put_u32_le(u32::try_from(frame.len()).expect("messages are far below 4 GiB"));
    out.put_slice(frame.bytes());
}

fn put_frames(out: &mut BytesMut, frames: &[Frame]) {
    out.put_u32_le(u32::try_from(frames.len()).expect("bounded by their bytes"));
    frames.iter().for_each(|frame| put_frame(out, frame));
}

pub(super) fn put_key(out: &mut BytesMut, key: Key) {
    out.put_u64_le(key.session);
    out.put_u64_le(key.request);
}

pub(super) fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64_le(position.epoch);
    out.put_u64_le(position.offset);
}

fn put_lineage(out: &mut BytesMut, lineage: &Lineage) {
    out.put_u8(u8::try_from(lineage.ends().len()).expect("a few"));
    lineage.ends().iter().for_each(|end| put_position(out, *end));
}

fn put_since(out: &mut BytesMut, since: Option<Position>) {
    out.put_u8(u8::from(since.is_some()));
    put_position(out, since.unwrap_or_default());
}

fn put_names(out: &mut BytesMut, (tag, group): (u8, &GroupName), epoch: u64, names: &[Named]) {
    out.put_u8(tag);
    put_name(out, group);
    out.put_u64_le(epoch);
    out.put_u32_le(u32::try_from(names.len()).expect("a thousand at most"));
    for name in names {
        out.put_u64_le(name.offset);
        put_key(out, name.key);
    }
}

fn put_entry(out: &mut BytesMut, entry: &Entry) {
    out.put_u64_le(entry.offset);
    put_key(out, entry.key);
    // Most are of nothing.
    out.put_u8(u8::from(entry.is_presence) | if entry.of == 0 { 0 } else { IS_OF });
    if entry.of != 0 {
        out.put_u64_le(entry.of);
    }
    put_frame(out, &entry.frame);
}

/// An entry for a store that numbers it itself.
#[cfg(feature = "redis")]
pub(super) fn entry_bytes(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + entry.frame.len());
    put_entry(&mut out, entry);
    out.freeze()
}

/// The entry in `bytes`, with the number it was given.
#[cfg(feature = "redis")]
pub(super) fn entry_from(offset: u64, bytes: Bytes) -> Option<Entry> {
    let mut reader = Reader(bytes);
    let entry = reader.entry()?;
    reader.0.is_empty().then_some(Entry { offset, ..entry })
}

fn put_person(out: &mut BytesMut, person: &Person) {
    put_short(out, &person.key);
    out.put_u32_le(u32::try_from(person.grace.as_millis()).unwrap_or(u32::MAX));
    put_position(out, person.since);
    put_frame(out, &person.joined);
    put_frame(out, &person.left);
}

/// What is left of a frame. `None`: it ends too early or breaks a rule.
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Option<Bytes> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    pub(super) fn name(&mut self) -> Option<GroupName> {
        GroupName::read(std::str::from_utf8(&self.short()?).ok()?)
    }

    pub(super) fn frame(&mut self) -> Option<Frame> {
        let length = self.u32()? as usize;
        // A copy: a slice would keep the whole read buffer for as long as the group's history.
        Frame::parse(Bytes::copy_from_slice(&self.take(length)?))
    }

    fn frames(&mut self) -> Option<Vec<Frame>> {
        let count = self.u32()?;
        (0..count).map(|_| self.frame()).collect()
    }

    /// A short text.
    pub(super) fn text(&mut self) -> Option<Box<str>> {
        Some(std::str::from_utf8(&self.short()?).ok()?.into())
    }

    pub(super) fn key(&mut self) -> Option<Key> {
        Some(Key { session: self.u64()?, request: self.u64()? })
    }

    pub(super) fn position(&mut self) -> Option<Position> {
        Some(Position { epoch: self.u64()?, offset: self.u64()? })
    }

    fn lineage(&mut self) -> Option<Lineage> {
        let count = self.u8()?;
        Lineage::new((0..count).map(|_| self.position()).collect::<Option<_>>()?)
    }

    fn entries(&mut self) -> Option<Vec<Entry>> {
        let count = self.u32()?;
        (0..count).map(|_| self.entry()).collect()
    }

    fn names(&mut self) -> Option<Vec<Named>> {
        let count = self.u32()?;
        (0..count).map(|_| Some(Named { offset: self.u64()?, key: self.key()? })).collect()
    }

    fn entry(&mut self) -> Option<Entry> {
        let (offset, key, flags) = (self.u64()?, self.key()?, self.u8()?);
        if flags & !(IS_PRESENCE | IS_OF) != 0 {
            return None;
        }
        let of = if flags & IS_OF == 0 { 0 } else { self.u64()? };
        let is_presence = flags & IS_PRESENCE != 0;
        Some(Entry { offset, key, of, is_presence, frame: self.frame()? })
    }

    fn person(&mut self) -> Option<Person> {
        let key = self.text()?;
        let grace = Duration::from_millis(u64::from(self.u32()?));
        let since = self.position()?;
        Some(Person { key, grace, since, joined: self.frame()?, left: self.frame()? })
    }

    fn numbered(&mut self) -> Option<(u64, GroupName)> {
        Some((self.u64()?, self.name()?))
    }

    pub(super) fn message(&mut self) -> Option<(Key, bool, GroupName, Frame)> {
        Some((self.key()?, self.bool()?, self.name()?, self.frame()?))
    }
}
