//! What runs inside Redis. Each script is one step: nobody sees the middle of it.
//!
//! Invariant: names and values reach a script as arguments only, never as its text.

use bytes::BytesMut;

use super::address::Address;
use super::resp;
use crate::channels::Limits;

const GROUP: &str = include_str!("lua/group.lua");
const PRESENCE: &str = include_str!("lua/presence.lua");
const QUEUE: &str = include_str!("lua/queue.lua");

/// A script, and its place in [`Scripts::sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Publish,
    Subscribe,
    Past,
    Enter,
    Announce,
    Leave,
    Send,
    Receive,
    Cancel,
    GiveBack,
    SendAfter,
    Answer,
    Await,
    Inspect,
    Flush,
    Value,
    Latest,
    Present,
    Members,
    Counted,
    Survey,
    ForgetAll,
    Beat,
}

/// Each with what it builds on.
const SOURCES: [(Script, &[&str]); 23] = [
    (Script::Publish, &[GROUP, include_str!("lua/publish.lua")]),
    (Script::Subscribe, &[GROUP, include_str!("lua/subscribe.lua")]),
    (Script::Past, &[GROUP, include_str!("lua/past.lua")]),
    (Script::Enter, &[GROUP, PRESENCE, include_str!("lua/enter.lua")]),
    (Script::Announce, &[GROUP, PRESENCE, include_str!("lua/announce.lua")]),
    (Script::Leave, &[GROUP, PRESENCE, include_str!("lua/leave.lua")]),
    (Script::Send, &[GROUP, QUEUE, include_str!("lua/send.lua")]),
    (Script::Receive, &[GROUP, QUEUE, include_str!("lua/receive.lua")]),
    (Script::Cancel, &[GROUP, QUEUE, include_str!("lua/cancel.lua")]),
    (Script::GiveBack, &[GROUP, QUEUE, include_str!("lua/give_back.lua")]),
    (Script::SendAfter, &[GROUP, QUEUE, include_str!("lua/send_after.lua")]),
    (Script::Answer, &[GROUP, QUEUE, include_str!("lua/answer.lua")]),
    (Script::Await, &[GROUP, QUEUE, include_str!("lua/await.lua")]),
    (Script::Inspect, &[GROUP, QUEUE, include_str!("lua/inspect.lua")]),
    (Script::Flush, &[GROUP, QUEUE, include_str!("lua/flush.lua")]),
    (Script::Value, &[GROUP, include_str!("lua/value.lua")]),
    (Script::Latest, &[GROUP, include_str!("lua/latest.lua")]),
    (Script::Present, &[GROUP, include_str!("lua/present.lua")]),
    (Script::Members, &[GROUP, include_str!("lua/members.lua")]),
    (Script::Counted, &[GROUP, include_str!("lua/counted.lua")]),
    (Script::Survey, &[GROUP, include_str!("lua/survey.lua")]),
    (Script::ForgetAll, &[GROUP, include_str!("lua/forget_all.lua")]),
    (Script::Beat, &[GROUP, PRESENCE, QUEUE, include_str!("lua/beat.lua")]),
];

/// The scripts as one Redis knows them, and what each is given first.
#[derive(Debug)]
pub(super) struct Scripts {
    /// In the order of [`SOURCES`].
    hashes: Vec<Vec<u8>>,
    first: [Vec<u8>; 6],
}

impl Scripts {
    /// The texts to load, in the order in which their hashes are wanted.
    pub(super) fn sources() -> impl ExactSizeIterator<Item = String> {
        SOURCES.iter().map(|(_, parts)| parts.concat())
    }

    /// `run` names the process: another one may have lost what it was told.
    pub(super) fn new(
        hashes: Vec<Vec<u8>>,
        address: &Address,
        run: &[u8],
        limits: &Limits,
    ) -> Self {
        let number = |number: usize| number.to_string().into_bytes();
        let first = [
            address.key_prefix().into_bytes(),
            address.channel_prefix().into_bytes(),
            run.to_vec(),
            number(limits.history_messages),
            number(limits.history_bytes),
            limits.history_age.as_millis().to_string().into_bytes(),
        ];
        Self { hashes, first }
    }

    /// Appends a call of `script` with `arguments`.
    pub(super) fn call(&self, out: &mut BytesMut, script: Script, arguments: &[&[u8]]) {
        let at = SOURCES.iter().position(|(each, _)| *each == script);
        let hash = at.and_then(|at| self.hashes.get(at)).map_or(&b""[..], Vec::as_slice);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(3 + self.first.len() + arguments.len());
        parts.extend([&b"EVALSHA"[..], hash, b"0"]);
        parts.extend(self.first.iter().map(Vec::as_slice));
        parts.extend(arguments);
        resp::command(out, &parts);
    }
}
