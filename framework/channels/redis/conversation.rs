//! What is said over one connection to Redis: what is asked becomes commands, replies and messages
//! become what the table is told. No IO.
//!
//! Flow of a subscription: `SUBSCRIBE`, then a script that answers with the group's position; what
//! Redis sends of the group before that answer is in it already and is dropped. A message that does
//! not follow the position makes it read what lies between.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::asks::{flag, milliseconds};
use super::expect::{Expect, Purpose, WEIGHT_MAX};
use super::polls::Poll;
use super::replies::{
    Past, answered, entered, inspected, lineage_of, outcome, own, parse_position, position_of,
    present, received, surveyed, word,
};
use super::resp::{self, Value};
use super::scripts::{Script, Scripts};
use super::{Ear, Shards};
use crate::channels::calls::ChannelTell;
use crate::channels::pattern::Capacities;
use crate::channels::protocol::Tell;
use crate::channels::values::calls::Outcome;
use crate::channels::{GroupName, Limits, Position, wire};

/// A reply that takes longer means that the connection is dead.
const REPLY_MAX: Duration = Duration::from_secs(10);
/// Bytes of a history asked for by a site.
const HISTORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often every group is compared with what Redis has, whatever was heard of it.
const LOOK: Duration = Duration::from_secs(40);
/// So many things that Redis keeps until they were heard are dropped at once, or with a beat.
const HEARD_MAX: usize = 64;
/// How often a worker shows that it lives, and looks whether the others do.
pub(super) const BEAT: Duration = Duration::from_millis(150);
/// A worker without a beat for so long is taken for dead although its link stands.
const LEASE: Duration = Duration::from_secs(5);
/// Least time between two looks at all workers.
const SWEEP: Duration = Duration::from_millis(100);
/// How long a worker may be without its link before what it holds is ended: it may be back.
const MISSING_MAX: Duration = Duration::from_millis(250);

/// Why a conversation has to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Something came that is no answer to what was asked.
    BadReply,
    /// Redis cannot go on with this connection.
    Refused(String),
    /// No reply in time.
    Silent,
    /// This worker was taken for dead, and what it held is gone.
    Buried,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadReply => f.write_str("it answered what was not asked"),
            Self::Refused(words) => f.write_str(words),
            Self::Silent => write!(f, "no reply within {} seconds", REPLY_MAX.as_secs()),
            Self::Buried => f.write_str("this process was silent for too long"),
        }
    }
}

/// The conversation over one link.
#[derive(Debug)]
pub(super) struct Conversation {
    scripts: Scripts,
    pub(super) limits: Limits,
    pub(super) capacities: Capacities,
    /// The largest version or token this worker has been given, by whatever shard.
    pub(super) latest: Arc<AtomicU64>,
    channels: String,
    keys: String,
    /// Names this worker, in hex.
    pub(super) name: String,
    /// What is to be written.
    pub(super) out: BytesMut,
    expected: VecDeque<(Instant, Expect)>,
    /// Of all that is expected.
    weight: usize,
    pub(super) groups: HashMap<GroupName, Subscription>,
    pub(super) polls: BTreeMap<u64, Poll>,
    /// Groups not yet looked at in this round.
    unseen: Vec<GroupName>,
    /// Messages of channels on their way there, by the numbers of their requests.
    pub(super) sending: VecDeque<u64>,
    /// Keys of what Redis keeps until it has been heard, and was.
    heard: Vec<String>,
}

/// Up to where this worker knows a group.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// `None` until Redis has answered.
    pub(super) position: Option<Position>,
    /// What follows was asked for: messages are in the answer.
    pub(super) is_behind: bool,
}

impl Conversation {
    /// A conversation of the worker `name` whose scripts are loaded.
    pub(super) fn new(name: u64, scripts: Scripts, shards: &Shards) -> Self {
        Self {
            scripts,
            limits: shards.limits,
            capacities: shards.capacities.clone(),
            latest: Arc::clone(&shards.latest),
            channels: shards.address.channel_prefix(),
            keys: shards.address.key_prefix(),
            name: format!("{name:x}"),
            out: BytesMut::new(),
            expected: VecDeque::new(),
            weight: 0,
            groups: HashMap::new(),
            polls: BTreeMap::new(),
            unseen: Vec::new(),
            sending: VecDeque::new(),
            heard: Vec::new(),
        }
    }

