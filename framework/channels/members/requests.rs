//! What was asked of the store and is not answered yet.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Missed, Table};
use crate::channels::calls::{ChannelAsk, ChannelTell};
use crate::channels::frame::Frame;
use crate::channels::groups::{Counted, GroupAsk, GroupTell};
use crate::channels::protocol::{Ask, Key, Person, Tell};
use crate::channels::values::calls::{Action, Outcome, ValueAsk};
use crate::channels::{ChannelStatistics, GroupName, GroupStatistics, Position};

/// So many are withdrawn at least before it is looked for what of them was not said yet.
const WITHDRAWN_MAX: usize = 64;

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Published(Position),
    Entered {
        first: bool,
        roster: Vec<Frame>,
        history: Vec<Frame>,
    },
    Full,
    Missed(Missed),
    Present(Vec<Counted>),
    Members(Vec<GroupName>),
    GroupNumbers(GroupStatistics),
    Valued(Outcome),
    /// The name of a lock and the token of its taking.
    Locked(Box<str>, u64),
    /// A message of a channel, its number, and who waits for an answer to it.
    Received {
        channel: GroupName,
        number: u64,
        frame: Frame,
        asker: Option<Key>,
    },
    Answered(Option<Frame>),
    Inspected(ChannelStatistics),
    /// The store will not do it, and why.
    #[cfg(feature = "redis")]
    Refused(String),
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) ask: Ask,
    /// Gone when nobody waits any more; `None` if nobody ever did.
    pub(super) reply: Option<oneshot::Sender<Reply>>,
    /// Whose presence a [`Ask::Leave`] ends: a store that lost its memory must hear of it first.
    pub(super) person: Option<Person>,
    /// Whether the store has said that it counts the person; else perhaps nobody heard of it.
    pub(super) was_counted: bool,
    /// Held until the store has the message.
    permit: Option<OwnedSemaphorePermit>,
}

impl Pending {
    /// Whether somebody still wants it done.
    pub(super) fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.is_closed())
    }
}

impl Table {
    /// Asks for what `make` makes of a new key; the number of the request, and where its answer
    /// will be.
    pub(crate) fn request(
        &mut self,
        make: impl FnOnce(Key) -> Ask,
    ) -> (u64, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (self.ask(make, Some(reply), None), answer)
    }

    /// Holds `permit` until the store has the message of this request.
    pub(crate) fn hold(&mut self, request: u64, permit: OwnedSemaphorePermit) {
        if let Some(pending) = self.requests.get_mut(&request) {
            pending.permit = Some(permit);
        }
    }

