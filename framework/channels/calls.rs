//! Delayed messages, questions with an answer, and numbers: what is asked of named channels beyond
//! sending and receiving, and how it is written on a link.
//!
//! Flow of a question: [`ChannelAsk::Call`] → its place in the channel, [`ChannelTell::Called`] →
//! a reader, [`ChannelTell::Taken`] → [`ChannelAsk::Answer`] → [`ChannelTell::Answered`] to the
//! one who asked, whom only the key names.
//!
//! Invariants:
//! - A question has one answer at most. What comes after it, or when nobody waits any more, goes
//!   nowhere.
//! - Once it has its place a question is not asked again, whatever happens to the link or store.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::frame::Frame;
use super::protocol::Key;
#[cfg(feature = "redis")]
use super::protocol::Subject;
use super::wire::{Reader, put_frame, put_key, put_message, put_name};
use super::{ChannelStatistics, GroupName};

/// From a worker. Tags 40 to 59 on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChannelAsk {
    /// A message that comes to the channel later.
    SendAfter { key: Key, retry: bool, channel: GroupName, frame: Frame, delay: Duration },
    /// A message whose reader is to answer.
    Call { key: Key, retry: bool, channel: GroupName, frame: Frame },
    /// The answer to a question; `None`: there will be none.
    Answer { request: u64, asker: Key, frame: Option<Frame> },
    /// After a new link: this worker still waits for the answer to its question.
    Await { key: Key },
    /// Nobody waits for the answer any more.
    Abandon { key: Key },
    /// A question reached this worker when nobody waited for messages any more.
    Return { channel: GroupName, number: u64, frame: Frame, asker: Key },
    /// Numbers of a channel; `None`: of all together.
    Inspect { request: u64, channel: Option<GroupName> },
    /// Drops what waits in a channel.
    Flush { request: u64, channel: GroupName },
}

/// From the store. Tags 40 to 59 on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChannelTell {
    /// A question has its place in the channel.
    Called {
        request: u64,
    },
    /// A question for a reader.
    Taken {
        request: u64,
        channel: GroupName,
        number: u64,
        frame: Frame,
        asker: Key,
    },
    /// The answer, if there is one.
    Answered {
        request: u64,
        frame: Option<Frame>,
    },
    Inspected {
        request: u64,
        numbers: ChannelStatistics,
    },
}

impl ChannelAsk {
    /// What it is about.
    #[cfg(feature = "redis")]
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            Self::SendAfter { channel, .. }
            | Self::Call { channel, .. }
            | Self::Return { channel, .. }
            | Self::Inspect { channel: Some(channel), .. }
            | Self::Flush { channel, .. } => Subject::Name(channel.as_str()),
            Self::Answer { asker: key, .. } | Self::Await { key } | Self::Abandon { key } => {
                Subject::Question(*key)
            }
            Self::Inspect { channel: None, .. } => Subject::All,
        }
    }

    /// The same, marked as one that may have arrived before.
    pub(super) fn again(&mut self, is_again: bool) {
        if let Self::SendAfter { retry, .. } | Self::Call { retry, .. } = self {
            *retry = is_again;
        }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::SendAfter { key, retry, channel, frame, delay } => {
                put_message(out, (40, *key, *retry), channel, frame);
                put_duration(out, *delay);
            }
            Self::Call { key, retry, channel, frame } => {
                put_message(out, (41, *key, *retry), channel, frame);
            }
            Self::Answer { request, asker, frame } => {
                out.put_u8(42);
                out.put_u64_le(*request);
                put_key(out, *asker);
                put_answer(out, frame.as_ref());
            }
            Self::Await { key } => {
                out.put_u8(43);
                put_key(out, *key);
            }
            Self::Abandon { key } => {
                out.put_u8(44);
                put_key(out, *key);
            }
            Self::Return { channel, number, frame, asker } => {
                out.put_u8(45);
                put_name(out, channel);
                out.put_u64_le(*number);
                put_frame(out, frame);
                put_key(out, *asker);
            }
            Self::Inspect { request, channel } => {
                out.put_u8(46);
                out.put_u64_le(*request);
                out.put_u8(u8::from(channel.is_some()));
                if let Some(channel) = channel {
                    put_name(out, channel);
                }
            }
            Self::Flush { request, channel } => {
                out.put_u8(47);
                out.put_u64_le(*request);
                put_name(out, channel);
            }
        }
    }

    pub(super) fn read(tag: u8, r: &mut Reader) -> Option<Self> {
        Some(match tag {
            40 => {
                let (key, retry, channel, frame) = r.message()?;
                Self::SendAfter { key, retry, channel, frame, delay: duration(r)? }
            }
            41 => {
                let (key, retry, channel, frame) = r.message()?;
                Self::Call { key, retry, channel, frame }
            }
            42 => {
                let (request, asker) = (r.u64()?, r.key()?);
                let frame = if r.bool()? { Some(r.frame()?) } else { None };
                Self::Answer { request, asker, frame }
            }
            43 => Self::Await { key: r.key()? },
            44 => Self::Abandon { key: r.key()? },
            45 => Self::Return {
                channel: r.name()?,
                number: r.u64()?,
                frame: r.frame()?,
                asker: r.key()?,
            },
            46 => {
                let request = r.u64()?;
                let channel = if r.bool()? { Some(r.name()?) } else { None };
                Self::Inspect { request, channel }
            }
            47 => Self::Flush { request: r.u64()?, channel: r.name()? },
            _ => return None,
        })
    }
}

