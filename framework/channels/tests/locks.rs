//! A lock that workers take from each other, while links are cut and stores die: one holds it at a
//! time, and each taking has a larger token than all before.

use std::time::Duration;

use tokio::sync::oneshot;

use super::World;
use crate::channels::members::Reply;
use crate::channels::protocol::{Ask, Key};
use crate::channels::store::WorkerId;
use crate::channels::values::calls::{Action, ValueAsk};

/// Longer than a schedule.
const LASTS: Duration = Duration::from_secs(100_000);

#[derive(Default)]
pub(super) struct Locks {
    /// Not answered yet, by worker.
    asked: Vec<(usize, oneshot::Receiver<Reply>)>,
    held: Option<Held>,
    /// The largest token.
    last: u64,
    /// How often it was taken.
    pub(super) taken: u64,
}

struct Held {
    worker: usize,
    /// It is free when this ends.
    link: Option<WorkerId>,
    token: u64,
}

impl World {
    /// Who holds the lock lets it go; others ask for it.
    pub(super) fn lock(&mut self, index: usize) {
        self.hear_locked();
        let is_asking = self.locks.asked.iter().any(|(worker, _)| *worker == index);
        let action = match self.locks.held.take_if(|held| held.worker == index) {
            Some(held) => Action::Unlock { token: held.token },
            None if is_asking => return,
            None => Action::Lock { lasts: LASTS },
        };
        let is_lock = matches!(action, Action::Lock { .. });
        let make = |key: Key| ValueAsk { key, retry: false, name: "lock".into(), action };
        let (_, answer) = self.workers[index].end.table.request(|key| Ask::Value(make(key)));
        if is_lock {
            self.locks.asked.push((index, answer));
        }
    }

    /// A worker is killed, with what it holds.
    pub(super) fn forget_locks(&mut self, index: usize) {
        self.hear_locked();
        self.locks.asked.retain(|(worker, _)| *worker != index);
        self.locks.held.take_if(|held| held.worker == index);
    }

    /// Before a link ends: what was heard over it was held by it.
    pub(super) fn hear_locked(&mut self) {
        let mut taken = Vec::new();
        self.locks.asked.retain_mut(|(worker, answer)| match answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            Ok(Reply::Locked(_, token)) => {
                taken.push((token, *worker));
                false
            }
            _ => false,
        });
        taken.sort_unstable();
        for (token, worker) in taken {
            let Locks { held, last, .. } = &self.locks;
            assert!(token > *last, "seed {}: token {token} after {last}", self.seed);
            let holds = |held: &Held| {
                held.link.is_some() && self.workers[held.worker].end.link == held.link
            };
            let is_free = !held.as_ref().is_some_and(holds);
            assert!(is_free, "seed {}: two hold the lock, {worker} takes it", self.seed);
            let link = self.workers[worker].end.link;
            self.locks.held = Some(Held { worker, link, token });
            self.locks.last = token;
            self.locks.taken += 1;
        }
    }
}
