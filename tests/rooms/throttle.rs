//! Who asks too often, who tries passwords, and who has too many sockets open.

use std::time::Duration;

use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::http::{Request, post};
use hulse::middleware::Throttle;
use hulse::sockets::{Consumer, Socket, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::test::{Answer, Client, TestSite};
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result};
use serde_json::{Value, json};

const FREE: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// By the word that is looked for, if there is one.
async fn word(request: Request) -> Result<Option<String>> {
    Ok(request.query("q"))
}

struct Echo;

impl Consumer for Echo {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        socket.send(text).await
    }
}

async fn new_password(request: Request) -> Result<&'static str> {
    let mut user = request.user().await?.user().cloned().unwrap_or_default();
    auth::change_password(&request, &mut user, "something new").await?;
    Ok("changed")
}

fn project() -> Project {
    let found = async || "found";
    let inside = Urls::new([path("one/", found), path("two/", found)]);
    let sends = Throttle::per_user("sends", 2, MINUTE);
    let chat = move |_: Request, (): ()| {
        let sends = sends.clone();
        async move {
            let stream = Stream::group("chat").throttle(sends);
            Ok(stream.on_send(|sender, data| async move { sender.publish(data).await.map(drop) }))
        }
    };
    Project::new("throttled", "/nonexistent").install(sessions::App).install(auth::App).urls(
        Urls::new([
            path("search/", found).throttle(Throttle::by("search", 2, MINUTE, word)),
            path("address/", found).throttle(Throttle::per_address("address", 2, MINUTE)),
            path("user/", found).throttle(Throttle::per_user("user", 2, MINUTE)),
            include("inside/", inside).throttle(Throttle::per_address("inside", 3, MINUTE)),
            socket("handshakes/", || Echo).throttle(Throttle::per_address("hands", 2, MINUTE)),
            socket("echo/", || Echo),
            Streams::new([stream("chat", chat)]).at("stream/"),
            path("new-password/", post(new_password)),
            include("accounts/", auth::urls()),
        ]),
    )
}

async fn site() -> TestSite {
    TestSite::with(project(), |settings| settings.auth.login_attempts = FREE).await
}

fn at(site: &TestSite, address: &str) -> Client {
    site.client().at_address(address.parse().unwrap())
}

fn wait_of(answer: &Answer) -> u64 {
    answer.assert_status(429).header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let site = site().await;
    for client in [site.client(), site.client()] {
        client.get("/search/?q=rust").await.assert_contains("found");
    }
    let refused = site.client().get("/search/?q=rust").await;
    assert!((1..=60).contains(&wait_of(&refused)), "{refused:?}");
    assert!(refused.text().contains("Too Many Requests"), "{refused:?}");
    for _ in 0..5 {
        site.client().get("/search/").await.assert_status(200);
    }
    site.client().get("/search/?q=go").await.assert_status(200);
}

#[tokio::test]
async fn an_address_counts_by_customer_and_an_include_as_one() {
    let site = site().await;
    for address in ["2001:db8::1", "2001:db8::2"] {
        at(&site, address).get("/address/").await.assert_status(200);
    }
    at(&site, "2001:db8::3").get("/address/").await.assert_status(429);
    at(&site, "2001:db8:0:1::3").get("/address/").await.assert_status(200);
    let here = at(&site, "203.0.113.5");
    for url in ["one", "two", "one"] {
        here.get(&format!("/inside/{url}/")).await.assert_status(200);
    }
    for url in ["one", "two"] {
        here.get(&format!("/inside/{url}/")).await.assert_status(429);
    }
    at(&site, "203.0.113.6").get("/inside/two/").await.assert_status(200);
}

#[tokio::test]
async fn a_user_counts_wherever_he_is_and_a_stranger_by_his_address() {
    let site = site().await;
    let ann = User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    let mut clients = Vec::new();
    for address in ["203.0.113.5", "203.0.113.6", "203.0.113.7"] {
        let client = at(&site, address);
        client.force_login(&ann).await;
        clients.push(client);
    }
    clients[0].get("/user/").await.assert_status(200);
    clients[1].get("/user/").await.assert_status(200);
    clients[2].get("/user/").await.assert_status(429);
    let stranger = at(&site, "203.0.113.7");
    for status in [200, 200, 429] {
        stranger.get("/user/").await.assert_status(status);
    }
}