impl ChannelTell {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Called { request } => {
                out.put_u8(40);
                out.put_u64_le(*request);
            }
            Self::Taken { request, channel, number, frame, asker } => {
                out.put_u8(41);
                out.put_u64_le(*request);
                put_name(out, channel);
                out.put_u64_le(*number);
                put_frame(out, frame);
                put_key(out, *asker);
            }
            Self::Answered { request, frame } => {
                out.put_u8(42);
                out.put_u64_le(*request);
                put_answer(out, frame.as_ref());
            }
            Self::Inspected { request, numbers } => {
                out.put_u8(43);
                out.put_u64_le(*request);
                put_numbers(out, numbers);
            }
        }
    }

    pub(super) fn read(tag: u8, r: &mut Reader) -> Option<Self> {
        Some(match tag {
            40 => Self::Called { request: r.u64()? },
            41 => Self::Taken {
                request: r.u64()?,
                channel: r.name()?,
                number: r.u64()?,
                frame: r.frame()?,
                asker: r.key()?,
            },
            42 => {
                let request = r.u64()?;
                let frame = if r.bool()? { Some(r.frame()?) } else { None };
                Self::Answered { request, frame }
            }
            43 => Self::Inspected { request: r.u64()?, numbers: numbers(r)? },
            _ => return None,
        })
    }
}

fn put_answer(out: &mut BytesMut, frame: Option<&Frame>) {
    out.put_u8(u8::from(frame.is_some()));
    if let Some(frame) = frame {
        put_frame(out, frame);
    }
}

fn put_duration(out: &mut BytesMut, duration: Duration) {
    out.put_u64_le(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}

fn duration(r: &mut Reader) -> Option<Duration> {
    r.u64().map(Duration::from_micros)
}

fn put_numbers(out: &mut BytesMut, numbers: &ChannelStatistics) {
    let ChannelStatistics { channels, pending, delayed, readers, oldest, .. } = numbers;
    for number in [channels, pending, delayed, readers] {
        out.put_u64_le(*number);
    }
    out.put_u8(u8::from(oldest.is_some()));
    put_duration(out, oldest.unwrap_or_default());
    for number in [numbers.messages, numbers.delivered, numbers.expired, numbers.refused] {
        out.put_u64_le(number);
    }
}

fn numbers(r: &mut Reader) -> Option<ChannelStatistics> {
    let (channels, pending, delayed, readers) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
    let (has_oldest, oldest) = (r.bool()?, duration(r)?);
    Some(ChannelStatistics {
        channels,
        pending,
        delayed,
        readers,
        oldest: has_oldest.then_some(oldest),
        messages: r.u64()?,
        delivered: r.u64()?,
        expired: r.u64()?,
        refused: r.u64()?,
    })
}