    /// The first words: this worker lives.
    pub(super) fn begin(&mut self) {
        let channel = format!("{}w:{}", self.channels, self.name);
        let all = format!("{}all", self.channels);
        resp::command(&mut self.out, &[b"SUBSCRIBE", channel.as_bytes(), all.as_bytes()]);
        self.beat(true);
    }

    /// Shows that this worker lives, and looks at a few of its groups.
    ///
    /// # Errors
    /// Redis has not answered for too long.
    pub(super) fn tick(&mut self) -> Result<(), Ended> {
        if self.expected.front().is_some_and(|(since, _)| since.elapsed() > REPLY_MAX) {
            return Err(Ended::Silent);
        }
        self.beat(false);
        self.look();
        self.look_at_polls();
        self.drop_heard();
        Ok(())
    }

    fn beat(&mut self, begins: bool) {
        let (begins, name) = (flag(begins), self.name.clone());
        let [lease, sweep, missing] = [LEASE, SWEEP, MISSING_MAX].map(milliseconds);
        let expiry = milliseconds(self.limits.expiry);
        let arguments = [name.as_bytes(), begins, &lease, &sweep, &missing, &expiry];
        self.call(Script::Beat, &arguments, Expect::Beat);
    }

    /// Compares a share of the groups with what Redis has.
    fn look(&mut self) {
        if self.unseen.is_empty() {
            self.unseen.extend(self.groups.keys().cloned());
        }
        let beats = LOOK.as_millis() / BEAT.as_millis();
        let share = 1 + self.groups.len() / usize::try_from(beats).unwrap_or(1);
        for _ in 0..share {
            let Some(group) = self.unseen.pop() else { return };
            if let Some(Subscription { position: Some(since), is_behind: false }) =
                self.groups.get(&group)
            {
                let since = Some(*since);
                self.ask_past(&group, since, Purpose::CatchUp);
            }
        }
    }

    /// Redis need not keep this any more.
    fn has_heard(&mut self, key: String) {
        self.heard.push(key);
        if self.heard.len() >= HEARD_MAX {
            self.drop_heard();
        }
    }

    fn drop_heard(&mut self) {
        if self.heard.is_empty() {
            return;
        }
        let mut parts: Vec<&[u8]> = vec![b"DEL"];
        parts.extend(self.heard.iter().map(String::as_bytes));
        resp::command(&mut self.out, &parts);
        self.heard.clear();
        self.expected.push_back((Instant::now(), Expect::Nothing));
    }

    /// Hands on what a reader gets.
    fn hand(&mut self, tell: Tell, ear: &Ear<'_>) {
        if let Tell::Received { request, .. } | Tell::Channel(ChannelTell::Taken { request, .. }) =
            &tell
        {
            self.has_heard(format!("{}d:{}:{request}", self.keys, self.name));
        }
        ear.tell(tell);
    }

    pub(super) fn call(&mut self, script: Script, arguments: &[&[u8]], expect: Expect) {
        self.scripts.call(&mut self.out, script, arguments);
        self.weight += expect.weight();
        self.expected.push_back((Instant::now(), expect));
    }

    /// Whether it may be asked for more.
    pub(super) fn has_room(&self) -> bool {
        self.weight < WEIGHT_MAX
    }

    pub(super) fn channel(&self, group: &GroupName) -> String {
        format!("{}g:{group}", self.channels)
    }

