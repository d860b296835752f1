//! One client's streams, whatever it reads them over.
//!
//! Invariants:
//! - A connection is in a group under one name at most.
//! - While a join is answered, nothing of its group reaches the client; what came meanwhile follows
//!   the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::frames::{Refusal, Said, Sent, Why};
use super::once::Turn;
use super::order::Order;
use super::stream::presence;
use super::table::Table;
use super::{Sender, Stream, frames};
use crate::channels::{Connection, Delivery, Envelope, Frame, GroupName, Policy, Position};
use crate::contrib::{auth, sessions};
use crate::error::Result;
use crate::http::{Request, mark};

/// Streams of one connection.
pub(super) const STREAMS_MAX: usize = 100;
/// How often a group's latest messages are read again because it ran away meanwhile.
const HISTORY_ATTEMPTS_MAX: usize = 3;
/// What a newcomer is given of a group's latest messages at most, bytes; the last one in any case.
const HISTORY_BYTES_MAX: usize = 1024 * 1024;
/// How many messages are looked through for those of the application, presence among them.
const HISTORY_LOOKED_THROUGH_MAX: usize = 100_000;

/// A client and the streams it has joined.
#[derive(Debug)]
pub(super) struct Visit {
    table: Arc<Table>,
    request: Request,
    pub(super) joined: BTreeMap<String, GroupName>,
    /// What could not be joined at the moment.
    pub(super) failed: BTreeSet<String>,
    /// How long it counts as present after it left.
    present_for: Duration,
    /// How the frames end that tell its own coming.
    arrivals: Vec<String>,
    /// What it says it is, so that its keys are known again.
    pub(super) client: Option<String>,
    /// What it is if it says nothing and has no session: a connection like no other.
    pub(super) number: u128,
    /// Its sends that it has to say again.
    pub(super) order: Order,
}

/// What a client is told that has joined.
#[derive(Debug)]
pub(super) struct Welcome {
    /// The frame that says so.
    pub(super) joined: String,
    /// Frames that follow it.
    pub(super) history: Vec<String>,
    /// It has missed nothing.
    pub(super) recovered: bool,
}

impl Visit {
    pub(super) fn new(table: Arc<Table>, request: Request) -> Self {
        Self {
            table,
            request,
            joined: BTreeMap::new(),
            failed: BTreeSet::new(),
            present_for: Duration::ZERO,
            arrivals: Vec::new(),
            client: None,
            number: rand::random(),
            order: Order::default(),
        }
    }

    /// Who comes and goes with every question stays present between two of them.
    pub(super) fn present_for(self, lasts: Duration) -> Self {
        Self { present_for: lasts, ..self }
    }

    /// Whether a frame says that this client itself has come.
    pub(super) fn is_own_arrival(&self, frame: &str) -> bool {
        self.arrivals.iter().any(|end| frame.ends_with(end))
    }

    /// Its connection ends with what lets it in: to be called before anything is joined.
    ///
    /// # Errors
    /// It has ended, or nobody can be asked.
    pub(super) async fn admit(&self, connection: &Connection) -> Result<(), Refusal> {
        mark(&self.request, connection).await.map_err(|error| Refusal::of(&error, "admitting to"))
    }

