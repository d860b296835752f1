//! Envelopes: a group's message as a stream's JSON frame, with the stream's name and its place.
//!
//! Invariants:
//! - One frame for each message of the group, of whatever kind: whoever counts frames counts
//!   messages.
//! - What comes out is one line of JSON, whatever was sent: text that is JSON stands in it as it
//!   is, other text as a string, bytes in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

use super::Position;
use super::frame::{Frame, put_text_header};
use super::protocol::Entry;

/// What a member's messages begin with: `{"stream":"liveblog/a","at":"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope(Box<str>);

impl Envelope {
    /// The envelope of those who know the group as `stream`.
    pub(crate) fn new(stream: &str) -> Self {
        let name = serde_json::Value::from(stream);
        Self(format!("{{\"stream\":{name},\"at\":\"").into())
    }

    /// The frame of `entry`, behind what is in `out`.
    pub(crate) fn seal(&self, epoch: u64, entry: &Entry, out: &mut BytesMut) {
        let at = Position { epoch, offset: entry.offset };
        let field = if entry.is_presence { "presence" } else { "data" };
        let text = self.text(at, field, &entry.frame);
        put_text_header(out, text.len());
        out.put_slice(text.as_bytes());
    }

    /// The text of a frame that says `frame` in `field`.
    pub(crate) fn text(&self, at: Position, field: &str, frame: &Frame) -> String {
        let payload = frame.payload();
        let head = format!("{}{}-{}\",", self.0, at.epoch, at.offset);
        let mut text = String::with_capacity(head.len() + payload.len() + 16);
        text.push_str(&head);
        match frame.is_text().then(|| std::str::from_utf8(payload)) {
            Some(Ok(payload)) => {
                text.push_str(&format!("\"{field}\":"));
                push_json(&mut text, payload);
            }
            Some(Err(_)) | None => {
                text.push_str("\"bytes\":\"");
                STANDARD.encode_string(payload, &mut text);
                text.push('"');
            }
        }
        text.push('}');
        text
    }
}

/// Puts `payload` behind `text`: as it is if it is JSON, in one line; else as a string.
fn push_json(text: &mut String, payload: &str) {
    if serde_json::from_str::<serde::de::IgnoredAny>(payload).is_err() {
        text.push_str(&serde_json::Value::from(payload).to_string());
    } else if payload.contains(['\n', '\r']) {
        // In JSON a line break as such stands between its words only.
        text.extend(payload.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    } else {
        text.push_str(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::Envelope;
    use crate::channels::protocol::{Entry, Key};
    use crate::channels::{Frame, Message, Position};

    #[track_caller]
    fn check(message: impl Into<Message>, expected: &str) {
        let frame = Frame::new(&message.into());
        let entry = Entry { offset: 5, key: Key::default(), of: 0, is_presence: false, frame };
        let envelope = Envelope::new("a/\"b\"");
        let text = envelope.text(Position { epoch: 3, offset: 5 }, "data", &entry.frame);
        assert_eq!(text, format!(r#"{{"stream":"a/\"b\"","at":"3-5",{expected}}}"#));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        let mut frame = bytes::BytesMut::new();
        envelope.seal(3, &entry, &mut frame);
        let sealed = Frame::parse(frame.freeze()).expect("one frame");
        assert_eq!(sealed.message(), Message::from(text));
    }

    #[test]
    fn whatever_is_sent_comes_out_as_one_line_of_json() {
        check(r#"{"id":1}"#, r#""data":{"id":1}"#);
        check("{\n  \"id\": 1\r\n}", r#""data":{   "id": 1  }"#);
        check("12", r#""data":12"#);
        check("hello", r#""data":"hello""#);
        check("{\"id\":1", r#""data":"{\"id\":1""#);
        check("{\"a\":\"two\nlines\"}", r#""data":"{\"a\":\"two\nlines\"}""#);
        check("1 2", r#""data":"1 2""#);
        check("", r#""data":"""#);
        check("é\u{1F600}\u{2028}", "\"data\":\"é\u{1F600}\u{2028}\"");
        check(vec![0, 255], r#""bytes":"AP8=""#);
    }

    #[test]
    fn a_long_message_is_one_frame_too() {
        let long = "x".repeat(70_000);
        check(long.as_str(), &format!(r#""data":"{long}""#));
    }

    #[test]
    fn who_came_or_went_is_no_data() {
        let frame = Frame::new(&Message::from(r#"{"left":{}}"#));
        let entry = Entry { offset: 1, key: Key::default(), of: 0, is_presence: true, frame };
        let mut sealed = bytes::BytesMut::new();
        Envelope::new("a").seal(1, &entry, &mut sealed);
        let text = Message::from(r#"{"stream":"a","at":"1-1","presence":{"left":{}}}"#);
        assert_eq!(Frame::parse(sealed.freeze()).expect("one frame").message(), text);
    }
}
