//! What browsers say: one JSON object a frame.

use serde_json::Value;

use super::events::Refusal;

/// A command of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The id of the room it is about; `None` for what cannot be one.
    pub(crate) room: Option<i64>,
    pub(crate) action: Action,
}

/// What is to be done with the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Join,
    Leave,
    Send(String),
}

impl Command {
    /// Reads a frame whole, or not at all.
    pub(crate) fn read(frame: &str) -> Result<Self, Refusal> {
        let frame: Value = serde_json::from_str(frame).map_err(|_| Refusal::CommandInvalid)?;
        let action = match frame["command"].as_str() {
            Some("join") => Action::Join,
            Some("leave") => Action::Leave,
            Some("send") => Action::Send(text(&frame["message"])?),
            _ => return Err(Refusal::CommandInvalid),
        };
        // `3` and `"3"` are one room.
        let room = match &frame["room"] {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => return Err(Refusal::CommandInvalid),
        };
        Ok(Self { room, action })
    }
}

/// Something to say.
fn text(message: &Value) -> Result<String, Refusal> {
    match message.as_str().map(str::trim) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Refusal::CommandInvalid),
    }
}