    /// Asks for everything it has joined again: what its visitor may do has changed, perhaps. What
    /// it is told of that.
    pub(super) async fn ask_again(&mut self, connection: &Connection) -> Vec<String> {
        let mut frames = Vec::new();
        let joined: Vec<_> = self.joined.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
        let request = self.afresh();
        for (stream, group) in joined {
            let refusal = match self.ask_for(&request, &stream).await {
                Ok(answer) if answer.group == group.as_str() => continue,
                Ok(_) => Refusal::new(Why::Denied).stream(&stream),
                Err(refusal) => refusal,
            };
            self.leave(connection, &stream);
            if refusal.is_final() {
                frames.push(frames::left(&stream));
            } else {
                self.failed.insert(stream);
            }
            frames.push(refusal.text());
        }
        frames
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// What to say to a frame of the client.
    pub(super) async fn hear(&mut self, connection: &Connection, text: &str) -> Vec<String> {
        let answer = match frames::read(text) {
            Ok(said) => self.answer(connection, said).await,
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| vec![refusal.text()])
    }

    async fn answer(
        &mut self,
        connection: &Connection,
        said: Said,
    ) -> Result<Vec<String>, Refusal> {
        match said {
            Said::Hello(client) => {
                self.client = Some(client);
                Ok(Vec::new())
            }
            Said::Join { stream, at } => {
                let welcome = self.join(connection, &stream, at.as_deref()).await?;
                let mut frames = vec![welcome.joined];
                frames.extend(welcome.history);
                Ok(frames)
            }
            Said::Leave(stream) => {
                self.order.forget(&stream);
                self.leave(connection, &stream);
                Ok(vec![frames::left(&stream)])
            }
            Said::Ping => Ok(vec![frames::pong()]),
            Said::Send(sent) => {
                let was_in = self.joined.contains_key(&sent.stream);
                let said = self.send_joined(connection, &sent).await;
                let is_out = was_in && !self.joined.contains_key(&sent.stream);
                let mut frames = vec![said.unwrap_or_else(|refusal| refusal.text())];
                frames.extend(is_out.then(|| frames::left(&sent.stream)));
                Ok(frames)
            }
        }
    }

    /// Joins `stream`, again if it has joined it already.
    pub(super) async fn join(
        &mut self,
        connection: &Connection,
        stream: &str,
        at: Option<&str>,
    ) -> Result<Welcome, Refusal> {
        self.leave(connection, stream);
        let joined = self.join_anew(connection, stream, at).await;
        if joined.as_ref().is_err_and(|refusal| !refusal.is_final())
            && self.failed.len() < STREAMS_MAX
        {
            self.failed.insert(stream.to_owned());
        }
        joined
    }

    async fn join_anew(
        &mut self,
        connection: &Connection,
        stream: &str,
        at: Option<&str>,
    ) -> Result<Welcome, Refusal> {
        if self.joined.len() >= STREAMS_MAX {
            return Err(Refusal::new(Why::TooMany).stream(stream));
        }
        let answer = self.ask(stream).await?;
        let group = group_of(&answer).map_err(|refusal| refusal.stream(stream))?;
        if self.joined.values().any(|known| *known == group) {
            return Err(Refusal::new(Why::Taken).stream(stream));
        }
        let (request, present_for) = (&self.request, self.present_for);
        let arrival = Arrival { connection, request, stream, group: &group, present_for };
        let own = answer.presence.as_ref().filter(|_| !present_for.is_zero());
        let own = own.map(|(key, data)| presence(key, data).joined);
        match arrival.welcome(answer, at).await {
            Ok(welcome) => {
                let own = own.as_ref().and_then(|message| message.text());
                self.arrivals.extend(own.map(|text| format!("\"presence\":{text}}}")));
                self.joined.insert(stream.to_owned(), group);
                Ok(welcome)
            }
            Err(error) => {
                connection.leave(&group);
                Err(Refusal::of(&error, "joining").stream(stream))
            }
        }
    }

    fn leave(&mut self, connection: &Connection, stream: &str) {
        self.failed.remove(stream);
        if let Some(group) = self.joined.remove(stream) {
            connection.leave(&group);
        }
    }

    /// A send over a connection, in its turn.
    async fn send_joined(
        &mut self,
        connection: &Connection,
        sent: &Sent,
    ) -> Result<String, Refusal> {
        self.order.admit(sent)?;
        let said = self.send_permitted(connection, sent).await;
        self.order.note(sent, said.as_ref().err());
        said
    }

    /// Only to what it has joined. Who may not join any more is out.
    async fn send_permitted(
        &mut self,
        connection: &Connection,
        sent: &Sent,
    ) -> Result<String, Refusal> {
        let refuse = |refusal: Refusal| refusal.key(sent.key.as_deref());
        let Some(group) = self.joined.get(&sent.stream) else {
            let is_failed = self.failed.contains(&sent.stream);
            let why = if is_failed { Why::Unavailable } else { Why::Denied };
            return Err(refuse(Refusal::new(why).stream(&sent.stream)));
        };
        match self.ask(&sent.stream).await {
            Ok(stream) if stream.group == group.as_str() => self.send(stream, sent).await,
            asked => {
                if asked.as_ref().err().is_none_or(|refusal| refusal.is_final()) {
                    self.leave(connection, &sent.stream);
                }
                let refusal = asked.err().unwrap_or_else(|| Refusal::new(Why::Denied));
                Err(refuse(refusal.stream(&sent.stream)))
            }
        }
    }

    /// A send by itself, in its turn: whoever may join may send.
    pub(super) async fn send_alone(&mut self, sent: &Sent) -> Result<String, Refusal> {
        self.order.admit(sent)?;
        let said = match self.ask(&sent.stream).await {
            Ok(stream) => self.send(stream, sent).await,
            Err(refusal) => Err(refusal.key(sent.key.as_deref())),
        };
        self.order.note(sent, said.as_ref().err());
        said
    }

    async fn send(&self, stream: Stream, sent: &Sent) -> Result<String, Refusal> {
        let refuse = |refusal: Refusal| refusal.stream(&sent.stream).key(sent.key.as_deref());
        let group = group_of(&stream).map_err(refuse)?;
        let Some(on_send) = stream.on_send else { return Err(refuse(Refusal::new(Why::Denied))) };
        let key = self.key(sent, &group);
        let request = self.afresh();
        if let Some(throttle) = &stream.throttle {
            let admitted = throttle.admit(&request).await;
            admitted.map_err(|error| refuse(Refusal::of(&error, "throttling sends to")))?;
        }
        let mut claim = match Turn::take(self.request.site(), key.as_deref()).await {
            Ok(Turn::Mine(claim)) => claim,
            Ok(Turn::Done(at)) => return Ok(frames::sent(sent, at)),
            Ok(Turn::UnderWay) => return Err(refuse(Refusal::new(Why::Unavailable))),
            Err(error) => return Err(refuse(Refusal::of(&error, "sending to"))),
        };
        let sender = Sender { request, group, key: key.clone(), done: Arc::default() };
        let handled = claim.hold(on_send(sender.clone(), sent.data.clone())).await;
        if let Err(error) = handled {
            claim.give_back().await;
            return Err(refuse(Refusal::of(&error, "sending to")));
        }
        claim.done(sender.last()).await;
        Ok(frames::sent(sent, sender.last()))
    }

    /// Asks the site what `stream` is for this client, as it is now.
    pub(super) async fn ask(&self, stream: &str) -> Result<Stream, Refusal> {
        self.ask_for(&self.afresh(), stream).await
    }

    /// The request with its session and user to be read again, once for all who use it.
    pub(super) fn afresh(&self) -> Request {
        auth::afresh(&self.request)
    }

    /// As [`ask`](Self::ask), for who `request` says.
    pub(super) async fn ask_for(&self, request: &Request, stream: &str) -> Result<Stream, Refusal> {
        let Some(found) = self.table.find(stream) else {
            return Err(Refusal::new(Why::Unknown).stream(stream));
        };
        let asked = match auth::may_pass(request).await {
            Ok(()) => found.ask(request.clone()).await,
            Err(error) => Err(error),
        };
        asked.map_err(|error| Refusal::of(&error, "asking for").stream(stream))
    }

    /// The name of a send for ever. A client's key counts among its own only: those of its session
    /// or ticket, and of the secret it made up.
    fn key(&self, sent: &Sent, group: &GroupName) -> Option<String> {
        let key = sent.key.as_ref()?;
        let client = sent.client.as_deref().or(self.client.as_deref()).unwrap_or_default();
        let who = sessions::id_of(&self.request).unwrap_or_default();
        let who = match who.is_empty() && client.is_empty() {
            true => format!("connection {:032x}", self.number),
            false => who,
        };
        let text = json!([who, client, group.as_str(), key]).to_string();
        GroupName::hashed("send", &text).ok().map(|name| name.to_string())
    }
}

/// A client on its way into a group.
struct Arrival<'a> {
    connection: &'a Connection,
    request: &'a Request,
    stream: &'a str,
    group: &'a GroupName,
    present_for: Duration,
}