#[tokio::test]
async fn handshakes_count_too() {
    let site = site().await;
    let here = at(&site, "203.0.113.5");
    drop((here.socket("/handshakes/").await, here.socket("/handshakes/").await));
    let refused = here.try_socket("/handshakes/").await.expect_err("it is one too many");
    assert!((1..=60).contains(&wait_of(&refused)));
    drop(at(&site, "203.0.113.6").socket("/handshakes/").await);
}

async fn try_to_sign_in(client: &Client, name: &str, password: &str) -> Answer {
    client.post("/accounts/login/", &[("username", name), ("password", password)]).await
}

#[tokio::test]
async fn who_tries_passwords_has_to_wait_whether_there_is_such_an_account_or_not() {
    let site = site().await;
    User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    let mut pages = Vec::new();
    for name in ["ann", "bob"] {
        let client = at(&site, "203.0.113.5");
        for _ in 0..FREE {
            try_to_sign_in(&client, name, "wrong").await.assert_status(200);
        }
        let refused = try_to_sign_in(&client, name, "secret").await;
        assert_eq!(wait_of(&refused), 1);
        assert!(refused.text().contains("Too many attempts"), "{refused:?}");
        // Another browser there is no way around, nor are other letters.
        let other = at(&site, "203.0.113.5");
        try_to_sign_in(&other, &name.to_uppercase(), "secret").await.assert_status(429);
        pages.push(refused.text().replace(name, "somebody"));
    }
    let shown = |page: &String| {
        let lines = page.lines().filter(|line| !line.contains("csrf") && !line.contains("nonce"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(shown(&pages[0]), shown(&pages[1]));
}

#[tokio::test]
async fn a_wait_ends_and_the_next_one_is_longer() {
    let site = site().await;
    User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    let client = at(&site, "203.0.113.5");
    for _ in 0..FREE {
        try_to_sign_in(&client, "ann", "wrong").await.assert_status(200);
    }
    // While it is closed nothing is counted: who knocks on does not make it longer.
    let behind_the_wait = async |password| loop {
        let answer = try_to_sign_in(&client, "ann", password).await;
        if answer.status() != 429 {
            break answer;
        }
        assert!(wait_of(&answer) <= 2);
    };
    assert_eq!(wait_of(&try_to_sign_in(&client, "ann", "secret").await), 1);
    let looked_at = tokio::time::timeout(Duration::from_secs(5), behind_the_wait("wrong")).await;
    looked_at.unwrap().assert_status(200);
    assert_eq!(wait_of(&try_to_sign_in(&client, "ann", "secret").await), 2);
    // Who knows the password gets in behind any wait, and begins anew.
    let looked_at = tokio::time::timeout(Duration::from_secs(5), behind_the_wait("secret")).await;
    looked_at.unwrap().assert_redirects("/");
    let again = at(&site, "203.0.113.5");
    try_to_sign_in(&again, "ann", "wrong").await.assert_status(200);
    try_to_sign_in(&again, "ann", "secret").await.assert_redirects("/");
}

#[tokio::test]
async fn a_stranger_locks_nobody_out() {
    let site = site().await;
    User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    // She has been here before.
    let home = at(&site, "198.51.100.1");
    try_to_sign_in(&home, "ann", "secret").await.assert_redirects("/");
    let stranger = at(&site, "203.0.113.5");
    for _ in 0..FREE {
        try_to_sign_in(&stranger, "ann", "wrong").await.assert_status(200);
    }
    try_to_sign_in(&stranger, "ann", "wrong").await.assert_status(429);
    // From anywhere else nothing has happened.
    let hotel = at(&site, "198.51.100.2");
    try_to_sign_in(&hotel, "ann", "secret").await.assert_redirects("/");
    // Who has many addresses closes the account to those it does not know, and to no others.
    let mut refused = 0;
    for number in 1..=10 * FREE {
        let address = format!("192.0.2.{number}");
        let answer = try_to_sign_in(&at(&site, &address), "ann", "wrong").await;
        refused += u32::from(answer.status() == 429);
    }
    assert!(refused > 0);
    try_to_sign_in(&at(&site, "192.0.2.200"), "ann", "secret").await.assert_status(429);
    for address in ["198.51.100.1", "198.51.100.2"] {
        let home = at(&site, address);
        try_to_sign_in(&home, "ann", "secret").await.assert_redirects("/");
    }
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_has_to_wait_for_all_of_them() {
    let site = site().await;
    User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    for number in 0..10 * FREE {
        let client = at(&site, "203.0.113.5");
        try_to_sign_in(&client, &format!("user{number}"), "wrong").await.assert_status(200);
    }
    try_to_sign_in(&at(&site, "203.0.113.5"), "ann", "secret").await.assert_status(429);
    try_to_sign_in(&at(&site, "203.0.113.6"), "ann", "secret").await.assert_redirects("/");
}

#[tokio::test]
async fn who_gets_in_begins_anew() {
    let site = site().await;
    User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    for _ in 0..3 {
        let client = at(&site, "203.0.113.5");
        for _ in 1..FREE {
            try_to_sign_in(&client, "ann", "wrong").await.assert_status(200);
        }
        try_to_sign_in(&client, "ann", "secret").await.assert_redirects("/");
    }
}

#[tokio::test]
async fn many_attempts_at_once_are_no_way_around() {
    let site = site().await;
    User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    let clients: Vec<Client> = (0..20).map(|_| at(&site, "203.0.113.5")).collect();
    let tries = clients.iter().map(|client| try_to_sign_in(client, "ann", "wrong"));
    let answers = futures_util::future::join_all(tries).await;
    let looked_at = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(looked_at, FREE as usize);
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status())));
}

#[tokio::test]
async fn the_old_password_is_tried_no_more_often_than_one_may_sign_in() {
    let site = site().await;
    let ann = User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    let client = at(&site, "203.0.113.5");
    client.force_login(&ann).await;
    let attempt = [
        ("old_password", "wrong"),
        ("new_password1", "quite another one"),
        ("new_password2", "quite another one"),
    ];
    for _ in 0..FREE {
        client.post("/accounts/password_change/", &attempt).await.assert_status(200);
    }
    client.post("/accounts/password_change/", &attempt).await.assert_status(429);
}

#[tokio::test]
async fn a_user_or_an_address_has_only_so_many_sockets() {
    let site = TestSite::with(project(), |settings| {
        settings.server.sockets_per_user = 2;
        settings.server.sockets_per_address = 3;
    })
    .await;
    let ann = User::create_user(&site, "ann", "", Some("secret")).await.unwrap();
    let (home, phone) = (at(&site, "203.0.113.5"), at(&site, "203.0.113.6"));
    home.force_login(&ann).await;
    phone.force_login(&ann).await;
    let first = home.socket("/echo/").await;
    let second = phone.socket("/echo/").await;
    home.try_socket("/echo/").await.expect_err("ann has two").assert_status(429);
    let stranger = at(&site, "203.0.113.5");
    let others = (stranger.socket("/echo/").await, stranger.socket("/echo/").await);
    stranger.try_socket("/echo/").await.expect_err("there are three").assert_status(429);
    first.close(1000).await;
    // Its place is free as soon as its end is noticed.
    let free = async {
        loop {
            if let Ok(socket) = home.try_socket("/echo/").await {
                break socket;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut third = tokio::time::timeout(Duration::from_secs(5), free).await.unwrap();
    third.send("here").await;
    assert_eq!(third.receive().await, "here");
    drop((second, others));
    // Behind an address of this machine there is a proxy nobody told us of, and all visitors.
    let mut behind = Vec::new();
    for address in ["127.0.0.1", "10.0.0.7", "fd00::7"] {
        for _ in 0..5 {
            behind.push(at(&site, address).socket("/echo/").await);
        }
    }
    let limits = hulse::conf::Server::default();
    assert!(limits.message_rate > 0 && limits.sockets_per_user > 0);
    assert!(limits.sockets_per_address > 0, "on without a word");
}

#[tokio::test]
async fn sends_of_a_stream_count_whichever_way_they_come() {
    let site = site().await;
    let client = at(&site, "203.0.113.5");
    let mut socket = client.socket("/stream/").await;
    socket.send_json(&json!({ "join": "chat" })).await;
    assert_eq!(socket.receive_json::<Value>().await["joined"], "chat");
    for number in 0..3 {
        socket
            .send_json(&json!({ "send": "chat", "key": number.to_string(), "data": number }))
            .await;
    }
    let mut refused = None;
    while refused.is_none() {
        let frame: Value = socket.receive_json().await;
        refused = frame["error"].as_str().map(|_| frame.clone());
    }
    let refused = refused.unwrap();
    assert_eq!((&refused["error"], &refused["key"]), (&json!("too_many"), &json!("2")));
    assert!(refused["reason"].as_str().unwrap().starts_with("again in "), "{refused}");
    let posted = client.post_json("/stream/", &json!({ "send": "chat", "data": 4 })).await;
    assert!(posted.text().contains("too_many"), "{}", posted.text());
    at(&site, "203.0.113.6")
        .post_json("/stream/", &json!({ "send": "chat", "data": 5 }))
        .await
        .assert_not_contains("too_many");
}
