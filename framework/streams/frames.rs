//! What clients say, read once at the edge; and what they are told.

use std::fmt;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::channels::Position;
use crate::error::Error;

/// Longest frame of a client, bytes.
pub(super) const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a stream, bytes.
pub(super) const NAME_BYTES_MAX: usize = 200;
/// Longest key of a send, and longest secret of a client, bytes.
const KEY_BYTES_MAX: usize = 100;
/// Shortest secret of a client, bytes: one that cannot be guessed does not fit in less.
const CLIENT_BYTES_MIN: usize = 16;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Hello(String),
    Join {
        stream: String,
        at: Option<String>,
    },
    Leave(String),
    Send(Sent),
    /// Whether it is heard.
    Ping,
}

/// Something for a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) stream: String,
    pub(super) key: Option<String>,
    pub(super) data: Value,
    /// Beside a POST: what `hello` is on a socket.
    pub(super) client: Option<String>,
}

/// Why a client does not get what it wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) why: Why,
    stream: Option<String>,
    key: Option<String>,
    /// For the person who writes the client.
    reason: Option<String>,
}

/// The words of `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Denied,
    Unknown,
    Bad,
    Taken,
    TooMany,
    /// Sent too often.
    Throttled,
    TooLarge,
    Unavailable,
    Failed,
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::Bad => "bad",
            Self::Taken => "taken",
            Self::TooMany | Self::Throttled => "too_many",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }

    /// The status of an HTTP answer that says only this.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Bad | Self::Taken | Self::TooMany => StatusCode::BAD_REQUEST,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refusal {
    pub(super) fn new(why: Why) -> Self {
        Self { why, stream: None, key: None, reason: None }
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(Why::Bad) }
    }

    /// What a client is told of an error of the site; the log is told the rest.
    pub(super) fn of(error: &Error, doing: &str) -> Self {
        let why = match error.status_code().as_u16() {
            _ if error.is_message_too_large() => Why::TooLarge,
            // The client's name of the stream is in it.
            _ if error.is_bad_group_name() => Why::Unknown,
            401 | 403 => Why::Denied,
            404 => Why::Unknown,
            413 => Why::TooLarge,
            429 => Why::Throttled,
            400..=499 => Why::Bad,
            503 => Why::Unavailable,
            _ => Why::Failed,
        };
        match why {
            Why::Failed => tracing::error!(%error, "{doing} a stream failed"),
            _ => was_refused(error, doing),
        }
        let reason = error.retry_after().map(|wait| format!("again in {} s", wait.as_secs()));
        Self { reason, ..Self::new(why) }
    }

    /// Whether asking again would be answered the same.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self.why, Why::Unavailable | Why::Failed)
    }

    pub(super) fn stream(mut self, stream: &str) -> Self {
        self.stream = Some(stream.to_owned());
        self
    }

    pub(super) fn key(mut self, key: Option<&str>) -> Self {
        self.key = key.map(ToOwned::to_owned);
        self
    }

    pub(super) fn text(&self) -> String {
        let mut frame = Map::new();
        frame.insert("error".to_owned(), self.why.word().into());
        let more = [("stream", &self.stream), ("key", &self.key), ("reason", &self.reason)];
        for (name, value) in more {
            if let Some(value) = value {
                frame.insert(name.to_owned(), value.as_str().into());
            }
        }
        Value::from(frame).to_string()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.word())
    }
}

/// Reads one frame of a client.
pub(super) fn read(text: &str) -> Result<Said, Refusal> {
    if text.len() > FRAME_BYTES_MAX {
        return Err(too_large(text));
    }
    let Ok(frame) = serde_json::from_str(text) else { return Err(Refusal::bad("this is no JSON")) };
    said(frame)
}

/// Says of a send which one it was, without reading what it held.
fn too_large(text: &str) -> Refusal {
    #[derive(Deserialize)]
    struct Name {
        send: String,
        key: String,
    }
    let refusal = Refusal::new(Why::TooLarge);
    match serde_json::from_str::<Name>(text) {
        Ok(Name { send, key }) if send.len() <= NAME_BYTES_MAX && key.len() <= KEY_BYTES_MAX => {
            refusal.stream(&send).key(Some(&key))
        }
        _ => refusal,
    }
}

/// What a frame says.
pub(super) fn said(frame: Value) -> Result<Said, Refusal> {
    let Value::Object(mut frame) = frame else {
        return Err(Refusal::bad("a frame is a JSON object"));
    };
    if let Some(stream) = frame.remove("join") {
        let stream = name(&stream)?;
        let at = match frame.remove("at") {
            None | Some(Value::Null) => None,
            Some(Value::String(at)) => Some(at),
            Some(_) => return Err(Refusal::bad("`at` is a text").stream(&stream)),
        };
        return Ok(Said::Join { stream, at });
    }
    if let Some(stream) = frame.remove("leave") {
        return name(&stream).map(Said::Leave);
    }
    if let Some(stream) = frame.remove("send") {
        return send(&stream, frame).map(Said::Send);
    }
    if let Some(client) = frame.remove("hello") {
        return secret(&client).map(Said::Hello);
    }
    if frame.contains_key("ping") {
        return Ok(Said::Ping);
    }
    Err(Refusal::bad("a frame says `join`, `leave`, `send`, `hello` or `ping`"))
}