impl Arrival<'_> {
    async fn welcome(&self, stream: Stream, at: Option<&str>) -> Result<Welcome> {
        let Self { connection, group, .. } = *self;
        let since = at.and_then(|text| text.parse::<Position>().ok());
        let mut came = connection.join_at(group, since, stream.policy).await?;
        let mut history = Vec::new();
        if !came.recovered && stream.history > 0 {
            (came.position, history) = self.latest(stream.history, stream.policy).await?;
        }
        let envelope = Envelope::new(self.stream);
        let frames = history
            .iter()
            .map(|old: &Delivery| envelope.text(old.position, "data", &Frame::new(&old.message)));
        let history = frames.collect();
        connection.address(group, envelope);
        let mut frame = json!({});
        if let Some((key, data)) = &stream.presence {
            frame["present"] = self.enter(key, data).await?;
        }
        if let Some(snapshot) = stream.snapshot.filter(|_| !came.recovered) {
            frame["snapshot"] = snapshot().await?;
        }
        let joined = joined(self.stream, came.position, came.recovered, &frame);
        Ok(Welcome { joined, history, recovered: came.recovered })
    }

    /// The group's latest messages, what they begin behind, and the connection right after them.
    async fn latest(&self, max: usize, policy: Policy) -> Result<(Position, Vec<Delivery>)> {
        let Self { connection, request, group, .. } = *self;
        let mut latest = (Position::default(), Vec::new());
        for _ in 0..HISTORY_ATTEMPTS_MAX {
            let (top, messages) = said(request, group, max).await?;
            // Anew: who takes part goes on from where it is.
            connection.leave(group);
            let came = connection.join_at(group, Some(top), policy).await?;
            let first = messages.first().map_or(top, |message| message.position);
            let offset = first.offset.saturating_sub(u64::from(!messages.is_empty()));
            latest = (Position { offset, ..first }, messages);
            if came.recovered {
                break;
            }
        }
        Ok(latest)
    }

    /// Counts the client as present; who is there, itself included.
    async fn enter(&self, key: &str, data: &Value) -> Result<Value> {
        let own = presence(key, data);
        let entered = self.connection.enter_lasting(self.group, &own, self.present_for).await?;
        let texts = entered.roster.iter().filter_map(|message| message.text());
        let others = texts.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let mut present: Vec<Value> = others.map(|mut who| who["joined"].take()).collect();
        present.push(json!({ "key": key, "data": data }));
        present.sort_by(|a, b| a["key"].as_str().cmp(&b["key"].as_str()));
        Ok(present.into())
    }
}

