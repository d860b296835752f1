//! Rows that browsers follow, saved by two workers at once: what followers have in the end is what
//! is stored, whichever worker, machine and transport they are at.

use std::collections::BTreeMap;

use hulse_tests::{Program, Pulse, RedisServer, Surroundings, Visitor, databases};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Saves of each of the two.
const SAVES: usize = 40;
const FAMILIES: [&str; 2] = ["ash", "birch"];
/// Who is saved last in each family is called so, and as the family.
const LAST: &str = "last";

/// What a follower has who does as it is told: first names by family and username.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    rows: BTreeMap<(String, String), Value>,
    /// How many families have said that nothing more comes.
    ended: usize,
    /// Where it is in each.
    at: BTreeMap<String, String>,
}

impl Kept {
    /// Takes a frame; whether more are to come.
    fn take(&mut self, frame: &Value) -> bool {
        let name = frame["stream"].as_str().or(frame["joined"].as_str()).expect("a stream");
        self.at.insert(name.to_owned(), frame["at"].as_str().expect("its place").to_owned());
        for row in frame["snapshot"]["rows"].as_array().into_iter().flatten() {
            self.put(name, row);
        }
        for change in frame["data"]["changes"].as_array().into_iter().flatten() {
            let row = &change["row"];
            match row["username"].as_str() {
                // One person moves about, so whoever leaves is that one.
                None => self.rows.retain(|(family, _), _| family != name),
                Some(name) if name.starts_with(LAST) => self.ended += 1,
                Some(_) => self.put(name, row),
            }
        }
        self.ended < FAMILIES.len()
    }

    fn put(&mut self, family: &str, row: &Value) {
        let name = row["username"].as_str().expect("a name");
        self.rows.insert((family.to_owned(), name.to_owned()), row.clone());
    }

    fn is_at(&self, count: usize) -> bool {
        self.at.len() == count
    }
}

fn joins(kept: &Kept) -> String {
    let join = |family: &&str| {
        let name = format!("people/{family}");
        let at = kept.at.get(&name).map_or(String::new(), |at| format!("&at={at}"));
        format!("join={name}{at}")
    };
    FAMILIES.iter().map(join).collect::<Vec<_>>().join("&")
}

/// Over a WebSocket; it is there when this returns.
async fn by_socket(address: &str) -> JoinHandle<Kept> {
    let mut socket = Visitor::new(address).socket("/people/stream/").await;
    let mut kept = Kept::default();
    for family in FAMILIES {
        socket.send(&format!("{{\"join\": \"people/{family}\"}}")).await;
    }
    while !kept.is_at(FAMILIES.len()) {
        kept.take(&socket.event().await);
    }
    tokio::spawn(async move {
        while kept.take(&socket.event().await) {}
        kept
    })
}

/// As events.
async fn by_events(address: &str) -> JoinHandle<Kept> {
    let mut kept = Kept::default();
    let mut lines = BufReader::new(TcpStream::connect(address).await.unwrap());
    let head = format!(
        "GET /people/stream/?{} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n",
        joins(&kept)
    );
    lines.write_all(head.as_bytes()).await.unwrap();
    let mut lines = lines.lines();
    let mut next = async move || loop {
        let line = lines.next_line().await.unwrap().expect("it goes on");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    while !kept.is_at(FAMILIES.len()) {
        kept.take(&next().await);
    }
    tokio::spawn(async move {
        while kept.take(&next().await) {}
        kept
    })
}

/// By asking again and again.
async fn by_polls(address: &str) -> JoinHandle<Kept> {
    let mut visitor = Visitor::new(address);
    let mut kept = Kept::default();
    let mut ask = async move |kept: &mut Kept| {
        let answer = visitor.get(&format!("/people/stream/?{}", joins(kept))).await;
        let frames: Vec<Value> = serde_json::from_str(&answer.body).expect(&answer.body);
        frames.iter().fold(true, |_, frame| kept.take(frame))
    };
    ask(&mut kept).await;
    tokio::spawn(async move {
        while ask(&mut kept).await {}
        kept
    })
}

async fn save(address: &str, name: &str, first: &str, family: &str) {
    let path = format!("/people/{name}/{first}/{family}/");
    let answer = Visitor::new(address).get(&path).await;
    assert_eq!(answer.body, "saved", "{}", answer.status);
}

async fn save_often(address: &str, who: usize) {
    for number in 0..SAVES {
        let family = FAMILIES[(number / 3 + who) % FAMILIES.len()];
        save(address, "ann", &format!("s{who}-{number}"), family).await;
    }
}

/// Two save one row, at `addresses`.
async fn race(addresses: [&str; 2]) {
    save(addresses[0], "ann", "new", "ash").await;
    let mut followers = Vec::new();
    for address in addresses {
        followers.push(by_socket(address).await);
        followers.push(by_events(address).await);
        followers.push(by_polls(address).await);
    }
    let [here, there] = addresses;
    tokio::join!(save_often(here, 0), save_often(there, 1));
    for family in FAMILIES {
        save(here, &format!("{LAST}-{family}"), "x", family).await;
    }
    let stored = Visitor::new(here).get("/people/ann/").await;
    let stored: Value = serde_json::from_str(&stored.body).unwrap();
    let family = format!("people/{}", stored["last_name"].as_str().unwrap());
    let stored = BTreeMap::from([((family, "ann".to_owned()), stored)]);
    for follower in followers {
        assert_eq!(follower.await.unwrap().rows, stored);
    }
}

fn surroundings(database: String) -> Surroundings {
    let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "yes".to_owned())];
    Surroundings { program: Program::Testsite, database: Some(database), environment }
}

#[tokio::test]
async fn followers_have_what_is_stored_when_two_workers_save_one_row() {
    for database in databases().await {
        let pulse = Pulse::start_in(surroundings(database.url.clone()), &["-w", "2"]).await;
        race([pulse.address(); 2]).await;
        assert_eq!(pulse.stop().await, 0);
    }
}

#[tokio::test]
async fn followers_have_what_is_stored_when_two_machines_save_one_row_over_redis() {
    let Some(server) = RedisServer::start().await else { return };
    let url = format!("redis://{}/0?prefix=live", server.host());
    let database = databases().await.pop().expect("there is SQLite at least");
    let start = || async {
        let arguments = ["-w", "1", "--data-store", &url];
        Pulse::start_in(surroundings(database.url.clone()), &arguments).await
    };
    let (here, there) = (start().await, start().await);
    race([here.address(), there.address()]).await;
    assert_eq!((here.stop().await, there.stop().await), (0, 0));
}