    /// Hands what `value` means to `ear`.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(super) fn hear(&mut self, value: Value, ear: &Ear<'_>) -> Result<(), Ended> {
        if let Value::Push(parts) = value {
            return self.pushed(parts, ear).ok_or(Ended::BadReply);
        }
        let (_, expect) = self.expected.pop_front().ok_or(Ended::BadReply)?;
        self.weight -= expect.weight();
        if matches!(expect, Expect::Sent { .. } | Expect::Called { .. }) {
            self.sending.pop_front();
        }
        match value {
            Value::Error(words) => failed(&words, &expect, ear),
            Value::Integer(0) if matches!(expect, Expect::Beat) => Err(Ended::Buried),
            value => self.answered(expect, value, ear).ok_or(Ended::BadReply),
        }
    }

    fn answered(&mut self, expect: Expect, value: Value, ear: &Ear<'_>) -> Option<()> {
        match expect {
            Expect::Nothing | Expect::Beat => {}
            Expect::Subscribed { request, group } => {
                self.subscribed(request, group, value, ear)?;
            }
            Expect::Past { group, since, purpose } => {
                let past = Past::read(value)?;
                match (purpose, since) {
                    (Purpose::CatchUp, Some(since)) => self.caught_up(group, since, past, ear),
                    (purpose, since) => self.history((&group, since), purpose, past, ear),
                }
            }
            Expect::Published { request } => {
                let position = parse_position(&value.bytes()?)?;
                ear.tell(Tell::Published { request, position });
            }
            Expect::Entered { request } => ear.tell(entered(request, value)?),
            Expect::Left { request } => {
                // 0: it is told when the time to come back is over.
                if value.integer()? == 1 {
                    ear.tell(Tell::Done { request });
                }
            }
            Expect::Done { request } => ear.tell(Tell::Done { request }),
            Expect::Forgotten { request } => ear.forgotten(request),
            Expect::Present { request } => ear.tell(present(request, value)?),
            Expect::Surveyed { request } => ear.tell(surveyed(request, value)?),
            Expect::Members { request } => self.polled(request, value.integer()?, ear),
            Expect::Sent { request } => {
                let is_sent = value.integer()? == 1;
                ear.tell(if is_sent { Tell::Done { request } } else { Tell::Full { request } });
            }
            Expect::Received { request, channel } => {
                if let Value::Bytes(letter) = value {
                    self.hand(received(request, channel, letter)?, ear);
                }
            }
            Expect::Called { request } => {
                let is_sent = value.integer()? == 1;
                let called = Tell::Channel(ChannelTell::Called { request });
                ear.tell(if is_sent { called } else { Tell::Full { request } });
            }
            Expect::Awaited { request } => {
                if let Value::Bytes(told) = value {
                    ear.tell(answered(request, &told)?);
                }
            }
            Expect::Inspected { request } => ear.tell(inspected(request, value)?),
            Expect::Valued { request, kept } => {
                if let Some(key) = kept {
                    self.has_heard(format!("{}{key}", self.keys));
                }
                let outcome = outcome(value)?;
                if let Outcome::Done { version: number } | Outcome::Locked { token: number } =
                    &outcome
                {
                    self.latest.fetch_max(*number, Ordering::Relaxed);
                }
                ear.tell(Tell::Valued { request, outcome });
            }
        }
        Some(())
    }

    fn subscribed(
        &mut self,
        request: u64,
        group: GroupName,
        value: Value,
        ear: &Ear<'_>,
    ) -> Option<()> {
        let mut parts = value.list()?.into_iter();
        let position = position_of(&mut parts)?;
        // Who knew the group before catches up by itself.
        let position = match self.groups.get_mut(&group) {
            Some(subscription) => *subscription.position.get_or_insert(position),
            None => position,
        };
        let lineage = lineage_of(&parts.next()?.bytes()?)?;
        ear.tell(Tell::Subscribed { request, group, position, lineage });
        Some(())
    }

    /// What lies behind `since`, or that it is lost.
    fn caught_up(&mut self, group: GroupName, since: Position, past: Past, ear: &Ear<'_>) {
        let Some(subscription) = self.groups.get_mut(&group) else { return };
        if subscription.position != Some(since) {
            // More has come since it was asked.
            return;
        }
        let Past { top, lineage, is_whole, entries, has_more } = past;
        *subscription = Subscription { position: Some(top), is_behind: false };
        if !is_whole {
            ear.tell(Tell::Gap { group, position: top });
            return;
        }
        if since.epoch != top.epoch {
            let position = Position { epoch: top.epoch, offset: since.offset };
            ear.tell(Tell::Renew { group: group.clone(), position, lineage });
        }
        let offset = entries.last().map_or(top.offset, |last| last.offset);
        for entry in entries {
            ear.tell(Tell::Deliver { group: group.clone(), epoch: top.epoch, entry });
        }
        if has_more {
            let position = Some(Position { epoch: top.epoch, offset });
            self.groups.insert(group.clone(), Subscription { position, is_behind: true });
            self.ask_past(&group, position, Purpose::CatchUp);
        }
    }

    /// A page of what somebody asked for; the next one, or all of it.
    fn history(
        &mut self,
        (group, since): (&GroupName, Option<Position>),
        purpose: Purpose,
        past: Past,
        ear: &Ear<'_>,
    ) {
        let Purpose::History { request, limit, mut entries } = purpose else { return };
        let Past { top, is_whole, entries: page, has_more, .. } = past;
        // Of a later page that is lost nothing is said: what was before it has no hole.
        let recovered = is_whole || !entries.is_empty();
        entries.extend(page);
        let bytes: usize = entries.iter().map(|entry| entry.frame.len()).sum();
        match entries.last().filter(|_| has_more && since.is_some()) {
            Some(last) if entries.len() < limit && bytes < HISTORY_BYTES_MAX => {
                let since = Some(Position { epoch: top.epoch, offset: last.offset });
                self.ask_past(group, since, Purpose::History { request, limit, entries });
            }
            _ => {
                if since.is_none() {
                    entries.reverse();
                }
                ear.tell(Tell::History { request, top, recovered, entries });
            }
        }
    }

    /// A message of a channel, or the end of a (un)subscription.
    fn pushed(&mut self, parts: Vec<Value>, ear: &Ear<'_>) -> Option<()> {
        let mut parts = parts.into_iter();
        if parts.next()?.bytes()? != b"message"[..] {
            return Some(());
        }
        let channel = parts.next()?.bytes()?;
        let payload = parts.next()?.bytes()?;
        let channel = std::str::from_utf8(&channel).ok()?.strip_prefix(&self.channels)?;
        match channel.split_at_checked(2)? {
            ("g:", group) => self.published(group, payload, ear),
            ("w:", _) => self.own(payload, ear),
            ("al", "l") => {
                self.forgotten(&payload, ear);
                Some(())
            }
            _ => None,
        }
    }

    /// What is for this worker alone.
    fn own(&mut self, payload: Bytes, ear: &Ear<'_>) -> Option<()> {
        if payload.first() != Some(&b'M') {
            self.hand(own(payload)?, ear);
            return Some(());
        }
        self.told_members(payload, ear)
    }

    /// Everything is emptied: `F` and which time.
    fn forgotten(&mut self, payload: &Bytes, ear: &Ear<'_>) {
        ear.flushed(payload);
        let gone: Vec<GroupName> =
            self.groups.keys().filter(|group| !ear.has_group(group)).cloned().collect();
        for group in gone {
            let channel = self.channel(&group);
            resp::command(&mut self.out, &[b"UNSUBSCRIBE", channel.as_bytes()]);
            self.groups.remove(&group);
        }
    }

    fn published(&mut self, group: &str, mut payload: Bytes, ear: &Ear<'_>) -> Option<()> {
        let first = word(&mut payload)?;
        if first == b"C"[..] {
            return self.count(group, &payload, ear);
        }
        let position = parse_position(&first)?;
        let Some((group, subscription)) = self.groups.get_key_value(group) else { return Some(()) };
        let Some(known) = subscription.position.filter(|_| !subscription.is_behind) else {
            return Some(());
        };
        let follows = position.epoch == known.epoch && position.offset == known.offset + 1;
        let group = group.clone();
        let subscription = self.groups.get_mut(&group)?;
        let entry = wire::entry_from(position.offset, Bytes::copy_from_slice(&payload));
        // What cannot be read is found missing.
        if let Some(entry) = entry.filter(|_| follows) {
            subscription.position = Some(position);
            ear.tell(Tell::Deliver { group, epoch: position.epoch, entry });
        } else if position > known {
            subscription.is_behind = true;
            self.ask_past(&group, Some(known), Purpose::CatchUp);
        }
        Some(())
    }
}

