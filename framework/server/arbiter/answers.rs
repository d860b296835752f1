//! What the arbiter answers over the control socket.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::arbiter::place::Place;
use crate::server::arbiter::{Arbiter, Phase, Stop};
use crate::server::children::{Role, Running};
use crate::server::control::{Counts, Groups, Order};
use crate::server::ctl::{Answer, Request};
use crate::server::prepare::DataStore;

/// How long workers may take to tell their groups.
const GROUPS_WAIT: Duration = Duration::from_secs(2);

/// Who may wait for the groups at once; others are told to come back.
const ASKERS_MAX: usize = 16;

/// What the workers were asked, and what they have said so far.
#[derive(Debug)]
pub(in crate::server) struct Question {
    id: u64,
    asking: Vec<Answer>,
    /// The children that have not answered.
    unheard: Vec<u64>,
    members: BTreeMap<String, u64>,
    left_out: u64,
    silent: usize,
    due: Instant,
}

/// What became of WebSockets whose worker was replaced.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Moves {
    /// Another worker went on with them.
    moved: u64,
    /// They were closed with 1012.
    sent_on: u64,
}

impl Moves {
    pub(in crate::server) fn add(&mut self, counts: &Counts) {
        self.moved += counts.moved;
        self.sent_on += counts.sent_on;
    }
}

impl Question {
    /// When it is answered with what there is.
    pub(in crate::server) fn due(&self) -> Instant {
        self.due
    }
}

impl Arbiter<'_> {
    pub(in crate::server) fn asked(&mut self, request: Request, answer: Answer) {
        match request {
            Request::Ping => answer.tell(json!({ "process": std::process::id() })),
            Request::Status => answer.tell(self.status()),
            Request::Connections => answer.tell(self.connections()),
            Request::Groups => self.ask_groups(answer),
            Request::Reload => self.begin_reload(vec![answer]),
            Request::Scale { workers } => match self.scale(workers) {
                Ok(()) => answer.tell(json!({ "workers": workers })),
                Err(words) => answer.fail(words),
            },
            Request::Stop => {
                answer.tell(json!({ "process": std::process::id() }));
                self.stop(Stop::Gracefully);
            }
        }
    }

    fn status(&self) -> Value {
        let state = match self.phase {
            Phase::Starting => "starting",
            Phase::Serving if self.reload.is_some() => "reloading",
            Phase::Serving => "serving",
            Phase::Stopping(_) => "stopping",
        };
        let data_store = match self.plan.data_store {
            DataStore::Pulse => "pulse://",
            DataStore::Memory => "memory://",
            DataStore::Redis => "redis://",
        };
        let mut moves = self.moves;
        self.children().for_each(|child| moves.add(&child.counts));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process": std::process::id(),
            "state": state,
            "uptime_seconds": seconds(self.started),
            "generation": self.release.generation,
            "workers": self.workers(),
            "deaths": self.deaths,
            "sockets_moved": moves.moved,
            "sockets_sent_on": moves.sent_on,
            "data_store": data_store,
            "listening": self.plan.urls,
            "children": self.children_shown(),
        })
    }

    fn children_shown(&self) -> Vec<Value> {
        let of_place = |place: &Place| {
            let child = place.child.iter().map(|child| {
                let state = if child.is_ready { "ready" } else { "starting" };
                let mut shown = shown(place.role, place.number, child, state);
                if let Some(name) = self.service_name(place) {
                    shown["name"] = name.into();
                    shown["restarts"] = place.restarts.into();
                    shown["handled"] = child.counts.handled.into();
                    shown["mailbox"] = child.counts.waiting.into();
                }
                shown
            });
            let next = place.next.iter();
            let next = next.map(|child| shown(place.role, place.number, child, "starting"));
            child.chain(next).collect::<Vec<_>>()
        };
        let leaving = self.leaving.iter();
        let leaving =
            leaving.map(|leaving| shown(leaving.role, leaving.number, &leaving.child, "leaving"));
        self.places.iter().flat_map(of_place).chain(leaving).collect()
    }

    fn connections(&self) -> Value {
        let mut all = Counts::default();
        let mut of_children = self.children_shown();
        of_children.retain(|child| child["role"] == Role::Worker.word());
        for child in self.children() {
            all.connections += child.counts.connections;
            all.sockets += child.counts.sockets;
        }
        json!({
            "connections": all.connections,
            "sockets": all.sockets,
            "workers": of_children,
        })
    }

    /// Asks all workers; who asks while they are being asked gets the same answer.
    fn ask_groups(&mut self, answer: Answer) {
        if let Some(question) = &mut self.question {
            if question.asking.len() < ASKERS_MAX {
                question.asking.push(answer);
            } else {
                answer.fail("too many ask for the groups; try again");
            }
            return;
        }
        let id = self.nursery.number();
        let (mut unheard, mut silent) = (Vec::new(), 0);
        let places = self.places.iter().filter(|place| place.role == Role::Worker);
        let serving = places.filter_map(|place| place.child.as_ref());
        for child in serving.chain(self.leaving.iter().map(|leaving| &leaving.child)) {
            if child.is_ready {
                child.order(Order::Groups(id));
                unheard.push(child.id);
            } else {
                silent += 1;
            }
        }
        let (asking, due) = (vec![answer], Instant::now() + GROUPS_WAIT);
        let (members, left_out) = Default::default();
        self.question = Some(Question { id, asking, unheard, members, left_out, silent, due });
        self.tend_question(Instant::now());
    }

    pub(in crate::server) fn hear_groups(&mut self, child: u64, groups: &Groups) {
        let Some(question) = self.question.as_mut().filter(|q| q.id == groups.id) else { return };
        if !question.unheard.contains(&child) {
            return;
        }
        question.unheard.retain(|id| *id != child);
        question.left_out += groups.left_out;
        for (name, count) in &groups.members {
            *question.members.entry(name.clone()).or_default() += count;
        }
    }

    /// A child has ended.
    pub(in crate::server) fn hear_no_groups(&mut self, child: u64) {
        if let Some(question) = &mut self.question {
            question.unheard.retain(|id| *id != child);
        }
    }

    /// Answers when all have answered, or time is up.
    pub(in crate::server) fn tend_question(&mut self, now: Instant) {
        let is_over = |question: &mut Question| question.unheard.is_empty() || now >= question.due;
        let Some(question) = self.question.take_if(is_over) else { return };
        let groups = json!({
            "groups": question.members,
            "left_out": question.left_out,
            "silent_workers": question.silent + question.unheard.len(),
        });
        question.asking.into_iter().for_each(|answer| answer.tell(groups.clone()));
    }
}

fn shown(role: Role, number: usize, child: &Running, state: &str) -> Value {
    json!({
        "role": role.word(),
        "title": &*child.title,
        "number": number,
        "process": child.process,
        "generation": child.generation,
        "state": state,
        "age_seconds": seconds(child.started),
        "heard_seconds": seconds(child.heard),
        "connections": child.counts.connections,
        "sockets": child.counts.sockets,
        "requests": child.counts.requests,
    })
}

/// Since then, to the millisecond.
fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
