//! What needs no site: the events and the cleaning of texts.

use super::events::{Person, clean};

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
    for event in [ann.welcome(2, 3), ann.said("hi"), ann.error("no")] {
        assert_eq!(event["user"], "ann");
        assert_eq!(event["authenticated"], true);
        assert!(event["message"].is_string() && event["channel"].is_string(), "{event}");
    }
    assert_eq!(ann.welcome(2, 3)["present"], 2);
    assert_ne!(ann.said("hi")["id"], ann.said("hi")["id"]);
}

#[test]
fn a_user_and_a_visitor_of_one_name_are_two_people() {
    let user = Person { name: "an_abc123".into(), authenticated: true };
    let visitor = Person { authenticated: false, ..user.clone() };
    assert_ne!(user.presence().key, visitor.presence().key);
}
