//! What Redis answers, as what a worker is told. `None`: it is not of the form that was asked for.

use std::time::Duration;

use bytes::{Buf, Bytes};

use super::resp::Value;
use crate::channels::calls::ChannelTell;
use crate::channels::frame::Frame;
use crate::channels::groups::{Counted, GroupTell};
use crate::channels::position::Lineage;
use crate::channels::protocol::{Entry, Key, Tell};
use crate::channels::values::calls::Outcome;
use crate::channels::{ChannelStatistics, GroupName, GroupStatistics, Position, wire};

/// Digits of a letter's number.
const NUMBER_BYTES: usize = 16;
/// Bytes of earlier messages a newcomer is shown.
const HISTORY_SHOWN_BYTES_MAX: usize = 256 * 1024;

/// What a script tells of a group's past.
pub(super) struct Past {
    pub(super) top: Position,
    pub(super) lineage: Lineage,
    pub(super) is_whole: bool,
    pub(super) entries: Vec<Entry>,
    pub(super) has_more: bool,
}

impl Past {
    pub(super) fn read(value: Value) -> Option<Self> {
        let mut parts = value.list()?.into_iter();
        let top = position_of(&mut parts)?;
        let lineage = lineage_of(&parts.next()?.bytes()?)?;
        let is_whole = parts.next()?.integer()? == 1;
        let messages = parts.next()?.list()?;
        let has_more = parts.next()?.integer()? == 1;
        let entry = |pair: &[Value]| {
            let [Value::Bytes(position), Value::Bytes(message)] = pair else { return None };
            let offset = parse_position(position)?.offset;
            wire::entry_from(offset, Bytes::copy_from_slice(message))
        };
        let entries: Option<Vec<Entry>> = messages.chunks_exact(2).map(entry).collect();
        Some(match entries {
            Some(entries) => Self { top, lineage, is_whole, entries, has_more },
            // What cannot be read, of another version perhaps, is as good as lost.
            None => Self { top, lineage, is_whole: false, entries: Vec::new(), has_more: false },
        })
    }
}

/// The ends of earlier epochs, `epoch-offset`, with spaces.
pub(super) fn lineage_of(text: &[u8]) -> Option<Lineage> {
    let ends = std::str::from_utf8(text).ok()?.split_whitespace();
    Lineage::new(ends.map(|end| parse_position(end.as_bytes())).collect::<Option<_>>()?)
}

/// What comes over the worker's own channel: `R`, request, channel and a letter; `A`, request and
/// an answer; `D` and the request that is done.
pub(super) fn own(mut payload: Bytes) -> Option<Tell> {
    let kind = word(&mut payload)?;
    let request = number(&word(&mut payload)?)?;
    match &kind[..] {
        b"R" => {
            let channel = word(&mut payload)?;
            let channel = GroupName::new(std::str::from_utf8(&channel).ok()?).ok()?;
            received(request, channel, payload)
        }
        b"A" => answered(request, &payload),
        b"D" => Some(Tell::Done { request }),
        _ => None,
    }
}

/// A letter: its number, who waits for an answer, or nothing, `;` and the message.
pub(super) fn received(request: u64, channel: GroupName, mut letter: Bytes) -> Option<Tell> {
    if letter.len() < NUMBER_BYTES {
        return None;
    }
    let number = number(&letter.split_to(NUMBER_BYTES))?;
    let asker = until(&mut letter, b';')?;
    let frame = Frame::parse(Bytes::copy_from_slice(&letter))?;
    if asker.is_empty() {
        return Some(Tell::Received { request, channel, number, frame });
    }
    let (session, asked) = std::str::from_utf8(&asker).ok()?.split_once(':')?;
    let session = u64::from_str_radix(session, 16).ok()?;
    let asker = Key { session, request: asked.parse().ok()? };
    Some(Tell::Channel(ChannelTell::Taken { request, channel, number, frame, asker }))
}

/// `1` and a message, or `0`: there is none.
pub(super) fn answered(request: u64, told: &[u8]) -> Option<Tell> {
    let frame = match told.split_first()? {
        (b'1', message) => Some(Frame::parse(Bytes::copy_from_slice(message))?),
        _ => None,
    };
    Some(Tell::Channel(ChannelTell::Answered { request, frame }))
}

pub(super) fn inspected(request: u64, value: Value) -> Option<Tell> {
    let numbers = value.list()?;
    let at = |place: usize| numbers.get(place).map(|number| number.integer().unwrap_or(0));
    let oldest = match numbers.get(4)? {
        Value::Integer(milliseconds) => u64::try_from(*milliseconds).ok(),
        _ => return None,
    };
    let numbers = ChannelStatistics {
        channels: at(0)?,
        pending: at(1)?,
        delayed: at(2)?,
        readers: at(3)?,
        oldest: oldest.map(Duration::from_millis),
        messages: at(5)?,
        delivered: at(6)?,
        expired: at(7)?,
        refused: at(8)?,
    };
    Some(Tell::Channel(ChannelTell::Inspected { request, numbers }))
}

