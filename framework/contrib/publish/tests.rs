//! What is read out of a body, and whose a token is.

use http::StatusCode;

use super::message::{Batch, Refused, read};
use super::{Publish, Token, settings};
use crate::conf::{Secret, Settings};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn token(name: &str, token: &str) -> Token {
    let groups = vec!["live*".to_owned(), "room-?".to_owned()];
    Token { name: name.to_owned(), token: Secret::new(token), groups }
}

fn take(body: &str) -> Result<Batch, Refused> {
    let mut settings = Settings::default();
    settings.channels.message_bytes_max = 20;
    let publish = Publish { batch_max: 2, ..Publish::default() };
    read(body.as_bytes(), &token("cron", TOKEN), &publish, &settings)
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    let texts: Vec<String> = take(body)
        .unwrap()
        .messages
        .iter()
        .map(|outgoing| format!("{} {}", outgoing.group, outgoing.message.text().unwrap()))
        .collect();
    assert_eq!(texts, expected, "{body}");
}

#[track_caller]
fn refused(body: &str, status: u16, words: &str) {
    let Refused(of, said) = take(body).unwrap_err();
    assert_eq!(of, StatusCode::from_u16(status).unwrap(), "{body}: {said}");
    assert!(said.contains(words), "{body}: {said}");
}

#[test]
fn a_message_is_text_or_any_json_as_it_is_written() {
    check(r#"{"group": "live", "message": "hi"}"#, &["live hi"]);
    check(r#"{"group": "live", "data": {"b": 1, "a": 2.50}}"#, &[r#"live {"b": 1, "a": 2.50}"#]);
    check(r#"{"group": "live", "data": null}"#, &["live null"]);
    check(r#"{"group": "room-4", "data": "x"}"#, &[r#"room-4 "x""#]);
    check(
        r#" [{"group": "live", "data": 1}, {"group": "live2", "message": ""}]"#,
        &["live 1", "live2 "],
    );
    assert!(take(r#"[{"group": "live", "data": 1}]"#).unwrap().is_list);
}

#[test]
fn what_cannot_be_sent_is_refused_with_the_reason() {
    for body in ["", "{", "[", "7", "null", r#"{"group": "live"} x"#, "\u{0}"] {
        refused(body, 422, "malformed");
    }
    refused(r#"{"data": 1}"#, 422, "missing field `group`");
    refused(r#"{"group": "live", "data": 1, "tos": 1}"#, 422, "unknown field `tos`");
    refused(r#"{"group": "live", "message": 7}"#, 422, "expected a string");
    refused(r#"{"group": "live"}"#, 422, "either message or data");
    refused(r#"{"group": "live", "data": 1, "message": "x"}"#, 422, "either message or data");
    refused(r#"{"group": "live", "data": 1, "key": ""}"#, 422, "1 to 200 bytes");
    refused(r#"{"group": "a b", "data": 1}"#, 422, "bad group name");
    refused(r#"{"group": "room-42", "data": 1}"#, 403, "may not send to group room-42");
    refused(r#"{"group": "live", "message": "more than twenty bytes"}"#, 413, "at most 20");
    refused("[]", 422, "1 to 2 messages");
    let three = [r#"{"group": "live", "data": 1}"#; 3].join(",");
    refused(&format!("[{three}]"), 422, "1 to 2 messages");
    refused(
        r#"[{"group": "live", "data": 1}, {"group": "other", "data": 1}]"#,
        403,
        "message 1: this token",
    );
}

#[test]
fn a_token_is_known_as_it_is_and_never_if_it_is_short() {
    let tokens =
        vec![token("old", TOKEN), token("new", &TOKEN.replace('0', "z")), token("bad", "")];
    let publish = Publish { tokens, ..Publish::default() };
    assert_eq!(publish.sender(TOKEN).unwrap().name, "old");
    assert_eq!(publish.sender(&TOKEN.replace('0', "z")).unwrap().name, "new");
    for wrong in ["", &TOKEN[1..], &TOKEN.to_uppercase(), &format!("{TOKEN} ")] {
        assert!(publish.sender(wrong).is_none(), "{wrong:?}");
    }
    let ids: Vec<&str> = settings::checks(&publish).iter().map(|check| check.id).collect();
    assert_eq!(ids, ["publish.E001"]);
    assert!(!format!("{publish:?}").contains(TOKEN), "a token shows itself");
}