fn send(stream: &Value, mut frame: Map<String, Value>) -> Result<Sent, Refusal> {
    let stream = name(stream)?;
    let key = match frame.remove("key") {
        None | Some(Value::Null) => None,
        Some(Value::String(key)) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Some(key),
        Some(_) => {
            let reason = format!("`key` is a text of 1 to {KEY_BYTES_MAX} bytes");
            return Err(Refusal::bad(reason).stream(&stream));
        }
    };
    let Some(data) = frame.remove("data") else {
        return Err(Refusal::bad("a send has `data`").stream(&stream).key(key.as_deref()));
    };
    let client = frame.remove("client").as_ref().map(secret).transpose();
    let client = client.map_err(|bad| bad.stream(&stream).key(key.as_deref()))?;
    Ok(Sent { stream, key, data, client })
}

/// A stream's name: some text, not too long. Whether there is such a stream is another question.
pub(super) fn name(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(name) if (1..=NAME_BYTES_MAX).contains(&name.len()) => Ok(name.clone()),
        _ => {
            let reason = format!("a stream's name is a text of 1 to {NAME_BYTES_MAX} bytes");
            Err(Refusal::bad(reason))
        }
    }
}

fn secret(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) if (CLIENT_BYTES_MIN..=KEY_BYTES_MAX).contains(&text.len()) => {
            Ok(text.clone())
        }
        _ => {
            let reason = format!(
                "a client's secret is a text of {CLIENT_BYTES_MIN} to {KEY_BYTES_MAX} bytes"
            );
            Err(Refusal::bad(reason))
        }
    }
}

/// `{"left": ..}`
pub(super) fn left(stream: &str) -> String {
    json!({ "left": stream }).to_string()
}

/// `{"pong": 1}`
pub(super) fn pong() -> String {
    json!({ "pong": 1 }).to_string()
}

/// `{"sent": ..}`
pub(super) fn sent(sent: &Sent, at: Option<Position>) -> String {
    let mut frame = json!({ "sent": sent.key, "stream": sent.stream });
    if let Some(at) = at {
        frame["at"] = at.to_string().into();
    }
    frame.to_string()
}

/// `{"drain": ..}`: when to come back, milliseconds.
pub(super) fn drain((min, max): (u64, u64)) -> String {
    json!({ "drain": { "after": [min, max] } }).to_string()
}

/// Stream and place of a frame that has a place: `{"stream":"a","at":"1-5",..` and
/// `{"joined":"a","at":"1-5",..`, as they are made here. The stream as it stands there, quoted.
pub(super) fn place(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("{\"stream\":").or_else(|| text.strip_prefix("{\"joined\":"))?;
    let mut is_escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })?;
    let (stream, rest) = rest.split_at(end + 2);
    let (at, _) = rest.strip_prefix(",\"at\":\"")?.split_once('"')?;
    Some((stream, at))
}

fn was_refused(error: &Error, doing: &str) {
    if error.is_bad_group_name() {
        // Or the site has a mistake in what it makes of the name.
        tracing::warn!(%error, "{doing} a stream was refused");
    } else {
        tracing::debug!(%error, "{doing} a stream was refused");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{FRAME_BYTES_MAX, Said, Sent, Why, place, read};

    #[track_caller]
    fn check(text: &str, expected: &Said) {
        assert_eq!(read(text).as_ref(), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, expected: Why) {
        assert_eq!(read(text).map_err(|refusal| refusal.why), Err(expected), "{text}");
    }

    fn send(key: Option<&str>, data: serde_json::Value) -> Said {
        let key = key.map(str::to_owned);
        Said::Send(Sent { stream: "a".into(), key, data, client: None })
    }

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        check(r#"{"join":"a"}"#, &Said::Join { stream: "a".into(), at: None });
        check(r#"{"join":"a","at":null}"#, &Said::Join { stream: "a".into(), at: None });
        let at = Some("1-3".to_owned());
        check(r#"{"join":"a","at":"1-3"}"#, &Said::Join { stream: "a".into(), at });
        check(r#"{"leave":"a"}"#, &Said::Leave("a".into()));
        check(r#"{"send":"a","data":null}"#, &send(None, json!(null)));
        check(r#"{"send":"a","key":"k","data":[1]}"#, &send(Some("k"), json!([1])));
        check(r#"{"hello":"0123456789abcdef"}"#, &Said::Hello("0123456789abcdef".into()));
        check(r#"{"ping":1}"#, &Said::Ping);
    }

    #[test]
    fn a_malformed_frame_is_bad() {
        for text in [
            "",
            "hello",
            "[]",
            "{}",
            "null",
            r#"{"join":1}"#,
            r#"{"join":""}"#,
            r#"{"join":"a","at":3}"#,
            r#"{"leave":null}"#,
            r#"{"send":"a"}"#,
            r#"{"send":"a","key":7,"data":1}"#,
            r#"{"send":"a","key":"","data":1}"#,
            r#"{"hello":"short"}"#,
            r#"{"joined":"a"}"#,
        ] {
            check_bad(text, Why::Bad);
        }
        check_bad(&format!(r#"{{"join":"{}"}}"#, "x".repeat(201)), Why::Bad);
        check_bad(&format!(r#"{{"send":"a","key":"{}","data":1}}"#, "k".repeat(101)), Why::Bad);
        check_bad(&"x".repeat(FRAME_BYTES_MAX + 1), Why::TooLarge);
    }

    #[test]
    fn the_place_of_a_frame_is_found_without_reading_it() {
        let check = |text, expected| assert_eq!(place(text), expected, "{text}");
        check(r#"{"stream":"a","at":"1-5","data":1}"#, Some((r#""a""#, "1-5")));
        check(r#"{"joined":"a","at":"1-5","recovered":true}"#, Some((r#""a""#, "1-5")));
        check(r#"{"stream":"a\\\"b","at":"1-5","data":1}"#, Some((r#""a\\\"b""#, "1-5")));
        check(r#"{"error":"bad"}"#, None);
        check(r#"{"left":"a"}"#, None);
    }
}
