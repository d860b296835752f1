//! What the rooms promise, line by line, in this process.

use std::time::Duration;

use hulse::contrib::auth::User;
use hulse::contrib::sessions::models::Session;
use hulse::test::{Client, SocketClient, TestSite};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::chat::{Room, Settings};
use crate::project;

/// Longest wait for what is seen from outside only.
const WAIT: Duration = Duration::from_secs(10);

/// A site with two open rooms and one for staff.
struct World {
    site: TestSite,
    lobby: i64,
    kitchen: i64,
    office: i64,
}

impl World {
    async fn new() -> Self {
        Self::of(TestSite::new(project()).await).await
    }

    async fn of(site: TestSite) -> Self {
        let lobby = room(&site, "Lobby", false).await;
        let kitchen = room(&site, "Kitchen", false).await;
        let office = room(&site, "Office", true).await;
        Self { site, lobby, kitchen, office }
    }

    /// A visitor who is signed in.
    async fn member(&self, username: &str) -> Client {
        let user = User::create_user(&self.site, username, "", None).await.expect("a new user");
        let client = self.site.client();
        client.force_login(&user).await;
        client
    }

    /// A member's connection.
    async fn socket(&self, username: &str) -> SocketClient {
        self.member(username).await.socket("/chat/stream/").await
    }

    /// A member's connection that is in the lobby.
    async fn in_lobby(&self, username: &str) -> SocketClient {
        let mut socket = self.socket(username).await;
        join(&mut socket, self.lobby).await;
        socket
    }
}

async fn room(site: &TestSite, title: &str, staff_only: bool) -> i64 {
    let room = Room { title: title.into(), staff_only, ..Room::default() };
    let room = Room::create(site, room).await.expect("a new room");
    room.id.get().expect("it was saved")
}

async fn set_staff(site: &TestSite, username: &str, is_staff: bool) {
    let user = User::objects().filter(|u| u.username().eq(username));
    let count = user.update(site, |u| u.is_staff().set(is_staff)).await.expect("an update");
    assert_eq!(count, 1);
}

async fn join(socket: &mut SocketClient, room: i64) {
    let answer = ask(socket, json!({ "command": "join", "room": room })).await;
    assert_eq!(answer["join"], room.to_string(), "{answer}");
}

async fn ask(socket: &mut SocketClient, command: Value) -> Value {
    socket.send_json(&command).await;
    socket.receive_json().await
}

async fn say(socket: &mut SocketClient, room: i64, text: &str) {
    socket.send_json(&json!({ "command": "send", "room": room, "message": text })).await;
}

fn told(room: i64, username: &str, message: Option<&str>, msg_type: u8) -> Value {
    json!({
        "room": room.to_string(), "username": username, "message": message, "msg_type": msg_type,
    })
}

#[track_caller]
fn check(actual: &Value, expected: &Value) {
    assert_eq!(actual, expected);
}

/// Nothing has come before the answer to a command that is answered in any case.
async fn hears_nothing_yet(socket: &mut SocketClient) {
    let answer = ask(socket, json!({})).await;
    check(&answer, &json!({ "error": "COMMAND_INVALID" }));
}

#[tokio::test]
async fn m1_an_anonymous_visitor_is_sent_to_the_login_page() {
    let world = World::new().await;
    let client = world.site.client();
    client.get("/").await.assert_redirects("/accounts/login/?next=/");
    client.get("/accounts/login/?next=/").await.assert_status(200).assert_contains("Sign in");
}

#[tokio::test]
async fn a_member_sees_the_rooms_by_title_and_staff_sees_theirs_too() {
    let world = World::new().await;
    let ann = world.member("ann").await;
    let page = ann.get("/").await;
    page.assert_status(200).assert_not_contains("Office");
    assert!(page.text().find("Kitchen") < page.text().find("Lobby"), "not by title");
    set_staff(&world.site, "ann", true).await;
    ann.get("/").await.assert_contains("Office");
}

#[tokio::test]
async fn m2_an_anonymous_socket_is_refused_with_403() {
    let world = World::new().await;
    let refused = world.site.client().try_socket("/chat/stream/").await;
    assert_eq!(refused.expect_err("it is refused").status(), 403);
}

