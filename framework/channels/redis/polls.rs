//! Who takes part in a group: all workers that hear of it are asked, and each names its own.
//!
//! Invariant: a worker that dies before it has answered is not waited for. After a while all are
//! asked anew, and by then Redis knows that it is gone; answers of an earlier round do not count.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Ear;
use super::conversation::Conversation;
use super::expect::Expect;
use super::replies::counted;
use super::scripts::Script;
use crate::channels::groups::GroupTell;
use crate::channels::protocol::Tell;
use crate::channels::{GroupName, MEMBERS_MAX};

/// Polls under way; of more the oldest get no answer.
const POLLS_MAX: usize = 1024;
/// How long the first round waits for answers before there is another; each has twice as long as
/// the one before it, for a Redis that is far away.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often that doubles.
const DOUBLINGS_MAX: u64 = 3;
/// Rounds of a poll: longer than anybody waits for its answer.
const ROUNDS_MAX: u64 = 64;

#[derive(Debug)]
pub(super) struct Poll {
    group: GroupName,
    round: u64,
    begun: Instant,
    /// How many workers are asked, once it is known.
    workers: Option<u64>,
    answers: u64,
    names: Vec<GroupName>,
}

impl Poll {
    fn new(group: GroupName, round: u64) -> Self {
        Self { group, round, begun: Instant::now(), workers: None, answers: 0, names: Vec::new() }
    }

    fn is_late(&self) -> bool {
        let patience = PATIENCE * (1 << self.round.min(DOUBLINGS_MAX));
        self.workers.is_some() && self.begun.elapsed() > patience
    }
}

impl Conversation {
    pub(super) fn begin_poll(&mut self, request: u64, group: &GroupName) {
        self.polls.insert(request, Poll::new(group.clone(), 0));
        if self.polls.len() > POLLS_MAX {
            self.polls.pop_first();
        }
        self.ask_round(request);
    }

    fn ask_round(&mut self, request: u64) {
        let Some(poll) = self.polls.get(&request) else { return };
        // Whoever answers gives the number back as it is.
        let asker = format!("{}:{}", self.name, request * ROUNDS_MAX + poll.round);
        let group = poll.group.clone();
        let arguments = [group.as_str().as_bytes(), asker.as_bytes()];
        self.call(Script::Members, &arguments, Expect::Members { request });
    }

    /// Begins another round where somebody does not answer.
    pub(super) fn look_at_polls(&mut self) {
        let late = self.polls.iter().filter(|(_, poll)| poll.is_late());
        let late: Vec<u64> = late.map(|(request, _)| *request).collect();
        for request in late {
            let Some(poll) = self.polls.remove(&request) else { continue };
            // Nobody waits for it any more.
            if poll.round + 1 < ROUNDS_MAX {
                self.polls.insert(request, Poll::new(poll.group, poll.round + 1));
                self.ask_round(request);
            }
        }
    }

    /// So many workers are asked.
    pub(super) fn polled(&mut self, request: u64, workers: u64, ear: &Ear<'_>) {
        if let Some(poll) = self.polls.get_mut(&request) {
            poll.workers = Some(workers);
        }
        self.end_poll(request, ear);
    }

    /// One of them answers.
    pub(super) fn told_members(&mut self, payload: Bytes, ear: &Ear<'_>) -> Option<()> {
        let (number, names) = counted(payload)?;
        let (request, round) = (number / ROUNDS_MAX, number % ROUNDS_MAX);
        if let Some(poll) = self.polls.get_mut(&request).filter(|poll| poll.round == round) {
            poll.answers += 1;
            poll.names.extend(names);
            poll.names.truncate(MEMBERS_MAX);
        }
        self.end_poll(request, ear);
        Some(())
    }

    /// Answers if everybody has counted.
    fn end_poll(&mut self, request: u64, ear: &Ear<'_>) {
        let is_over = |poll: &Poll| poll.workers.is_some_and(|workers| poll.answers >= workers);
        if self.polls.get(&request).is_some_and(is_over)
            && let Some(mut poll) = self.polls.remove(&request)
        {
            poll.names.sort();
            let names = poll.names;
            ear.tell(Tell::Group(GroupTell::Members { request, names }));
        }
    }

    /// Somebody asks which connections take part in a group.
    pub(super) fn count(&mut self, group: &str, asker: &Bytes, ear: &Ear<'_>) -> Option<()> {
        let (session, number) = std::str::from_utf8(asker).ok()?.split_once(':')?;
        let names = ear.names_in(&GroupName::new(group).ok()?);
        let names: Vec<&str> = names.iter().map(GroupName::as_str).collect();
        let names = names.join(" ");
        let arguments = [session.as_bytes(), number.as_bytes(), names.as_bytes()];
        self.call(Script::Counted, &arguments, Expect::Nothing);
        Some(())
    }
}
