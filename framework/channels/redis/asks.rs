//! What a worker asks as commands of Redis.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::conversation::{Conversation, Subscription};
use super::expect::{Expect, Purpose};
use super::resp;
use super::scripts::Script;
use crate::channels::calls::ChannelAsk;
use crate::channels::frame::Frame;
use crate::channels::groups::GroupAsk;
use crate::channels::protocol::{Ask, Entry, Key, Person};
use crate::channels::values::calls::{Action, ValueAsk, When};
use crate::channels::{GroupName, Position, wire};

/// A message whose sender named it; see `publish.lua`.
const NAMED: &[u8] = b"2";
/// Bytes of delayed messages in all channels of a shard; beyond it another one is refused.
const DELAYED_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Conversation {
    /// Writes what makes Redis do as asked.
    pub(super) fn ask(&mut self, ask: &Ask) {
        match ask {
            Ask::Hello { latest, .. } => {
                let latest = latest.to_string();
                self.call(Script::Latest, &[latest.as_bytes()], Expect::Nothing);
            }
            // Redis keeps the histories itself.
            Ask::AnnounceEntry { .. } | Ask::AnnounceNames { .. } | Ask::Announced => {}
            Ask::Announce { group, position, .. } => {
                self.subscribe(group);
                let subscription = Subscription { position: Some(*position), is_behind: true };
                self.groups.insert(group.clone(), subscription);
                self.ask_past(group, Some(*position), Purpose::CatchUp);
            }
            Ask::AnnouncePerson { group, connection, person } => {
                self.person(Script::Announce, group, (*connection, person), Expect::Nothing);
            }
            Ask::Subscribe { request, group } => {
                self.subscribe(group);
                self.groups.entry(group.clone()).or_default();
                let expect = Expect::Subscribed { request: *request, group: group.clone() };
                self.call(Script::Subscribe, &[name(group)], expect);
            }
            Ask::Unsubscribe { group } => {
                let channel = self.channel(group);
                resp::command(&mut self.out, &[b"UNSUBSCRIBE", channel.as_bytes()]);
                self.groups.remove(group);
            }
            Ask::Publish { key, retry, group, frame } => {
                self.publish((group, key.request), *key, (frame, 0), flag(*retry));
            }
            Ask::PublishOnce { request, key, group, frame } => {
                self.publish((group, *request), *key, (frame, 0), NAMED);
            }
            Ask::PublishLatest { key, retry, group, of, frame } => {
                self.publish((group, key.request), *key, (frame, *of), flag(*retry));
            }
            Ask::Group(ask) => self.ask_group(ask),
            Ask::Enter { request, group, connection, person } => {
                let expect = Expect::Entered { request: *request };
                self.person(Script::Enter, group, (*connection, person), expect);
            }
            Ask::Leave { request, group, connection } => {
                let (session, connection) = (self.name.clone(), connection.to_string());
                let number = request.to_string();
                let (session, connection) = (session.as_bytes(), connection.as_bytes());
                let arguments = [name(group), session, connection, number.as_bytes()];
                self.call(Script::Leave, &arguments, Expect::Left { request: *request });
            }
            Ask::History { request, group, since, limit } => {
                let (request, limit) = (*request, *limit as usize);
                let entries = Vec::new();
                self.ask_past(group, *since, Purpose::History { request, limit, entries });
            }
            Ask::Send { .. } | Ask::Receive { .. } | Ask::Cancel { .. } | Ask::Return { .. } => {
                self.ask_channel(ask);
            }
            Ask::Channel(ask) => self.ask_more(ask),
            Ask::Value(ask) => self.ask_value(ask),
        }
    }

    fn ask_channel(&mut self, ask: &Ask) {
        let session = self.name.clone();
        match ask {
            Ask::Send { key, retry, channel, frame } => {
                let expect = Expect::Sent { request: key.request };
                self.send((channel, *key, *retry), frame, b"", expect);
            }
            Ask::Receive { request, channel } => {
                let number = request.to_string();
                let arguments = [name(channel), session.as_bytes(), number.as_bytes()];
                let expect = Expect::Received { request: *request, channel: channel.clone() };
                self.call(Script::Receive, &arguments, expect);
            }
            Ask::Cancel { request, channel } => {
                let number = request.to_string();
                let arguments = [name(channel), session.as_bytes(), number.as_bytes()];
                self.call(Script::Cancel, &arguments, Expect::Nothing);
            }
            Ask::Return { channel, number, frame } => self.give_back(channel, (*number, frame), ""),
            _ => {}
        }
    }

    fn ask_group(&mut self, ask: &GroupAsk) {
        match ask {
            GroupAsk::Present { request, group } => {
                self.call(Script::Present, &[name(group)], Expect::Present { request: *request });
            }
            GroupAsk::Members { request, group } => self.begin_poll(*request, group),
            GroupAsk::Inspect { request, group } => {
                let group = group.as_ref().map_or(&b""[..], name);
                self.call(Script::Survey, &[group], Expect::Surveyed { request: *request });
            }
            GroupAsk::Flush { request } => {
                let id = format!("{}:{request}", self.name);
                let expect = Expect::Forgotten { request: *request };
                self.call(Script::ForgetAll, &[id.as_bytes()], expect);
            }
            GroupAsk::Compare { group, position } => {
                self.ask_past(group, Some(*position), Purpose::CatchUp);
            }
            // The conversation answers for its worker.
            GroupAsk::Counted { .. } => {}
        }
    }

    fn ask_more(&mut self, ask: &ChannelAsk) {
        match ask {
            ChannelAsk::SendAfter { key, retry, channel, frame, delay } => {
                let (delay, delayed) = (milliseconds(*delay), self.limits.delayed.to_string());
                let bytes = DELAYED_BYTES_MAX.to_string();
                let expiry = milliseconds(self.limits.expiry);
                let [session, request, first] = self.begin_send(*key);
                let arguments = [
                    name(channel),
                    frame.bytes(),
                    session.as_bytes(),
                    request.as_bytes(),
                    first.as_bytes(),
                    flag(*retry),
                    &delay,
                    delayed.as_bytes(),
                    bytes.as_bytes(),
                    &expiry,
                ];
                let expect = Expect::Sent { request: key.request };
                self.call(Script::SendAfter, &arguments, expect);
            }
            ChannelAsk::Call { key, retry, channel, frame } => {
                let expect = Expect::Called { request: key.request };
                self.send((channel, *key, *retry), frame, key_text(*key).as_bytes(), expect);
            }
            ChannelAsk::Answer { request, asker, frame } => {
                let told = match frame {
                    Some(frame) => [b"1", &frame.bytes()[..]].concat(),
                    None => b"0".to_vec(),
                };
                let expect = Expect::Done { request: *request };
                self.call(Script::Answer, &[key_text(*asker).as_bytes(), &told], expect);
            }
            ChannelAsk::Await { key } => {
                let expect = Expect::Awaited { request: key.request };
                self.call(Script::Await, &[key_text(*key).as_bytes()], expect);
            }
            // An answer that comes all the same goes nowhere.
            ChannelAsk::Abandon { .. } => {}
            ChannelAsk::Return { channel, number, frame, asker } => {
                self.give_back(channel, (*number, frame), &key_text(*asker));
            }
            ChannelAsk::Inspect { request, channel } => {
                let channel = channel.as_ref().map_or(&b""[..], name);
                self.call(Script::Inspect, &[channel], Expect::Inspected { request: *request });
            }
            ChannelAsk::Flush { request, channel } => {
                let expect = Expect::Done { request: *request };
                self.call(Script::Flush, &[name(channel)], expect);
            }
        }
    }

    /// `asker`: who waits for an answer, if anybody does.
    fn send(
        &mut self,
        (channel, key, retry): (&GroupName, Key, bool),
        frame: &Frame,
        asker: &[u8],
        expect: Expect,
    ) {
        let capacity = self.capacities.of(channel).to_string();
        let expiry = milliseconds(self.limits.expiry);
        let [session, request, first] = self.begin_send(key);
        let arguments = [
            name(channel),
            frame.bytes(),
            session.as_bytes(),
            request.as_bytes(),
            first.as_bytes(),
            flag(retry),
            capacity.as_bytes(),
            &expiry,
            asker,
        ];
        self.call(Script::Send, &arguments, expect);
    }

    /// The session and number of a send, and the number of the first that has no answer.
    fn begin_send(&mut self, key: Key) -> [String; 3] {
        self.sending.push_back(key.request);
        let first = self.sending.front().copied().unwrap_or(key.request);
        [format!("{:x}", key.session), key.request.to_string(), first.to_string()]
    }

    fn give_back(&mut self, channel: &GroupName, (number, frame): (u64, &Frame), asker: &str) {
        let (expiry, number) = (milliseconds(self.limits.expiry), number.to_string());
        let number = number.as_bytes();
        let arguments = [name(channel), frame.bytes(), &expiry, asker.as_bytes(), number];
        self.call(Script::GiveBack, &arguments, Expect::Nothing);
    }

    fn ask_value(&mut self, ask: &ValueAsk) {
        let ValueAsk { key, retry, name, action } = ask;
        let (session, request) = (format!("{:x}", key.session), key.request.to_string());
        // Whoever gives up a lock may still ask what came of it.
        let is_kept = !matches!(
            action,
            Action::Get | Action::Touch { .. } | Action::Extend { .. } | Action::Lock { .. }
        );
        let lasting = |lasts: &Option<Duration>| lasts.map(milliseconds).unwrap_or_default();
        let number = |number: u64| number.to_string().into_bytes();
        let (action, more): (&[u8], Vec<Vec<u8>>) = match action {
            Action::Get => (b"get", Vec::new()),
            Action::Set { bytes, lasts, when } => {
                let when = match when {
                    When::Always => b"always".to_vec(),
                    When::Absent => b"absent".to_vec(),
                    When::At(version) => number(*version),
                };
                (b"set", vec![bytes.to_vec(), lasting(lasts), when])
            }
            Action::Remove => (b"remove", Vec::new()),
            Action::Touch { lasts } => (b"touch", vec![lasting(lasts)]),
            Action::Count { by, window } => {
                (b"count", vec![by.to_string().into_bytes(), milliseconds(*window)])
            }
            Action::Lock { lasts } => (b"lock", vec![milliseconds(*lasts)]),
            Action::Extend { token, lasts } => {
                (b"extend", vec![number(*token), milliseconds(*lasts)])
            }
            Action::Unlock { token } => (b"unlock", vec![number(*token)]),
            Action::Abandon { asked } => (b"abandon", vec![key_text(*asked).into_bytes()]),
        };
        let latest = self.latest.load(Ordering::Relaxed).to_string();
        let mut arguments: Vec<&[u8]> = vec![
            name.as_bytes(),
            session.as_bytes(),
            request.as_bytes(),
            flag(*retry),
            action,
            latest.as_bytes(),
        ];
        arguments.extend(more.iter().map(Vec::as_slice));
        let kept = is_kept.then(|| format!("o:{}", key_text(*key)));
        self.call(Script::Value, &arguments, Expect::Valued { request: key.request, kept });
    }

    fn subscribe(&mut self, group: &GroupName) {
        let channel = self.channel(group);
        resp::command(&mut self.out, &[b"SUBSCRIBE", channel.as_bytes()]);
    }

    fn publish(
        &mut self,
        (group, request): (&GroupName, u64),
        key: Key,
        (frame, of): (&Frame, u64),
        before: &[u8],
    ) {
        let entry = Entry { offset: 0, key, of, is_presence: false, frame: frame.clone() };
        let (message, key_bytes) = (wire::entry_bytes(&entry), key_bytes(key));
        let arguments = [name(group), &message, &key_bytes, before];
        self.call(Script::Publish, &arguments, Expect::Published { request });
    }

    fn person(
        &mut self,
        script: Script,
        group: &GroupName,
        (connection, person): (u64, &Person),
        expect: Expect,
    ) {
        let (session, connection) = (self.name.clone(), connection.to_string());
        let (joined, left) = (presence_bytes(&person.joined), presence_bytes(&person.left));
        let (session, connection) = (session.as_bytes(), connection.as_bytes());
        let (key, grace) = (person.key.as_bytes(), milliseconds(person.grace));
        self.call(script, &[name(group), session, connection, key, &joined, &left, &grace], expect);
    }

    /// Asks for what lies behind `since`; without it for the latest.
    pub(super) fn ask_past(
        &mut self,
        group: &GroupName,
        since: Option<Position>,
        purpose: Purpose,
    ) {
        let epoch = since.map(|since| since.epoch.to_string()).unwrap_or_default();
        let offset = since.map_or(0, |since| since.offset).to_string();
        let limit = match &purpose {
            Purpose::CatchUp => usize::MAX >> 16,
            Purpose::History { limit, entries, .. } => limit - entries.len(),
        };
        let limit = limit.to_string();
        let is_own = flag(matches!(purpose, Purpose::CatchUp));
        let (epoch, offset, limit) = (epoch.as_bytes(), offset.as_bytes(), limit.as_bytes());
        let arguments = [name(group), epoch, offset, limit, is_own];
        let expect = Expect::Past { group: group.clone(), since, purpose };
        self.call(Script::Past, &arguments, expect);
    }
}

fn presence_bytes(frame: &Frame) -> Bytes {
    let key = Key::default();
    wire::entry_bytes(&Entry { offset: 0, key, of: 0, is_presence: true, frame: frame.clone() })
}

fn key_bytes(key: Key) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.session.to_le_bytes());
    bytes[8..].copy_from_slice(&key.request.to_le_bytes());
    bytes
}

/// A key as the scripts write it.
fn key_text(key: Key) -> String {
    format!("{:x}:{}", key.session, key.request)
}

fn name(name: &GroupName) -> &[u8] {
    name.as_str().as_bytes()
}

pub(super) fn flag(is_set: bool) -> &'static [u8] {
    if is_set { b"1" } else { b"0" }
}

/// Longest time Redis is told, a century: with a moment of today it is a number Lua keeps whole.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Whole ones; what is less than one is one.
pub(super) fn milliseconds(duration: Duration) -> Vec<u8> {
    duration.min(TIME_MAX).as_nanos().div_ceil(1_000_000).to_string().into_bytes()
}
