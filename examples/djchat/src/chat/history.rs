//! What a connection is shown of what was said before it came.
//!
//! Flow: a newcomer is shown the latest messages. A page that comes back names the last message it
//! has (`?after=<its id>`) and is shown all that came behind it; if that is too long ago, the
//! latest again, and that something is missing.
//!
//! Invariant: what is shown ends where the connection's own part in the room begins, so nothing is
//! lost or doubled between the two.

use hulse::Result;
use hulse::channels::GroupName;
use hulse::sockets::{Message, Socket};
use serde::Deserialize;

use super::Settings;
use super::consumers::ROOM;

/// Messages somebody may have missed; the page shows 500.
const MISSED_MESSAGES_MAX: usize = 1000;

/// Bytes of them: half of what may wait for a connection before its handshake is answered.
const MISSED_BYTES_MAX: usize = 512 * 1024;

/// What is shown, oldest first.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) messages: Vec<Message>,
    /// To one that comes back: whether it is all that was missed.
    pub(crate) recovered: Option<bool>,
}

/// The message's id, which is all that counts here.
#[derive(Deserialize)]
struct Said {
    id: String,
}

/// What this connection is shown. `latest` is what the room had when it entered.
pub(crate) async fn shown(socket: &Socket, mut latest: Vec<Message>) -> Result<Shown> {
    let after = socket.request().query("after");
    if let Some(after) = &after
        && let Some(messages) = missed(socket, &latest, after).await?
    {
        return Ok(Shown { messages, recovered: Some(true) });
    }
    let count = socket.settings().section::<Settings>().history_messages;
    latest.drain(..latest.len().saturating_sub(count));
    Ok(Shown { messages: latest, recovered: after.map(|_| false) })
}

/// All that was said behind the message `after`, up to the end of `latest`; `None` if that is no
/// longer known or too much.
async fn missed(socket: &Socket, latest: &[Message], after: &str) -> Result<Option<Vec<Message>>> {
    if let Some(messages) = behind(latest, after) {
        return Ok(Some(messages.to_vec()));
    }
    let Some(first) = latest.first() else { return Ok(None) };
    let history = socket.layer().history(&GroupName::new(ROOM)?, None, MISSED_MESSAGES_MAX).await?;
    let said = history.messages.into_iter().filter(|told| !told.is_presence);
    // From here on `latest` knows better: this was read later, and has what is to come besides.
    let earlier: Vec<_> =
        said.map(|told| told.message).take_while(|message| message != first).collect();
    let Some(messages) = behind(&earlier, after) else { return Ok(None) };
    let messages = [messages, latest].concat();
    let bytes: usize = messages.iter().map(Message::len).sum();
    Ok((bytes <= MISSED_BYTES_MAX).then_some(messages))
}

/// What follows the message of this id.
pub(super) fn behind<'m>(messages: &'m [Message], id: &str) -> Option<&'m [Message]> {
    let is_it = |message: &Message| {
        serde_json::from_slice::<Said>(message.as_bytes()).is_ok_and(|said| said.id == id)
    };
    let at = messages.iter().rposition(is_it)?;
    Some(&messages[at + 1..])
}
