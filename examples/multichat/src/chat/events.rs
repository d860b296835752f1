//! What browsers are told: one JSON object a frame.

use hulse::channels::Presence;
use hulse::contrib::auth::CurrentUser;
use serde_json::{Value, json};

/// What kind of message it is. The page also knows 1 (warning), 2 (alert) and 3 (muted), for what a
/// program sends to a room's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Message = 0,
    Enter = 4,
    Leave = 5,
}

/// Why a command was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UserHasToLogin,
    RoomInvalid,
    RoomAccessDenied,
    /// No JSON object with a command, a room and whatever else it needs.
    CommandInvalid,
    MessageTooLong,
}

impl Refusal {
    pub(crate) fn event(self) -> Value {
        let code = match self {
            Self::UserHasToLogin => "USER_HAS_TO_LOGIN",
            Self::RoomInvalid => "ROOM_INVALID",
            Self::RoomAccessDenied => "ROOM_ACCESS_DENIED",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::MessageTooLong => "MESSAGE_TOO_LONG",
        };
        json!({ "error": code })
    }
}

/// The member is in the room.
pub(crate) fn joined(room: i64, title: &str) -> Value {
    json!({ "join": room.to_string(), "title": title })
}

/// The member is out of the room.
pub(crate) fn left(room: i64) -> Value {
    json!({ "leave": room.to_string() })
}

/// Something for everybody in the room.
pub(crate) fn told(room: i64, username: &str, message: Option<&str>, kind: Kind) -> Value {
    json!({
        "room": room.to_string(),
        "username": username,
        "message": message,
        "msg_type": kind as u8,
    })
}

/// A member in a room, however many connections there are: what the others are told when the first
/// one enters and when the last one is gone.
pub(crate) fn presence(room: i64, user: &CurrentUser) -> Presence {
    Presence {
        key: user.id.to_string(),
        joined: told(room, &user.username, None, Kind::Enter).into(),
        left: told(room, &user.username, None, Kind::Leave).into(),
    }
}