#[tokio::test]
async fn m3_joining_an_open_room_is_answered_and_its_members_are_told() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    let mut bob = world.socket("bob").await;
    let answer = ask(&mut bob, json!({ "command": "join", "room": world.lobby })).await;
    check(&answer, &json!({ "join": world.lobby.to_string(), "title": "Lobby" }));
    check(&ann.receive_json().await, &told(world.lobby, "bob", None, 4));
    hears_nothing_yet(&mut bob).await;
    // Twice is answered twice, and told once.
    join(&mut bob, world.lobby).await;
    hears_nothing_yet(&mut ann).await;
}

#[tokio::test]
async fn m4_an_unknown_room_is_invalid_and_one_for_staff_denied_to_others() {
    let world = World::new().await;
    let mut ann = world.socket("ann").await;
    for room in [json!(999), json!("lobby"), json!(1.5)] {
        let answer = ask(&mut ann, json!({ "command": "join", "room": room })).await;
        check(&answer, &json!({ "error": "ROOM_INVALID" }));
    }
    let office = json!({ "command": "join", "room": world.office });
    check(&ask(&mut ann, office.clone()).await, &json!({ "error": "ROOM_ACCESS_DENIED" }));
    set_staff(&world.site, "ann", true).await;
    assert_eq!(ask(&mut ann, office).await["title"], "Office");
}

#[tokio::test]
async fn m5_who_is_not_in_a_room_cannot_send_to_it() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    let mut bob = world.socket("bob").await;
    say(&mut bob, world.lobby, "let me in").await;
    check(&bob.receive_json().await, &json!({ "error": "ROOM_ACCESS_DENIED" }));
    hears_nothing_yet(&mut ann).await;
    // Whether there is such a room is not told to who is not in it.
    say(&mut bob, 999, "anybody?").await;
    check(&bob.receive_json().await, &json!({ "error": "ROOM_ACCESS_DENIED" }));
}

#[tokio::test]
async fn m6_a_message_comes_to_every_member_and_to_the_sender() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    let mut bob = world.in_lobby("bob").await;
    check(&ann.receive_json().await, &told(world.lobby, "bob", None, 4));
    let text = "<b>Hello</b> & goodbye";
    say(&mut bob, world.lobby, text).await;
    for socket in [&mut ann, &mut bob] {
        check(&socket.receive_json().await, &told(world.lobby, "bob", Some(text), 0));
    }
}

#[tokio::test]
async fn m7_one_socket_carries_several_rooms_each_message_with_its_room() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    join(&mut ann, world.kitchen).await;
    let mut bob = world.in_lobby("bob").await;
    let mut cat = world.socket("cat").await;
    join(&mut cat, world.kitchen).await;
    check(&ann.receive_json().await, &told(world.lobby, "bob", None, 4));
    check(&ann.receive_json().await, &told(world.kitchen, "cat", None, 4));
    say(&mut bob, world.lobby, "from the lobby").await;
    let said = told(world.lobby, "bob", Some("from the lobby"), 0);
    check(&ann.receive_json().await, &said);
    say(&mut cat, world.kitchen, "from the kitchen").await;
    check(&ann.receive_json().await, &told(world.kitchen, "cat", Some("from the kitchen"), 0));
    // Each of the others hears of one room only.
    check(&bob.receive_json().await, &said);
    hears_nothing_yet(&mut bob).await;
}

#[tokio::test]
async fn m8_who_leaves_is_answered_the_others_are_told_and_nothing_more_comes() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    let mut bob = world.in_lobby("bob").await;
    check(&ann.receive_json().await, &told(world.lobby, "bob", None, 4));
    let answer = ask(&mut bob, json!({ "command": "leave", "room": world.lobby })).await;
    check(&answer, &json!({ "leave": world.lobby.to_string() }));
    check(&ann.receive_json().await, &told(world.lobby, "bob", None, 5));
    say(&mut ann, world.lobby, "are you still there?").await;
    assert_eq!(ann.receive_json::<Value>().await["message"], "are you still there?");
    hears_nothing_yet(&mut bob).await;
    say(&mut bob, world.lobby, "no").await;
    check(&bob.receive_json().await, &json!({ "error": "ROOM_ACCESS_DENIED" }));
}

