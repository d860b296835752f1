//! A client's streams go on in another worker, after a reload.
//!
//! Flow: what it has joined, and what it says it is, go along with its connection, which brings the
//! groups and who is present → the handler of each stream is asked again → who may not any more is
//! out; a stream whose messages are lost begins anew, as if it had just been joined; of the others
//! the client notices nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::frames;
use super::order::Order;
use super::visit::Visit;
use crate::channels::{Connection, Envelope, GroupName};
use crate::error::{Error, Result};
use crate::sockets::Handoff;

/// What the old worker and the new one must agree on.
const VERSION: u32 = 1;

/// A [`Visit`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    /// Streams, and their groups.
    joined: BTreeMap<String, String>,
    failed: BTreeSet<String>,
    client: Option<String>,
    /// In hexadecimal: JSON has no numbers as large.
    number: String,
    /// Sends of each stream that it has to say again.
    order: BTreeMap<String, VecDeque<String>>,
}

/// What the next worker needs; `None`: the client has said nothing yet.
pub(super) fn handoff(visit: Option<&Visit>) -> Handoff {
    let joined = |visit: &Visit| {
        visit.joined.iter().map(|(stream, group)| (stream.clone(), group.to_string())).collect()
    };
    let carried = visit.map(|visit| Carried {
        joined: joined(visit),
        failed: visit.failed.clone(),
        client: visit.client.clone(),
        number: format!("{:x}", visit.number),
        order: visit.order.keys(),
    });
    Handoff::new(VERSION, &carried).through_gaps()
}

/// Goes on with the visit of another worker, in the place of the new one; what its client is to be
/// told.
pub(super) async fn go_on(
    mut visit: Visit,
    connection: &Connection,
    handoff: &Handoff,
) -> Result<Option<(Visit, Vec<String>)>> {
    let Some(carried) = handoff.state::<Option<Carried>>(VERSION)? else { return Ok(None) };
    visit.failed = carried.failed;
    visit.client = carried.client;
    visit.number = u128::from_str_radix(&carried.number, 16)?;
    visit.order = Order::with_keys(carried.order);
    let (mut told, mut anew) = (Vec::new(), Vec::new());
    // They are asked one after the other, of one reading of session and user.
    let request = visit.afresh();
    for (stream, name) in carried.joined {
        let group = GroupName::new(&name)?;
        match visit.ask_for(&request, &stream).await {
            Ok(answer) if answer.group == name && !handoff.gaps().contains(&name) => {
                connection.address(&group, Envelope::new(&stream));
                visit.joined.insert(stream, group);
            }
            Ok(_) => {
                connection.leave(&group);
                anew.push(stream);
            }
            Err(refusal) if refusal.is_final() => {
                connection.leave(&group);
                told.push(frames::left(&stream));
            }
            // It comes back, and is asked then.
            Err(refusal) => {
                let words = format!("{stream}: {:?} at the moment", refusal.why);
                return Err(Error::new(words));
            }
        }
    }
    // Those that stay are in by now: none of these gets into a group that is another one's.
    for stream in anew {
        match visit.join(connection, &stream, None).await {
            Ok(welcome) => {
                told.push(welcome.joined);
                told.extend(welcome.history);
            }
            Err(refusal) => told.push(refusal.text()),
        }
    }
    Ok(Some((visit, told)))
}
