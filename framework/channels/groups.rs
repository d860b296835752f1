//! What is asked about groups beyond sending and joining: who is there, numbers, whether a worker
//! has everything; and how it is written on a link.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::frame::Frame;
#[cfg(feature = "redis")]
use super::protocol::Subject;
use super::wire::{Reader, put_frame, put_name, put_position, put_short};
use super::{GroupName, GroupStatistics, Position};

/// From a worker. Tag 30 on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupAsk {
    /// Who is counted as present.
    Present { request: u64, group: GroupName },
    /// The connections of all workers that take part.
    Members { request: u64, group: GroupName },
    /// This worker's, for [`GroupTell::Count`].
    Counted { poll: u64, names: Vec<GroupName> },
    /// Numbers of a group; `None`: of all together.
    Inspect { request: u64, group: Option<GroupName> },
    /// Empties everything.
    Flush { request: u64 },
    /// This worker knows the group up to here, and has heard nothing of it for a while.
    Compare { group: GroupName, position: Position },
}

/// From the store. Tag 30 on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupTell {
    Present {
        request: u64,
        people: Vec<Counted>,
    },
    Members {
        request: u64,
        names: Vec<GroupName>,
    },
    /// Say which of your connections take part.
    Count {
        poll: u64,
        group: GroupName,
    },
    Inspected {
        request: u64,
        numbers: GroupStatistics,
    },
    /// No connection is in any group any more.
    Flushed,
}

/// Somebody who is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) key: Box<str>,
    pub(crate) joined: Frame,
    pub(crate) connections: u32,
}

impl GroupAsk {
    /// What it is about.
    #[cfg(feature = "redis")]
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            Self::Present { group, .. }
            | Self::Members { group, .. }
            | Self::Inspect { group: Some(group), .. }
            | Self::Compare { group, .. } => Subject::Name(group.as_str()),
            Self::Counted { .. } | Self::Inspect { group: None, .. } | Self::Flush { .. } => {
                Subject::All
            }
        }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Present { request, group } => put_asked(out, 0, *request, group),
            Self::Members { request, group } => put_asked(out, 1, *request, group),
            Self::Counted { poll, names } => {
                out.put_u8(2);
                out.put_u64_le(*poll);
                put_names(out, names);
            }
            Self::Inspect { request, group } => {
                out.put_u8(3);
                out.put_u64_le(*request);
                out.put_u8(u8::from(group.is_some()));
                if let Some(group) = group {
                    put_name(out, group);
                }
            }
            Self::Flush { request } => {
                out.put_u8(4);
                out.put_u64_le(*request);
            }
            Self::Compare { group, position } => {
                out.put_u8(5);
                put_name(out, group);
                put_position(out, *position);
            }
        }
    }

    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        Some(match r.u8()? {
            0 => Self::Present { request: r.u64()?, group: r.name()? },
            1 => Self::Members { request: r.u64()?, group: r.name()? },
            2 => Self::Counted { poll: r.u64()?, names: names(r)? },
            3 => {
                let request = r.u64()?;
                let group = if r.bool()? { Some(r.name()?) } else { None };
                Self::Inspect { request, group }
            }
            4 => Self::Flush { request: r.u64()? },
            5 => Self::Compare { group: r.name()?, position: r.position()? },
            _ => return None,
        })
    }
}

impl GroupTell {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Present { request, people } => {
                out.put_u8(0);
                out.put_u64_le(*request);
                out.put_u32_le(count(people.len()));
                for person in people {
                    put_short(out, &person.key);
                    put_frame(out, &person.joined);
                    out.put_u32_le(person.connections);
                }
            }
            Self::Members { request, names } => {
                out.put_u8(1);
                out.put_u64_le(*request);
                put_names(out, names);
            }
            Self::Count { poll, group } => put_asked(out, 2, *poll, group),
            Self::Inspected { request, numbers } => {
                out.put_u8(3);
                out.put_u64_le(*request);
                put_numbers(out, numbers);
            }
            Self::Flushed => out.put_u8(4),
        }
    }

    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        Some(match r.u8()? {
            0 => {
                let (request, count) = (r.u64()?, r.u32()?);
                let person = |r: &mut Reader| {
                    let (key, joined) = (r.text()?, r.frame()?);
                    Some(Counted { key, joined, connections: r.u32()? })
                };
                let people = (0..count).map(|_| person(r)).collect::<Option<_>>()?;
                Self::Present { request, people }
            }
            1 => Self::Members { request: r.u64()?, names: names(r)? },
            2 => Self::Count { poll: r.u64()?, group: r.name()? },
            3 => Self::Inspected { request: r.u64()?, numbers: numbers(r)? },
            4 => Self::Flushed,
            _ => return None,
        })
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("bounded by their bytes")
}

fn put_asked(out: &mut BytesMut, tag: u8, number: u64, group: &GroupName) {
    out.put_u8(tag);
    out.put_u64_le(number);
    put_name(out, group);
}

fn put_names(out: &mut BytesMut, names: &[GroupName]) {
    out.put_u32_le(count(names.len()));
    names.iter().for_each(|name| put_name(out, name));
}

fn names(r: &mut Reader) -> Option<Vec<GroupName>> {
    let count = r.u32()?;
    (0..count).map(|_| r.name()).collect()
}

fn put_numbers(out: &mut BytesMut, numbers: &GroupStatistics) {
    let GroupStatistics { groups, workers, present, messages, kept, kept_bytes, gaps, oldest } =
        numbers;
    for number in [groups, workers, present, messages, kept, kept_bytes, gaps] {
        out.put_u64_le(*number);
    }
    let micros = oldest.map(|oldest| u64::try_from(oldest.as_micros()).unwrap_or(u64::MAX - 1));
    out.put_u64_le(micros.unwrap_or(u64::MAX));
}

fn numbers(r: &mut Reader) -> Option<GroupStatistics> {
    Some(GroupStatistics {
        groups: r.u64()?,
        workers: r.u64()?,
        present: r.u64()?,
        messages: r.u64()?,
        kept: r.u64()?,
        kept_bytes: r.u64()?,
        gaps: r.u64()?,
        oldest: Some(r.u64()?).filter(|micros| *micros != u64::MAX).map(Duration::from_micros),
    })
}