/// Where the group's order ends, and the last of what was said there: at most `max`, without who
/// came and went.
async fn said(
    request: &Request,
    group: &GroupName,
    max: usize,
) -> Result<(Position, Vec<Delivery>)> {
    let mut look = max;
    loop {
        let history = request.layer().history(group, None, look).await?;
        let is_all = history.messages.len() < look || look >= HISTORY_LOOKED_THROUGH_MAX;
        let mut messages = history.messages;
        messages.retain(|message| !message.is_presence);
        if is_all || messages.len() >= max {
            let mut bytes = 0;
            let sizes = messages.iter().rev().take(max).map(|old| old.message.len());
            let fits = sizes.take_while(|size| {
                bytes += size;
                bytes <= HISTORY_BYTES_MAX
            });
            let count = fits.count().max(1).min(messages.len());
            messages.drain(..messages.len() - count);
            return Ok((history.top, messages));
        }
        look = look.saturating_mul(8);
    }
}

/// `{"joined": ..}`, with the place second, where [`frames::place`] looks for it.
fn joined(stream: &str, at: Position, recovered: bool, more: &Value) -> String {
    let mut text = format!("{{\"joined\":{},\"at\":\"{at}\"", Value::from(stream));
    text.push_str(&format!(",\"recovered\":{recovered}"));
    for (name, value) in more.as_object().into_iter().flatten() {
        text.push_str(&format!(",\"{name}\":{value}"));
    }
    text.push('}');
    text
}

fn group_of(stream: &Stream) -> Result<GroupName, Refusal> {
    GroupName::new(&stream.group).map_err(|error| Refusal::of(&error, "naming the group of"))
}
