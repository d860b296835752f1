//! What needs no site: how a command is read.

use super::commands::{Action, Command};
use super::events::Refusal;

#[track_caller]
fn check(frame: &str, room: Option<i64>, action: Action) {
    assert_eq!(Command::read(frame), Ok(Command { room, action }), "{frame}");
}

#[track_caller]
fn check_invalid(frame: &str) {
    assert_eq!(Command::read(frame), Err(Refusal::CommandInvalid), "{frame}");
}

#[test]
fn a_command_is_read() {
    check(r#"{"command": "join", "room": 3}"#, Some(3), Action::Join);
    check(r#"{"command": "leave", "room": 3, "more": []}"#, Some(3), Action::Leave);
    let hello = || Action::Send("hello".to_owned());
    check(r#"{"command": "send", "room": 3, "message": " hello\n"}"#, Some(3), hello());
}

#[test]
fn a_room_is_a_number_or_a_text_of_one() {
    check(r#"{"command": "join", "room": "3"}"#, Some(3), Action::Join);
    check(r#"{"command": "join", "room": " 3 "}"#, Some(3), Action::Join);
    check(r#"{"command": "join", "room": -1}"#, Some(-1), Action::Join);
    check(r#"{"command": "join", "room": 3.5}"#, None, Action::Join);
    check(r#"{"command": "join", "room": "lobby"}"#, None, Action::Join);
    check(r#"{"command": "join", "room": 99999999999999999999}"#, None, Action::Join);
}

#[test]
fn anything_else_is_invalid() {
    for frame in [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        r#"{"command": "join"}"#,
        r#"{"command": "join", "room": null}"#,
        r#"{"command": "join", "room": [3]}"#,
        r#"{"command": "dance", "room": 3}"#,
        r#"{"command": 1, "room": 3}"#,
        r#"{"room": 3}"#,
        r#"{"command": "send", "room": 3}"#,
        r#"{"command": "send", "room": 3, "message": 7}"#,
        r#"{"command": "send", "room": 3, "message": " \n"}"#,
    ] {
        check_invalid(frame);
    }
}