/// Redis refuses: who asked is told. What the link itself needs, or will be refused again for the
/// same reason, ends it.
fn failed(words: &str, expect: &Expect, ear: &Ear<'_>) -> Result<(), Ended> {
    let code = words.split(' ').next().unwrap_or_default();
    let is_final =
        ["NOSCRIPT", "READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "NOPERM"].contains(&code);
    match expect {
        _ if is_final => {}
        Expect::Past { purpose: Purpose::CatchUp, .. } => {}
        // Without memory Redis takes no beat, of nobody; the senders hear of it.
        Expect::Beat => return Ok(()),
        Expect::Subscribed { request, .. }
        | Expect::Past { purpose: Purpose::History { request, .. }, .. }
        | Expect::Published { request }
        | Expect::Entered { request }
        | Expect::Done { request }
        | Expect::Sent { request }
        | Expect::Received { request, .. }
        | Expect::Called { request }
        | Expect::Inspected { request }
        | Expect::Present { request }
        | Expect::Members { request }
        | Expect::Surveyed { request }
        | Expect::Forgotten { request }
        | Expect::Valued { request, .. } => {
            ear.refuse(*request, words);
            return Ok(());
        }
        // It is asked again over the next link.
        Expect::Nothing | Expect::Left { .. } | Expect::Awaited { .. } => {
            tracing::warn!(error = words, "Redis refused what was asked of it");
            return Ok(());
        }
    }
    Err(Ended::Refused(words.to_owned()))
}
