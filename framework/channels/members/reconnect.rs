//! What a store must hear over a new link: all this worker holds, then what was not answered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Local, Pending, Table};
use crate::channels::protocol::{Ask, Named, VERSION};
use crate::channels::values::calls::ValueAsk;

/// Messages of each group offered to a store that may have lost its memory.
const TAIL_MESSAGES_MAX: usize = 1024;
/// Bytes of them; the newest is offered however large it is.
const TAIL_BYTES_MAX: usize = 1024 * 1024;

impl Table {
    /// There is no way to the store until [`reconnected`](Self::reconnected).
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
        self.outgoing.retain(Ask::goes_back);
        self.outgoing.shrink_to_fit();
    }

    /// Everything to say over a new link. `resumed`: it is not the first one.
    pub(crate) fn reconnected(&mut self, resumed: bool) -> Vec<Ask> {
        self.reconnected_where(resumed, &|_| true)
    }

    /// The same over one of several links: what it is not about is left alone.
    pub(crate) fn reconnected_where(
        &mut self,
        resumed: bool,
        is_mine: &dyn Fn(&Ask) -> bool,
    ) -> Vec<Ask> {
        self.counted.links += 1;
        self.is_cut = false;
        // All of it is either announced below, asked again, or no longer true.
        let (held, others) =
            std::mem::take(&mut self.outgoing).into_iter().partition::<VecDeque<_>, _>(is_mine);
        self.outgoing = others;
        let mut asks = vec![Ask::Hello { version: VERSION, resumed, latest: self.latest }];
        self.groups.values_mut().for_each(Local::is_told);
        self.announce_groups(&mut asks);
        self.announce_people(&mut asks);
        if resumed {
            asks.push(Ask::Announced);
        }
        self.requests.retain(|_, pending| pending.is_wanted());
        for pending in self.requests.values() {
            asks.extend(enter_first(pending));
            asks.push(again(&pending.ask, resumed));
        }
        asks.extend(held.into_iter().filter(Ask::goes_back));
        asks.retain(is_mine);
        asks
    }

    fn announce_groups(&self, asks: &mut Vec<Ask>) {
        // In one order always, so that a simulated schedule can be replayed.
        for (group, local) in self.groups.iter().collect::<BTreeMap<_, _>>() {
            let Some(position) = local.position else { continue };
            let lineage = local.lineage.clone();
            asks.push(Ask::Announce { group: group.clone(), position, lineage });
            let (mut bytes, mut first) = (0, u64::MAX);
            let tail = local.ring.iter().rev().take(TAIL_MESSAGES_MAX).take_while(|entry| {
                let is_newest = bytes == 0;
                bytes += entry.frame.len();
                is_newest || bytes <= TAIL_BYTES_MAX
            });
            let epoch = position.epoch;
            asks.extend(tail.map(|entry| {
                first = entry.offset;
                Ask::AnnounceEntry { group: group.clone(), epoch, entry: entry.clone() }
            }));
            let names: Vec<Named> = local.ring.names(first, Duration::ZERO).collect();
            if !names.is_empty() {
                asks.push(Ask::AnnounceNames { group: group.clone(), epoch, names });
            }
        }
    }

    /// Who is present, and who is gone without the store's confirmation: the others must be told.
    fn announce_people(&self, asks: &mut Vec<Ask>) {
        for (connection, held) in self.connections.iter().collect::<BTreeMap<_, _>>() {
            for group in &held.groups {
                let member = self.groups.get(group).and_then(|l| l.members.get(connection));
                if let Some(person) = member.and_then(|member| member.person.as_deref().cloned()) {
                    let (group, connection) = (group.clone(), *connection);
                    asks.push(Ask::AnnouncePerson { group, connection, person });
                }
            }
        }
        for pending in self.requests.values() {
            if let (Ask::Leave { group, connection, .. }, Some(person)) =
                (&pending.ask, pending.person.clone())
                && pending.was_counted
            {
                let (group, connection) = (group.clone(), *connection);
                asks.push(Ask::AnnouncePerson { group, connection, person });
            }
        }
    }
}

/// Who gave up entering before it was answered perhaps never entered: it does so now, so that who
/// enters meanwhile with the same key is not taken for one the others know of.
fn enter_first(pending: &Pending) -> Option<Ask> {
    let Ask::Leave { group, connection, .. } = &pending.ask else { return None };
    let person = pending.person.clone().filter(|_| !pending.was_counted)?;
    // Nobody waits for an answer.
    Some(Ask::Enter { request: 0, group: group.clone(), connection: *connection, person })
}

/// The same request, marked as one that may have arrived before.
fn again(ask: &Ask, retry: bool) -> Ask {
    let mut ask = ask.clone();
    match &mut ask {
        Ask::Publish { retry: is_retry, .. }
        | Ask::PublishLatest { retry: is_retry, .. }
        | Ask::Send { retry: is_retry, .. }
        | Ask::Value(ValueAsk { retry: is_retry, .. }) => *is_retry = retry,
        _ => {}
    }
    if let Ask::Channel(ask) = &mut ask {
        ask.again(retry);
    }
    ask
}