/// `M`, the request and the names of one worker's connections.
pub(super) fn counted(mut payload: Bytes) -> Option<(u64, Vec<GroupName>)> {
    word(&mut payload)?;
    let request = number(&word(&mut payload)?)?;
    let names = std::str::from_utf8(&payload).ok()?.split_whitespace();
    Some((request, names.map(|name| GroupName::new(name).ok()).collect::<Option<_>>()?))
}

pub(super) fn present(request: u64, value: Value) -> Option<Tell> {
    let mut people = Vec::new();
    let mut parts = value.list()?.into_iter();
    while let Some(key) = parts.next() {
        let key = std::str::from_utf8(&key.bytes()?).ok()?.into();
        let joined = frame_of(parts.next()?)?;
        let connections = u32::try_from(parts.next()?.integer()?).ok()?;
        people.push(Counted { key, joined, connections });
    }
    people.sort_by(|one, other| one.key.cmp(&other.key));
    Some(Tell::Group(GroupTell::Present { request, people }))
}

pub(super) fn surveyed(request: u64, value: Value) -> Option<Tell> {
    let numbers = value.list()?;
    let at = |place: usize| numbers.get(place)?.integer();
    let oldest = match numbers.get(7)? {
        Value::Integer(milliseconds) => u64::try_from(*milliseconds).ok(),
        _ => return None,
    };
    let numbers = GroupStatistics {
        groups: at(0)?,
        workers: at(1)?,
        present: at(2)?,
        messages: at(3)?,
        kept: at(4)?,
        kept_bytes: at(5)?,
        gaps: at(6)?,
        oldest: oldest.map(Duration::from_millis),
    };
    Some(Tell::Group(GroupTell::Inspected { request, numbers }))
}

pub(super) fn outcome(value: Value) -> Option<Outcome> {
    let words = match value {
        Value::List(found) => {
            let [version, Value::Integer(left), Value::Bytes(bytes)] = &found[..] else {
                return None;
            };
            return Some(Outcome::Found {
                bytes: Bytes::copy_from_slice(bytes),
                version: version.integer()?,
                left: u64::try_from(*left).ok().map(Duration::from_millis),
            });
        }
        words => words.bytes()?,
    };
    let mut words = std::str::from_utf8(&words).ok()?.split(' ');
    Some(match (words.next()?, words.next(), words.next()) {
        ("no", ..) => Outcome::No,
        ("done", Some(version), _) => Outcome::Done { version: version.parse().ok()? },
        ("locked", Some(token), _) => Outcome::Locked { token: token.parse().ok()? },
        ("counted", Some(value), Some(left)) => Outcome::Counted {
            value: value.parse().ok()?,
            left: Duration::from_millis(left.parse().ok()?),
        },
        _ => return None,
    })
}

pub(super) fn entered(request: u64, value: Value) -> Option<Tell> {
    let mut parts = value.list()?.into_iter();
    let position = parse_position(&parts.next()?.bytes()?)?;
    let first = parts.next()?.integer()? == 1;
    let mut present = Vec::new();
    let mut roster = parts.next()?.list()?.into_iter();
    while let Some(key) = roster.next() {
        let (key, joined) = (key.bytes()?, roster.next()?);
        // What cannot be read is left out, as in a history.
        present.extend(frame_of(joined).map(|joined| (key, joined)));
    }
    present.sort_by(|(one, _), (other, _)| one.cmp(other));
    let roster = present.into_iter().map(|(_, frame)| frame).collect();
    let latest = parts.next()?.list()?.into_iter().filter_map(frame_of);
    let mut history = within(latest, HISTORY_SHOWN_BYTES_MAX);
    history.reverse();
    Some(Tell::Entered { request, position, first, roster, history })
}

/// The first of `frames` that fit.
fn within(frames: impl Iterator<Item = Frame>, mut room: usize) -> Vec<Frame> {
    let fits = |frame: &Frame| {
        let rest = room.checked_sub(frame.len());
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    frames.take_while(fits).collect()
}

fn frame_of(value: Value) -> Option<Frame> {
    wire::entry_from(0, Bytes::copy_from_slice(&value.bytes()?)).map(|entry| entry.frame)
}

/// Epoch and offset as the next two values.
pub(super) fn position_of(parts: &mut impl Iterator<Item = Value>) -> Option<Position> {
    Some(Position { epoch: parts.next()?.integer()?, offset: parts.next()?.integer()? })
}

pub(super) fn parse_position(text: &[u8]) -> Option<Position> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Takes what stands before the next space, and the space.
pub(super) fn word(payload: &mut Bytes) -> Option<Bytes> {
    until(payload, b' ')
}

fn until(payload: &mut Bytes, mark: u8) -> Option<Bytes> {
    let end = payload.iter().position(|byte| *byte == mark)?;
    let before = payload.split_to(end);
    payload.advance(1);
    Some(before)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
