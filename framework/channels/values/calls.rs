//! What is asked of the store's values, counters and locks, and how it is written on a link.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::channels::protocol::Key;
use crate::channels::wire::{Reader, put_key, put_short};

/// From a worker. Tag 24 on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValueAsk {
    pub(crate) key: Key,
    /// It may have been done before; then the answer is the same.
    pub(crate) retry: bool,
    pub(crate) name: Box<str>,
    pub(crate) action: Action,
}

/// What is to be done with what has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    /// `lasts`: `None` is for ever.
    Set {
        bytes: Bytes,
        lasts: Option<Duration>,
        when: When,
    },
    Remove,
    /// Gives it another end.
    Touch {
        lasts: Option<Duration>,
    },
    /// Adds to a counter; the first sets when it ends.
    Count {
        by: i64,
        window: Duration,
    },
    Lock {
        lasts: Duration,
    },
    Extend {
        token: u64,
        lasts: Duration,
    },
    Unlock {
        token: u64,
    },
    /// Nobody waits for a lock any more that was asked for under this key.
    Abandon {
        asked: Key,
    },
}

/// On which condition a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Absent,
    /// It still is of this version.
    At(u64),
}

/// From the store. Tag 24 on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is not there, or not in the condition asked for.
    No,
    Found {
        bytes: Bytes,
        version: u64,
        left: Option<Duration>,
    },
    /// With the version of what was set.
    Done {
        version: u64,
    },
    Counted {
        value: i64,
        left: Duration,
    },
    Locked {
        token: u64,
    },
    /// The store holds as much as it may.
    Full,
}

impl ValueAsk {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_key(out, self.key);
        out.put_u8(u8::from(self.retry));
        put_short(out, &self.name);
        match &self.action {
            Action::Get => out.put_u8(0),
            Action::Set { bytes, lasts, when } => {
                out.put_u8(1);
                put_bytes(out, bytes);
                put_lasts(out, *lasts);
                let (tag, version) = match when {
                    When::Always => (0, 0),
                    When::Absent => (1, 0),
                    When::At(version) => (2, *version),
                };
                out.put_u8(tag);
                out.put_u64_le(version);
            }
            Action::Remove => out.put_u8(2),
            Action::Touch { lasts } => {
                out.put_u8(3);
                put_lasts(out, *lasts);
            }
            Action::Count { by, window } => {
                out.put_u8(4);
                out.put_i64_le(*by);
                put_lasts(out, Some(*window));
            }
            Action::Lock { lasts } => {
                out.put_u8(5);
                put_lasts(out, Some(*lasts));
            }
            Action::Extend { token, lasts } => {
                out.put_u8(6);
                out.put_u64_le(*token);
                put_lasts(out, Some(*lasts));
            }
            Action::Unlock { token } => {
                out.put_u8(7);
                out.put_u64_le(*token);
            }
            Action::Abandon { asked } => {
                out.put_u8(8);
                put_key(out, *asked);
            }
        }
    }

    pub(crate) fn read(r: &mut Reader) -> Option<Self> {
        let (key, retry, name) = (r.key()?, r.bool()?, r.text()?);
        let action = match r.u8()? {
            0 => Action::Get,
            1 => {
                let (bytes, lasts) = (bytes(r)?, lasts(r)?);
                let when = match (r.u8()?, r.u64()?) {
                    (0, _) => When::Always,
                    (1, _) => When::Absent,
                    (2, version) => When::At(version),
                    _ => return None,
                };
                Action::Set { bytes, lasts: lasts.of(), when }
            }
            2 => Action::Remove,
            3 => Action::Touch { lasts: lasts(r)?.of() },
            4 => Action::Count { by: r.u64()?.cast_signed(), window: lasts(r)?.of()? },
            5 => Action::Lock { lasts: lasts(r)?.of()? },
            6 => Action::Extend { token: r.u64()?, lasts: lasts(r)?.of()? },
            7 => Action::Unlock { token: r.u64()? },
            8 => Action::Abandon { asked: r.key()? },
            _ => return None,
        };
        Some(Self { key, retry, name, action })
    }
}

impl Outcome {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::No => out.put_u8(0),
            Self::Found { bytes, version, left } => {
                out.put_u8(1);
                put_bytes(out, bytes);
                out.put_u64_le(*version);
                put_lasts(out, *left);
            }
            Self::Done { version } => {
                out.put_u8(2);
                out.put_u64_le(*version);
            }
            Self::Counted { value, left } => {
                out.put_u8(3);
                out.put_i64_le(*value);
                put_lasts(out, Some(*left));
            }
            Self::Locked { token } => {
                out.put_u8(4);
                out.put_u64_le(*token);
            }
            Self::Full => out.put_u8(5),
        }
    }

    pub(crate) fn read(r: &mut Reader) -> Option<Self> {
        Some(match r.u8()? {
            0 => Self::No,
            1 => Self::Found { bytes: bytes(r)?, version: r.u64()?, left: lasts(r)?.of() },
            2 => Self::Done { version: r.u64()? },
            3 => Self::Counted { value: r.u64()?.cast_signed(), left: lasts(r)?.of()? },
            4 => Self::Locked { token: r.u64()? },
            5 => Self::Full,
            _ => return None,
        })
    }
}

/// Microseconds; the largest number is for ever.
struct Lasts(u64);

impl Lasts {
    fn of(self) -> Option<Duration> {
        (self.0 != u64::MAX).then(|| Duration::from_micros(self.0))
    }
}

fn put_lasts(out: &mut BytesMut, lasts: Option<Duration>) {
    let micros = lasts.map(|lasts| u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX - 1));
    out.put_u64_le(micros.unwrap_or(u64::MAX));
}

fn lasts(r: &mut Reader) -> Option<Lasts> {
    r.u64().map(Lasts)
}

fn put_bytes(out: &mut BytesMut, bytes: &Bytes) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("values are far below 4 GiB"));
    out.put_slice(bytes);
}

fn bytes(r: &mut Reader) -> Option<Bytes> {
    let length = r.u32()? as usize;
    // A copy: a slice would keep the whole read buffer.
    r.take(length).map(|bytes| Bytes::copy_from_slice(&bytes))
}
