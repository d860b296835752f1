//! What needs no site: the events and the cleaning of texts.

use hulse::sockets::Message;

use super::events::{Person, clean};
use super::history::{Shown, behind};

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(clean(text), expected, "{text:?}");
}

#[test]
fn a_text_becomes_one_line() {
    check("Hi there!", "Hi there!");
    check("  one \r\n\n  two\n", "one two");
    check("one\u{2028}two\rthree\u{85}four", "one two three four");
    check("a  b\tc", "a  b\tc");
    check("", "");
    check(" \n\t\r\n ", "");
}

#[test]
fn an_event_has_the_four_fields_and_perhaps_more() {
    let ann = Person { name: "ann".into(), authenticated: true };
    let shown = Shown { messages: vec!["{}".into(); 3], recovered: None };
    for event in [ann.welcome(2, &shown), ann.said("hi"), ann.error("no")] {
        assert_eq!(event["user"], "ann");
        assert_eq!(event["authenticated"], true);
        assert!(event["message"].is_string() && event["channel"].is_string(), "{event}");
    }
    let welcome = ann.welcome(2, &shown);
    assert_eq!((&welcome["present"], &welcome["history"]), (&2.into(), &3.into()));
    assert!(welcome.get("recovered").is_none(), "{welcome}");
    assert_eq!(ann.welcome(2, &Shown { recovered: Some(true), ..shown })["recovered"], true);
    assert_ne!(ann.said("hi")["id"], ann.said("hi")["id"]);
}

#[test]
fn a_user_and_a_visitor_of_one_name_are_two_people() {
    let user = Person { name: "an_abc123".into(), authenticated: true };
    let visitor = Person { authenticated: false, ..user.clone() };
    assert_ne!(user.presence().key, visitor.presence().key);
}

#[test]
fn what_is_behind_a_message_is_found_by_its_id() {
    let said = ["a", "b", "c"].map(|id| Message::from(format!(r#"{{"id":"{id}"}}"#)));
    let behind = |id| behind(&said, id).map(<[_]>::len);
    assert_eq!([behind("a"), behind("c"), behind("x")], [Some(2), Some(0), None]);
}
