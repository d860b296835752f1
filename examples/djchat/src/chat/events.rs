//! What goes over the wire: one JSON object a frame, with four fields that never change.
//!
//! Invariants:
//! - `message`, `user`, `authenticated` and `channel` are in every event; clients written for the
//!   first djchat know nothing else. More fields may be added.
//! - A text is cleaned before anybody sees it: one line, no blank ends.

use std::time::{SystemTime, UNIX_EPOCH};

use hulse::channels::Presence;
use hulse::signing;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history::Shown;

/// Characters of a message's id: enough that two of one room never meet.
const ID_CHARACTERS: usize = 12;

/// Who speaks, as the room sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) name: String,
    /// Signed in; the page writes `@name` then.
    pub(crate) authenticated: bool,
}

impl Person {
    /// Several connections of one person are one presence: what the room is told when the first
    /// opens and when the last closes.
    pub(crate) fn presence(&self) -> Presence {
        // A signed-in visitor may have any username, also one that looks like a visitor's name.
        let kind = if self.authenticated { "user" } else { "visitor" };
        Presence {
            key: format!("{kind}:{}", self.name),
            joined: self.event("chatuser", "joined").into(),
            left: self.event("chatuser", "gone").into(),
        }
    }

    /// The first frame of a connection: who its user is, how many `joined` of others follow, and
    /// how many old messages after them; to one that comes back, whether those are all it missed.
    pub(crate) fn welcome(&self, present: usize, shown: &Shown) -> Value {
        let mut event = self.event("chatuser", "joined");
        event["present"] = present.into();
        event["history"] = shown.messages.len().into();
        if let Some(recovered) = shown.recovered {
            event["recovered"] = recovered.into();
        }
        event
    }

    /// A message for everybody. By its `id` a client that comes back knows what it has shown.
    pub(crate) fn said(&self, text: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut event = self.event("webchat", text);
        event["id"] = signing::random_string(ID_CHARACTERS).into();
        event["time"] = u64::try_from(now.as_millis()).unwrap_or_default().into();
        event
    }

    /// Something went wrong with what this person sent; only they are told.
    pub(crate) fn error(&self, words: &str) -> Value {
        self.event("error", words)
    }

    fn event(&self, channel: &str, message: &str) -> Value {
        json!({
            "message": message,
            "user": self.name,
            "authenticated": self.authenticated,
            "channel": channel,
        })
    }
}

/// The text as one line: its lines stripped, the blank ones dropped, the rest joined by a space.
pub(crate) fn clean(text: &str) -> String {
    // Where Python's `splitlines` breaks, which the first djchat used.
    let breaks = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}')
            || matches!(c, '\u{2028}' | '\u{2029}')
    };
    let lines = text.split(breaks).map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}
