use std::time::Duration;

use super::address::Address;
use super::backoff::{Backoff, apart};

fn check(text: &str, expected: Option<&str>) {
    let address = text.parse::<Address>().ok().map(|address| address.to_string());
    assert_eq!(address.as_deref(), expected, "{text}");
}

#[test]
fn an_address_is_a_host_and_port_or_a_socket_file() {
    check("127.0.0.1:8060", Some("127.0.0.1:8060"));
    check("localhost:0", Some("localhost:0"));
    check(":80", Some(":80"));
    check("[::1]:8000", Some("[::1]:8000"));
    check("unix:/run/site.sock", Some("unix:/run/site.sock"));
    check("unix:", None);
    check("fd:3", Some("fd:3"));
    check("fd:0", None);
    check("fd:x", None);
    check("8060", None);
    check("::1:8000", None);
    check("host:port", None);
    check("host:65536", None);
    check("host:-1", None);
    check("", None);
}

#[test]
fn the_first_death_is_replaced_at_once_and_those_after_it_ever_later() {
    let mut backoff = Backoff::default();
    let young = Duration::from_millis(50);
    let waits: Vec<u128> = (0..9).map(|_| backoff.wait(young).as_millis()).collect();
    assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 4000, 4000]);
}

#[test]
fn a_long_life_makes_the_next_death_the_first_again() {
    let mut backoff = Backoff::default();
    for _ in 0..5 {
        backoff.wait(Duration::ZERO);
    }
    assert_eq!(backoff.wait(Duration::from_secs(60)), Duration::ZERO);
}

#[test]
fn starts_of_those_who_keep_dying_are_kept_apart() {
    let now = tokio::time::Instant::now();
    let check = |wanted: u64, taken: &[u64], expected: u64| {
        let at = |ms: &u64| now + Duration::from_millis(*ms);
        let due = apart(at(&wanted), taken.iter().map(at));
        assert_eq!((due - now).as_millis(), expected.into(), "{wanted} beside {taken:?}");
    };
    check(100, &[], 100);
    check(100, &[0, 1000], 100);
    check(100, &[100], 200);
    check(100, &[300, 100, 200], 400);
    check(100, &[150, 400], 250);
    check(100, &[100, 320], 200);
    check(100, &[100, 250], 350);
    check(4000, &[100, 200, 300], 4000);
}
