//! What is said: plain messages, named ones, the latest of something; and what members may miss.

use super::World;
use crate::channels::protocol::{Ask, Key};
use crate::channels::{Frame, Message, Policy};

/// Names that messages are sent with, again and again.
const NAMES: usize = 12;

impl World {
    pub(super) fn publish(&mut self, index: usize) {
        self.messages += 1;
        let text = format!("message:{}", self.messages);
        let frame = Frame::new(&Message::from(text.as_str()));
        let group = self.group();
        let worker = &mut self.workers[index];
        let make = |key: Key| Ask::Publish { key, retry: false, group, frame };
        let (_, reply) = worker.end.table.request(make);
        worker.published.push((text, reply));
    }

    /// Says something named, which may have been said before.
    pub(super) fn publish_once(&mut self, index: usize) {
        let text = format!("once:{}", self.chance.below(NAMES));
        let frame = Frame::new(&Message::from(text.as_str()));
        let (group, named) = (self.group(), Key::named(&text).unwrap());
        let worker = &mut self.workers[index];
        let make = |key: Key| Ask::PublishOnce { request: key.request, key: named, group, frame };
        let (_, reply) = worker.end.table.request(make);
        worker.published.push((text, reply));
    }

    /// Says what something is now.
    pub(super) fn publish_latest(&mut self, index: usize) {
        self.messages += 1;
        let thing = format!("thing{}", self.chance.below(3));
        let frame = Frame::new(&Message::from(format!("latest:{thing}:{}", self.messages)));
        let (group, of) = (self.group(), Key::named(&thing).unwrap().session.max(1));
        let table = &mut self.workers[index].end.table;
        let make = |key: Key| Ask::PublishLatest { key, retry: false, group, of, frame };
        let (_, reply) = table.request(make);
        self.workers[index].published.push((thing, reply));
    }

    pub(super) fn policy(&mut self) -> Policy {
        match self.chance.below(8) {
            0 => Policy::DropOldest,
            1 => Policy::DropNewest,
            2 | 3 => Policy::Latest,
            _ => Policy::Close,
        }
    }
}