#[tokio::test]
async fn m9_the_notices_can_be_switched_off() {
    let settings = Settings { enter_leave_notices: false, ..Settings::default() };
    let site = TestSite::with(project(), |all| {
        all.set_section(settings).expect("good settings");
    });
    let world = World::of(site.await).await;
    let mut ann = world.in_lobby("ann").await;
    let mut bob = world.in_lobby("bob").await;
    say(&mut bob, world.lobby, "hello").await;
    check(&ann.receive_json().await, &told(world.lobby, "bob", Some("hello"), 0));
    check(&bob.receive_json().await, &told(world.lobby, "bob", Some("hello"), 0));
    let answer = ask(&mut bob, json!({ "command": "leave", "room": world.lobby })).await;
    check(&answer, &json!({ "leave": world.lobby.to_string() }));
    say(&mut ann, world.lobby, "gone?").await;
    check(&ann.receive_json().await, &told(world.lobby, "ann", Some("gone?"), 0));
}

#[tokio::test]
async fn m10_who_disconnects_is_out_of_every_room_and_the_last_connection_is_told_once() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    join(&mut ann, world.kitchen).await;
    let bob = world.member("bob").await;
    let mut first = bob.socket("/chat/stream/").await;
    let mut second = bob.socket("/chat/stream/").await;
    for room in [world.lobby, world.kitchen] {
        join(&mut first, room).await;
        check(&ann.receive_json().await, &told(room, "bob", None, 4));
        join(&mut second, room).await;
    }
    second.close(1000).await;
    say(&mut first, world.lobby, "one of two").await;
    check(&ann.receive_json().await, &told(world.lobby, "bob", Some("one of two"), 0));
    // Broken off, as by a phone in a tunnel.
    drop(first);
    let mut left = [ann.receive_json::<Value>().await, ann.receive_json().await];
    let lobby = world.lobby.to_string();
    left.sort_by_key(|event| event["room"] != lobby);
    check(&left[0], &told(world.lobby, "bob", None, 5));
    check(&left[1], &told(world.kitchen, "bob", None, 5));
    hears_nothing_yet(&mut ann).await;
    ann.close(1000).await;
    let nobody = async {
        while world.site.layer().statistics().groups > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, nobody).await.expect("no room has a member");
}

#[tokio::test]
async fn m11_who_is_no_longer_staff_is_denied_at_the_next_send_and_out_of_the_room() {
    let world = World::new().await;
    let mut ann = world.socket("ann").await;
    let mut bob = world.socket("bob").await;
    for (socket, username) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        set_staff(&world.site, username, true).await;
        join(socket, world.office).await;
    }
    check(&ann.receive_json().await, &told(world.office, "bob", None, 4));
    set_staff(&world.site, "bob", false).await;
    say(&mut bob, world.office, "still one of you").await;
    check(&bob.receive_json().await, &json!({ "error": "ROOM_ACCESS_DENIED" }));
    check(&bob.receive_json().await, &json!({ "leave": world.office.to_string() }));
    check(&ann.receive_json().await, &told(world.office, "bob", None, 5));
    say(&mut ann, world.office, "between us").await;
    assert_eq!(ann.receive_json::<Value>().await["message"], "between us");
    hears_nothing_yet(&mut bob).await;
}

#[tokio::test]
async fn who_has_signed_out_is_closed_and_has_to_sign_in() {
    let world = World::new().await;
    let ann = world.member("ann").await;
    let mut socket = ann.socket("/chat/stream/").await;
    join(&mut socket, world.lobby).await;
    ann.post("/accounts/logout/", &[]).await;
    let mut bob = world.in_lobby("bob").await;
    say(&mut bob, world.lobby, "is she gone?").await;
    let (said, code, _) = socket.rest().await;
    assert_eq!(code, 4401);
    assert!(!said.iter().any(|frame| frame.contains("is she gone?")), "{said:?}");
    assert_eq!(ann.try_socket("/chat/stream/").await.unwrap_err().status(), 403);
}

#[tokio::test]
async fn whose_session_has_run_out_has_to_sign_in_and_is_out_of_every_room() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    join(&mut ann, world.kitchen).await;
    // Time ends it, so nobody is told.
    let mut session = Session::objects().get(&world.site).await.expect("her session");
    session.expire_date -= Duration::from_hours(24 * 365);
    session.save(&world.site).await.expect("an update");
    say(&mut ann, world.lobby, "still here").await;
    check(&ann.receive_json().await, &json!({ "error": "USER_HAS_TO_LOGIN" }));
    for room in [world.lobby, world.kitchen] {
        check(&ann.receive_json().await, &json!({ "leave": room.to_string() }));
    }
    let mut bob = world.in_lobby("bob").await;
    say(&mut bob, world.lobby, "is she gone?").await;
    let again = ask(&mut ann, json!({ "command": "join", "room": world.lobby })).await;
    check(&again, &json!({ "error": "USER_HAS_TO_LOGIN" }));
}