    /// Whether the store has a message of this worker's that it has not answered.
    pub(crate) fn is_publishing(&self) -> bool {
        // The latest first: readers of channels may wait for ever.
        let is_publish = |ask: &Ask| {
            matches!(ask, Ask::Publish { .. } | Ask::PublishOnce { .. } | Ask::PublishLatest { .. })
        };
        self.requests.values().rev().any(|pending| is_publish(&pending.ask))
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn withdraw(&mut self, request: u64) {
        match self.requests.remove(&request).map(|pending| pending.ask) {
            Some(Ask::Receive { channel, .. }) => {
                self.say(Ask::Cancel { request, channel });
            }
            Some(Ask::Enter { group, connection, person, .. }) => {
                self.ask_to_leave(connection, &group, Some(person));
                if let Some(pending) = self.requests.get_mut(&self.request_last) {
                    pending.was_counted = false;
                }
            }
            Some(Ask::Value(ValueAsk {
                key: asked, name, action: Action::Lock { .. }, ..
            })) => {
                self.order_value(name, Action::Abandon { asked });
            }
            Some(Ask::Channel(ChannelAsk::Call { key, .. } | ChannelAsk::Await { key })) => {
                self.say(Ask::Channel(ChannelAsk::Abandon { key }));
            }
            _ => {}
        }
        self.withdrawn += 1;
        if self.withdrawn >= WITHDRAWN_MAX && 2 * self.withdrawn >= self.outgoing.len() {
            self.withdrawn = 0;
            let Self { outgoing, requests, .. } = self;
            outgoing.retain(|ask| is_wanted(requests, ask));
        }
    }

    /// The store must hear this, if there is a way to it.
    pub(crate) fn say(&mut self, ask: Ask) {
        if !self.is_cut || ask.goes_back() {
            self.outgoing.push_back(ask);
        }
    }

    /// The next the store must hear, without messages whose senders gave up.
    pub(crate) fn next_ask(&mut self) -> Option<Ask> {
        loop {
            let ask = self.outgoing.pop_front()?;
            if is_wanted(&self.requests, &ask) {
                return Some(ask);
            }
        }
    }

    /// Asks for what nobody waits for; it is repeated over a new link all the same.
    pub(crate) fn order(&mut self, make: impl FnOnce(Key) -> Ask) {
        self.ask(make, None, None);
    }

    fn order_value(&mut self, name: Box<str>, action: Action) {
        self.order(|key| Ask::Value(ValueAsk { key, retry: false, name, action }));
    }

    /// Whether the question with this number has its place in the channel.
    pub(crate) fn is_called(&self, request: u64) -> bool {
        let asked = self.requests.get(&request).map(|pending| &pending.ask);
        matches!(asked, Some(Ask::Channel(ChannelAsk::Await { .. })))
    }

    pub(super) fn ask_to_leave(&mut self, connection: u64, group: &GroupName, of: Option<Person>) {
        let group = group.clone();
        self.ask(|key| Ask::Leave { request: key.request, group, connection }, None, of);
    }

    fn ask(
        &mut self,
        make: impl FnOnce(Key) -> Ask,
        reply: Option<oneshot::Sender<Reply>>,
        person: Option<Person>,
    ) -> u64 {
        self.request_last += 1;
        let request = self.request_last;
        let ask = make(Key { session: self.session, request });
        self.say(ask.clone());
        let pending = Pending { ask, reply, person, was_counted: true, permit: None };
        self.requests.insert(request, pending);
        request
    }

    /// What the store says; what it must be told at once, if it asks.
    pub(crate) fn tell(&mut self, now: Duration, tell: Tell) -> Option<Ask> {
        match tell {
            Tell::Deliver { group, epoch, entry } => self.deliver(now, &group, epoch, entry),
            Tell::Gap { group, position } => self.gap(&group, position),
            Tell::Names { group, epoch, names } => self.learn(now, &group, epoch, names),
            Tell::Renew { group, position, lineage } => self.renew(&group, position, lineage),
            Tell::Group(GroupTell::Count { poll, group }) => {
                let names = self.names_in(&group);
                return Some(Ask::Group(GroupAsk::Counted { poll, names }));
            }
            Tell::Group(tell) => self.tell_group(tell),
            Tell::Valued { request, outcome } => self.valued(request, outcome),
            Tell::Subscribed { request, group, position, lineage } => {
                self.latest = self.latest.max(position.epoch);
                if self.groups.get(&group).is_none_or(|local| request > local.asked_before) {
                    self.subscribed(&group, position, lineage);
                }
                self.answer(request, Reply::Done);
            }
            Tell::Published { request, position } => {
                self.latest = self.latest.max(position.epoch);
                self.answer(request, Reply::Published(position));
            }
            Tell::Done { request } => self.answer(request, Reply::Done),
            Tell::Full { request } => self.answer(request, Reply::Full),
            Tell::Received { request, channel, number, frame } => {
                self.received(request, Reply::Received { channel, number, frame, asker: None });
            }
            Tell::Channel(tell) => self.tell_channel(tell),
            Tell::Entered { request, position, first, roster, history } => {
                self.told_entered(request, position);
                self.answer(request, Reply::Entered { first, roster, history });
            }
            Tell::History { request, top, recovered, entries } => {
                self.answer(request, Reply::Missed(Missed { top, recovered, entries }));
            }
        }
        None
    }

    /// The store will not do it.
    #[cfg(feature = "redis")]
    pub(crate) fn refused(&mut self, request: u64, words: String) {
        self.answer(request, Reply::Refused(words));
    }

    fn answer(&mut self, request: u64, reply: Reply) {
        if let Some(pending) = self.requests.remove(&request)
            && let Some(waiting) = pending.reply
        {
            // The one who asked may have given up meanwhile.
            if let Err(reply) = waiting.send(reply) {
                self.give_back(reply);
            }
        }
    }

    /// Whether a presence has ended that the store may not know of.
    #[cfg(test)]
    pub(crate) fn owes_goodbyes(&self) -> bool {
        self.requests.values().any(|pending| pending.person.is_some())
    }

    fn tell_group(&mut self, tell: GroupTell) {
        match tell {
            GroupTell::Present { request, people } => {
                self.answer(request, Reply::Present(people));
            }
            GroupTell::Members { request, names } => self.answer(request, Reply::Members(names)),
            GroupTell::Inspected { request, numbers } => {
                self.answer(request, Reply::GroupNumbers(numbers));
            }
            GroupTell::Flushed => self.flushed(),
            GroupTell::Count { .. } => {}
        }
    }

    fn valued(&mut self, request: u64, outcome: Outcome) {
        let asked = self.requests.get(&request).map(|pending| &pending.ask);
        let reply = match (outcome, asked) {
            (Outcome::Locked { token }, Some(Ask::Value(ask))) => {
                self.latest = self.latest.max(token);
                Reply::Locked(ask.name.clone(), token)
            }
            (outcome, _) => {
                if let Outcome::Done { version } | Outcome::Found { version, .. } = &outcome {
                    self.latest = self.latest.max(*version);
                }
                Reply::Valued(outcome)
            }
        };
        self.answer(request, reply);
    }

    /// Notes the presence with its connection; ends it at once if that is gone meanwhile.
    fn told_entered(&mut self, request: u64, position: Position) {
        let Some(pending) = self.requests.get(&request) else { return };
        let Ask::Enter { group, connection, person, .. } = pending.ask.clone() else { return };
        let person = Person { since: position, ..person };
        if !self.entered(connection, &group, position, person.clone()) {
            self.ask_to_leave(connection, &group, Some(person));
        }
    }

    fn tell_channel(&mut self, tell: ChannelTell) {
        match tell {
            ChannelTell::Called { request } => {
                if let Some(pending) = self.requests.get_mut(&request)
                    && let Ask::Channel(ChannelAsk::Call { key, .. }) = pending.ask
                {
                    pending.permit = None;
                    // Over a new link it is not asked again.
                    pending.ask = Ask::Channel(ChannelAsk::Await { key });
                }
            }
            ChannelTell::Taken { request, channel, number, frame, asker } => {
                let asker = Some(asker);
                self.received(request, Reply::Received { channel, number, frame, asker });
            }
            ChannelTell::Answered { request, frame } => {
                self.answer(request, Reply::Answered(frame));
            }
            ChannelTell::Inspected { request, numbers } => {
                self.answer(request, Reply::Inspected(numbers));
            }
        }
    }

    /// A message of a channel; back to the store if nobody waits for it any more.
    fn received(&mut self, request: u64, reply: Reply) {
        let waiting = self.requests.remove(&request).and_then(|pending| pending.reply);
        let unread = match waiting {
            None => Some(reply),
            Some(waiting) => waiting.send(reply).err(),
        };
        if let Some(reply) = unread {
            self.give_back(reply);
        }
    }

    /// The answer came to somebody who had just given up; a channel's message is for another, as is
    /// a lock.
    pub(crate) fn give_back(&mut self, reply: Reply) {
        match reply {
            Reply::Received { channel, number, frame, asker } => {
                self.say(match asker {
                    None => Ask::Return { channel, number, frame },
                    Some(asker) => {
                        Ask::Channel(ChannelAsk::Return { channel, number, frame, asker })
                    }
                });
            }
            Reply::Locked(name, token) => self.order_value(name, Action::Unlock { token }),
            _ => {}
        }
    }
}

/// Whether the store should still hear `ask`: no message whose sender was told that it failed.
fn is_wanted(requests: &BTreeMap<u64, Pending>, ask: &Ask) -> bool {
    let request = match ask {
        Ask::Publish { key, .. }
        | Ask::PublishLatest { key, .. }
        | Ask::Send { key, .. }
        | Ask::Channel(ChannelAsk::SendAfter { key, .. }) => key.request,
        Ask::PublishOnce { request, .. } => *request,
        _ => return true,
    };
    requests.contains_key(&request)
}
