//! What needs no Redis: the URL, the protocol, the circle.

use std::collections::HashMap;

use bytes::BytesMut;
use rand::seq::SliceRandom;

use super::address::{Address, Host, Trust};
use super::resp::{self, BadReply, Value};
use super::shards::Circle;

fn hosts(names: &[&str]) -> Vec<Host> {
    Address::parse(&format!("redis://{}", names.join(","))).unwrap().hosts
}

#[test]
fn a_url_says_where_who_and_under_which_names() {
    let address = Address::parse("redis://ann:p%40ss%2F@one,two:7000,[::1]:7001/3?prefix=shop");
    let address = address.unwrap();
    let shown: Vec<String> = address.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["one:6379", "two:7000", "[::1]:7001"]);
    let login = address.login.as_ref().unwrap();
    assert_eq!((login.user.as_str(), login.password.as_str()), ("ann", "p@ss/"));
    assert_eq!((address.database, address.prefix.as_str()), (3, "shop"));
    assert_eq!(address.key_prefix(), "shop:2:");
    assert_eq!(address.channel_prefix(), "shop:2:3:");
    assert_eq!(address.tls, None);
    let plain = Address::parse("redis://localhost").unwrap();
    assert_eq!((plain.database, plain.prefix.as_str()), (0, "hulse"));
    assert!(plain.login.is_none());
    let only = Address::parse("redis://:secret@h").unwrap().login.unwrap();
    assert_eq!((only.user.as_str(), only.password.as_str()), ("default", "secret"));
    assert_eq!(Address::parse("rediss://h").unwrap().tls, Some(Trust::System));
    let own = Address::parse("rediss://h/?ca=/etc/own.pem").unwrap().tls;
    assert_eq!(own, Some(Trust::File("/etc/own.pem".into())));
}

#[test]
fn a_wrong_url_is_refused_without_showing_the_password() {
    let wrong = [
        "",
        "redis",
        "http://u:hush@h",
        "redis://",
        "redis://u:hush@",
        "redis://hush@h",
        "redis://u:hush@h,",
        "redis://u:hush@h,h",
        "redis://u:hush@h:70000",
        "redis://u:hush@h:port",
        "redis://u:hush@h/hush",
        "redis://u:hush/hush@h",
        "redis://u:hush@h?hush=1",
        "redis://u:hush@h?prefix=",
        "redis://u:hush@h?prefix=a b",
        "redis://u:hush@h?ca=/x",
        "redis://u:%ffhush@h",
        "redis://u:hush@[::1",
    ];
    for url in wrong {
        let error = Address::parse(url).unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }
    let address = Address::parse("redis://ann:hush@h").unwrap();
    assert!(!format!("{address:?}").contains("hush"), "{address:?}");
}

#[test]
fn names_are_shared_out_evenly_whatever_the_order_of_the_hosts() {
    let names: Vec<String> = (0..30_000).map(|i| format!("room-{i}")).collect();
    let mut three = hosts(&["a", "b", "c"]);
    let circle = Circle::new(&three);
    let mut shares = [0; 3];
    let mut place = HashMap::new();
    for name in &names {
        let shard = circle.shard(name);
        shares[shard] += 1;
        place.insert(name, three[shard].clone());
    }
    assert!(shares.iter().all(|share| (7_000..13_000).contains(share)), "{shares:?}");
    three.shuffle(&mut rand::rng());
    let circle = Circle::new(&three);
    assert!(names.iter().all(|name| place[name] == three[circle.shard(name)]));
    let four = hosts(&["a", "b", "c", "d"]);
    let circle = Circle::new(&four);
    let moved: Vec<&String> =
        names.iter().filter(|name| four[circle.shard(name)] != place[name]).collect();
    assert!(moved.len() < 11_000, "{} moved", moved.len());
    assert!(moved.iter().all(|name| four[circle.shard(name)].name == "d"), "only to the new one");
}

#[test]
fn replies_are_read_whole_wherever_they_are_cut() {
    let input =
        b"+OK\r\n:-7\r\n$5\r\na\r\nb\0\r\n$-1\r\n_\r\n-ERR no\r\n*2\r\n:1\r\n*1\r\n$0\r\n\r\n\
        >3\r\n+message\r\n$1\r\nc\r\n$1\r\nx\r\n%1\r\n+k\r\n+v\r\n\
        #t\r\n,1.5\r\n*-1\r\n*0\r\n!3\r\nERR\r\n";
    let text = |text: &'static str| Value::Bytes(text.into());
    let expected = [
        text("OK"),
        Value::Integer(-7),
        text("a\r\nb\0"),
        Value::Null,
        Value::Null,
        Value::Error("ERR no".into()),
        Value::List(vec![Value::Integer(1), Value::List(vec![text("")])]),
        Value::Push(vec![text("message"), text("c"), text("x")]),
        Value::List(vec![text("k"), text("v")]),
        Value::Integer(1),
        text("1.5"),
        Value::Null,
        Value::List(vec![]),
        Value::Error("ERR".into()),
    ];
    for piece in 1..input.len() {
        let mut bytes = BytesMut::new();
        let mut read = Vec::new();
        for piece in input.chunks(piece) {
            bytes.extend_from_slice(piece);
            while let Some(value) = resp::next(&mut bytes).unwrap() {
                read.push(value);
            }
        }
        assert_eq!(read, expected, "in pieces of {piece}");
        assert!(bytes.is_empty());
    }
}

#[test]
fn what_is_no_reply_is_refused_before_anything_is_set_aside() {
    let deep = "*1\r\n".repeat(20);
    let long = "x".repeat(20_000);
    for bad in [
        "HTTP/1.1 400\r\n",
        "$99999999999\r\n",
        "$999999999\r\n",
        "$x\r\n",
        "*-2\r\n",
        "*99999999\r\n",
        "%900000\r\n",
        "+no carriage return\n",
        &deep,
        &long,
    ] {
        let mut bytes = BytesMut::from(bad);
        assert_eq!(resp::next(&mut bytes), Err(BadReply), "{bad:.30}");
    }
}

#[test]
fn a_command_is_a_list_of_its_parts_as_they_are() {
    let mut out = BytesMut::new();
    resp::command(&mut out, &[b"SET", b"a\r\nb", b""]);
    assert_eq!(&out[..], b"*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n");
}

#[tokio::test]
async fn nothing_shown_of_a_layer_holds_its_password() {
    let settings = crate::conf::Channels { send_wait_seconds: 0, ..Default::default() };
    let layer = crate::channels::Layer::redis("redis://ann:hush@127.0.0.1:1", &settings).unwrap();
    let error = layer.ready().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
    assert!(!format!("{layer:?}{error}").contains("hush"));
}
