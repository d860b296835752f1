//! What a transaction has done to rows that browsers follow, told after its commit.
//!
//! Flow: how rows were and are → one touch a row → the changes each group is told (`changes`) → its
//! messages → the rows are read again, and what is stored otherwise by now is told again.
//!
//! Invariants:
//! - The last that a group is told of a row is how it is stored, in whatever order those who
//!   committed came to tell of it: nobody has done before he has seen, after his last message, what
//!   he said in it. Who commits behind that look tells of it himself.
//! - What cannot be published is not told again: its saver gets the error, and followers are behind
//!   until they join anew or the row changes again.

use std::collections::HashMap;
use std::sync::Arc;

use sea_query::Value as Key;
use serde_json::{Value, json};

use super::LiveModel;
use crate::channels::{GroupName, Message};
use crate::error::Result;
use crate::models::{Model, QuerySet};
use crate::site::{Batch, Site};

/// How often a commit's rows are told while others change them under its hands; then followers are
/// told to begin anew.
const ROUNDS_MAX: usize = 10;

/// A row at one moment, as far as it is known.
pub(super) enum Seen<M> {
    /// This piece does not say.
    Unknown,
    /// There is none.
    Nothing,
    Row(M),
}

impl<M> Seen<M> {
    pub(super) fn new(row: Option<M>) -> Self {
        row.map_or(Self::Nothing, Self::Row)
    }

    fn row(&self) -> Option<&M> {
        match self {
            Self::Row(row) => Some(row),
            Self::Unknown | Self::Nothing => None,
        }
    }

    fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

/// A row that a transaction has touched: how it was and is.
pub(super) struct Touch<M> {
    pub(super) key: Key,
    pub(super) was: Seen<M>,
    pub(super) is: Seen<M>,
}

/// Rows of one description.
type Family<M> = (Arc<LiveModel<M>>, Vec<Touch<M>>);

/// What a transaction has done to rows, by what tells of them.
pub(super) struct Touched<M>(Vec<Family<M>>);

impl<M: Model> Touched<M> {
    pub(super) fn new(live: Arc<LiveModel<M>>, touch: Touch<M>) -> Self {
        Self(vec![(live, vec![touch])])
    }
}

impl<M: Model> Batch for Touched<M> {
    fn add(&mut self, later: Self) {
        for (live, touches) in later.0 {
            match self.0.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &live)) {
                Some((_, known)) => known.extend(touches),
                None => self.0.push((live, touches)),
            }
        }
    }

    async fn run(self, site: Site) -> Result<()> {
        let mut first = Ok(());
        for (live, touches) in self.0 {
            // One that is not told keeps nobody else from it.
            first = first.and(live.tell(by_row(touches), &site).await);
        }
        first
    }
}

/// One touch a row: how it was first and is last.
fn by_row<M>(touches: Vec<Touch<M>>) -> Vec<Touch<M>> {
    let mut rows: Vec<Touch<M>> = Vec::new();
    let mut places = HashMap::new();
    for touch in touches {
        let place = *places.entry(name_of(&touch.key)).or_insert(rows.len());
        match rows.get_mut(place) {
            None => rows.push(touch),
            Some(known) => {
                if !known.was.is_known() && !known.is.is_known() {
                    known.was = touch.was;
                }
                if touch.is.is_known() {
                    known.is = touch.is;
                }
            }
        }
    }
    rows
}

/// From how the rows were told to how they are stored now. Outside the transaction, so it sees what
/// anybody has committed.
async fn as_stored<M: Model>(touches: Vec<Touch<M>>, site: &Site) -> Result<Vec<Touch<M>>> {
    let told = touches.into_iter().filter(|touch| touch.is.is_known());
    let told: Vec<(Key, Seen<M>)> = told.map(|touch| (touch.key, touch.is)).collect();
    let keys = told.iter().map(|(key, _)| key.clone()).collect();
    let mut stored: HashMap<String, M> = HashMap::new();
    for row in QuerySet::<M>::new().with_keys(site, keys).await? {
        if let Some(key) = row.key() {
            stored.insert(name_of(&key), row);
        }
    }
    let touch = |(key, was): (Key, Seen<M>)| {
        let is = Seen::new(stored.remove(&name_of(&key)));
        Touch { key, was, is }
    };
    Ok(told.into_iter().map(touch).collect())
}

/// Tells keys apart.
fn name_of(key: &Key) -> String {
    format!("{key:?}")
}

impl<M: Model> LiveModel<M> {
    /// Tells what was touched, and again what is stored otherwise by then.
    async fn tell(&self, mut touches: Vec<Touch<M>>, site: &Site) -> Result<()> {
        let mut first = Ok(());
        for _ in 0..ROUNDS_MAX {
            let changes = self.changes(&touches)?;
            if changes.is_empty() {
                return first;
            }
            for (group, changes) in changes {
                let sent = site.layer().publish(&group, message::<M>(&changes, site)).await;
                first = first.and(sent.map(drop));
            }
            touches = as_stored(touches, site).await?;
        }
        for (group, _) in self.changes(&touches)? {
            let sent = site.layer().publish(&group, begin_anew::<M>()).await;
            first = first.and(sent.map(drop));
        }
        first
    }

    /// What to tell each group, in the order in which the groups are touched.
    fn changes(&self, touches: &[Touch<M>]) -> Result<Vec<(GroupName, Vec<Value>)>> {
        let mut told: Vec<(GroupName, Vec<Value>)> = Vec::new();
        let mut tell = |group: GroupName, change: Value| match told
            .iter_mut()
            .find(|(known, _)| *known == group)
        {
            Some((_, changes)) => changes.push(change),
            None => told.push((group, vec![change])),
        };
        for touch in touches {
            // A row whose writing was not heard of is as it was.
            if !touch.is.is_known() {
                continue;
            }
            let (was, is) = (touch.was.row(), touch.is.row());
            let key = key_of(is.or(was))?;
            for audience in &self.audiences {
                let seen = |row: Option<&M>| -> Result<Option<(GroupName, Value)>> {
                    let Some(row) = row.filter(|row| (audience.rows)(row)) else { return Ok(None) };
                    let group = self.group(audience, &(self.key)(row))?;
                    Ok(Some((group, audience.shown(row)?)))
                };
                match (seen(was)?, seen(is)?) {
                    (None, None) => {}
                    (Some((before, old)), Some((after, new))) if before == after => {
                        if old != new {
                            tell(after, json!({ "change": "update", "key": key, "row": new }));
                        }
                    }
                    (before, after) => {
                        if let Some((group, _)) = before {
                            tell(group, json!({ "change": "delete", "key": key }));
                        }
                        if let Some((group, row)) = after {
                            tell(group, json!({ "change": "create", "key": key, "row": row }));
                        }
                    }
                }
            }
        }
        Ok(told)
    }
}

/// The row's key as clients are told it.
fn key_of<M: Model>(row: Option<&M>) -> Result<Value> {
    let Some(row) = row else { return Ok(Value::Null) };
    Ok(serde_json::to_value(row)?[M::meta().primary_key().name].take())
}

fn message<M: Model>(changes: &[Value], site: &Site) -> Message {
    let model = M::meta().label();
    let message = Message::from(json!({ "model": model, "changes": changes }));
    if message.len() > site.settings().channels.message_bytes_max {
        return begin_anew::<M>();
    }
    message
}

fn begin_anew<M: Model>() -> Message {
    json!({ "model": M::meta().label(), "reset": true }).into()
}