#[tokio::test]
async fn it_is_asked_who_it_is_then_which_room_and_then_whether_that_is_for_staff() {
    let world = World::new().await;
    let mut ann = world.socket("ann").await;
    let unknown = world.office + 1;
    for command in ["join", "leave"] {
        for (room, expected) in [(unknown, "ROOM_INVALID"), (world.office, "ROOM_ACCESS_DENIED")] {
            let answer = ask(&mut ann, json!({ "command": command, "room": room })).await;
            check(&answer, &json!({ "error": expected }));
        }
    }
    let mut session = Session::objects().get(&world.site).await.expect("her session");
    session.expire_date -= Duration::from_hours(24 * 365);
    session.save(&world.site).await.expect("an update");
    for command in ["join", "leave"] {
        for room in [unknown, world.office, world.lobby] {
            let answer = ask(&mut ann, json!({ "command": command, "room": room })).await;
            check(&answer, &json!({ "error": "USER_HAS_TO_LOGIN" }));
        }
    }
    // Whether she is in the room comes before all of it.
    say(&mut ann, world.lobby, "hello").await;
    check(&ann.receive_json().await, &json!({ "error": "ROOM_ACCESS_DENIED" }));
}

#[tokio::test]
async fn who_may_be_in_a_room_no_more_is_told_so_on_leaving_it_and_is_out() {
    let world = World::new().await;
    let mut ann = world.socket("ann").await;
    set_staff(&world.site, "ann", true).await;
    join(&mut ann, world.office).await;
    set_staff(&world.site, "ann", false).await;
    let answer = ask(&mut ann, json!({ "command": "leave", "room": world.office })).await;
    check(&answer, &json!({ "error": "ROOM_ACCESS_DENIED" }));
    check(&ann.receive_json().await, &json!({ "leave": world.office.to_string() }));
    let answer = ask(&mut ann, json!({ "command": "leave", "room": world.lobby })).await;
    check(&answer, &json!({ "leave": world.lobby.to_string() }));
}

#[tokio::test]
async fn a_malformed_frame_is_an_error_and_the_socket_stays() {
    let world = World::new().await;
    let mut ann = world.socket("ann").await;
    let lobby = world.lobby;
    for frame in [
        "no JSON".to_owned(),
        "{".to_owned(),
        json!(["join", lobby]).to_string(),
        json!({ "command": "join" }).to_string(),
        json!({ "room": lobby }).to_string(),
        json!({ "command": "send", "room": lobby }).to_string(),
        json!({ "command": "shout", "room": lobby }).to_string(),
    ] {
        ann.send(&frame).await;
        check(&ann.receive_json().await, &json!({ "error": "COMMAND_INVALID" }));
    }
    ann.send_bytes(vec![0xff]).await;
    check(&ann.receive_json().await, &json!({ "error": "COMMAND_INVALID" }));
    join(&mut ann, lobby).await;
    say(&mut ann, lobby, &"x".repeat(2001)).await;
    check(&ann.receive_json().await, &json!({ "error": "MESSAGE_TOO_LONG" }));
    say(&mut ann, lobby, "short").await;
    assert_eq!(ann.receive_json::<Value>().await["message"], "short");
}

#[tokio::test]
async fn a_room_is_the_same_by_number_and_by_text() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    let text = world.lobby.to_string();
    let send = json!({ "command": "send", "room": text, "message": "hello" });
    check(&ask(&mut ann, send).await, &told(world.lobby, "ann", Some("hello"), 0));
    let answer = ask(&mut ann, json!({ "command": "leave", "room": text })).await;
    check(&answer, &json!({ "leave": text }));
}

#[tokio::test]
async fn leaving_a_room_never_joined_announces_nothing() {
    let world = World::new().await;
    let mut ann = world.in_lobby("ann").await;
    let mut bob = world.socket("bob").await;
    let answer = ask(&mut bob, json!({ "command": "leave", "room": world.lobby })).await;
    check(&answer, &json!({ "leave": world.lobby.to_string() }));
    hears_nothing_yet(&mut ann).await;
}
