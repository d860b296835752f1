//! Clients that are dismissed: what is published behind the answer to a dismissal reaches none of
//! them, whatever is cut, killed and slow meanwhile.

use tokio::sync::oneshot;

use super::World;
use crate::channels::dismiss::{Dismissal, Mark};
use crate::channels::members::Reply;
use crate::channels::protocol::{Ask, Key};
use crate::channels::{Frame, Message};

/// Different marks.
const MARKS: usize = 3;

/// What makes a client one that can be dismissed.
pub(super) struct Watched {
    /// Its own of all clients.
    serial: u64,
    /// Kept so that the requests stay wanted.
    _subscribed: Vec<oneshot::Receiver<Reply>>,
    mark: Option<usize>,
    /// The first message it must not get.
    forbidden: u64,
}

/// One that was asked for.
pub(super) struct Asked {
    answer: oneshot::Receiver<Reply>,
    /// Who had the mark then.
    about: Vec<u64>,
}

impl Watched {
    pub(super) fn is_allowed(&self, text: &str) -> bool {
        let number = text.strip_prefix("message:").and_then(|number| number.parse::<u64>().ok());
        number.is_none_or(|number| number < self.forbidden)
    }
}

impl World {
    /// Some new clients want to be ones that can be dismissed.
    pub(super) fn watch(&mut self, index: usize, id: u64) -> Watched {
        if !self.chance.one_in(8) {
            return Watched {
                serial: 0,
                _subscribed: Vec::new(),
                mark: Some(MARKS),
                forbidden: u64::MAX,
            };
        }
        let table = &mut self.workers[index].end.table;
        let missing = table.watch(id).expect("it is connected");
        let subscribe = |group| {
            let make = |key: Key| Ask::Subscribe { request: key.request, group };
            table.request(make).1
        };
        let subscribed = missing.into_iter().map(subscribe).collect();
        self.clients += 1;
        Watched { serial: self.clients, _subscribed: subscribed, mark: None, forbidden: u64::MAX }
    }

    /// Clients that can be, are marked.
    pub(super) fn mark_some(&mut self, index: usize) {
        let mark = self.chance.below(MARKS);
        let worker = &mut self.workers[index];
        let Some(seen) = worker.end.table.seen() else { return };
        for client in worker.clients.iter_mut().filter(|client| client.watched.mark.is_none()) {
            client.watched.mark = Some(mark);
            worker.end.table.mark(client.id, &[mark_of(mark)], &seen);
        }
    }

    pub(super) fn dismiss(&mut self, index: usize) {
        let mark = self.chance.below(MARKS);
        let dismissal = match self.chance.one_in(2) {
            true => Dismissal::close(mark_of(mark)),
            false => Dismissal::ask_again([mark_of(mark)]),
        };
        let message = Message::from(serde_json::to_string(&dismissal).unwrap());
        let clients = self.workers.iter().flat_map(|worker| &worker.clients);
        let about = clients.filter(|client| client.watched.mark == Some(mark));
        let about = about.map(|client| client.watched.serial).collect();
        let table = &mut self.workers[index].end.table;
        let group = table.dismissal_groups().remove(0);
        let frame = Frame::new(&message);
        let (_, answer) = table.request(|key| Ask::Publish { key, retry: false, group, frame });
        self.dismissals.push(Asked { answer, about });
    }

    /// Those that are answered count from now on.
    pub(super) fn hear_dismissed(&mut self) {
        let first = self.messages + 1;
        let Self { dismissals, workers, dismissed, .. } = self;
        dismissals.retain_mut(|asked| match asked.answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            // Its worker was killed: nobody was told anything.
            Err(oneshot::error::TryRecvError::Closed) => false,
            Ok(_) => {
                let clients = workers.iter_mut().flat_map(|worker| &mut worker.clients);
                for client in clients.filter(|c| asked.about.contains(&c.watched.serial)) {
                    client.watched.forbidden = client.watched.forbidden.min(first);
                    *dismissed += 1;
                }
                false
            }
        });
    }

    /// Whether a client is gone because of a dismissal. Who is in doubt goes if there was one.
    pub(super) fn has_gone(&mut self, index: usize, at: usize) -> bool {
        let worker = &mut self.workers[index];
        let (id, watched) = (worker.clients[at].id, &worker.clients[at].watched);
        let table = &mut worker.end.table;
        if let Some(doubt) = table.doubt_of(id) {
            let is_asked = self.dismissals.iter().any(|one| one.about.contains(&watched.serial));
            match watched.forbidden == u64::MAX && !is_asked {
                true => table.settle(id, doubt),
                false => table.disconnect(id),
            }
        }
        if table.is_connected(id) {
            return false;
        }
        worker.clients.swap_remove(at);
        true
    }
}

fn mark_of(number: usize) -> Mark {
    Mark::new(&format!("mark {number}"))
}
