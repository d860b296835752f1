//! Two machines (as far as anybody can tell) that share a Redis.

use std::time::{Duration, Instant};

use hulse_tests::{
    Program, Pulse, RedisServer, Surroundings, Visitor, VisitorSocket, promised, site_command,
    site_folder_of,
};
use rustix::process::{Signal, kill_process};

/// How soon what a dead worker held must be gone.
fn gone() -> Duration {
    promised(Duration::from_secs(1), Duration::from_secs(5))
}

fn url(servers: &[&RedisServer]) -> String {
    let hosts: Vec<String> = servers.iter().map(|server| server.host()).collect();
    format!("redis://{}/2?prefix=site", hosts.join(","))
}

/// A machine with two workers.
async fn machine(url: &str) -> Pulse {
    Pulse::start_testsite(&["-w", "2", "--data-store", url]).await
}

/// Comes to the room; the rest of the first frame, behind "at".
async fn come(pulse: &Pulse, who: &str, since: &str) -> (VisitorSocket, String) {
    let path = format!("/room/lounge/{who}/{since}/");
    let mut socket = Visitor::new(pulse.address()).socket(&path).await;
    let first = socket.frame().await.unwrap();
    (socket, first.strip_prefix("at ").expect("where it is").to_owned())
}

/// Says `text` and reads up to where it is.
async fn say(socket: &mut VisitorSocket, text: &str) -> String {
    socket.send(text).await;
    loop {
        if let Some(position) = socket.frame().await.unwrap().strip_prefix("at ") {
            return position.to_owned();
        }
    }
}

async fn hear(socket: &mut VisitorSocket, text: &str) {
    assert_eq!(socket.frame().await.unwrap(), text);
}

#[tokio::test]
async fn what_is_sent_on_one_machine_reaches_sockets_of_the_other_and_they_resume_there() {
    let (Some(one), Some(other)) = (RedisServer::start().await, RedisServer::start().await) else {
        return;
    };
    let url = url(&[&one, &other]);
    let (first, second) = (machine(&url).await, machine(&url).await);
    assert!(first.store().is_none() && second.store().is_none(), "Redis is the only store");
    let (mut here, _) = come(&first, "nobody", "now").await;
    let (mut there, _) = come(&second, "nobody", "now").await;
    let position = say(&mut here, "hello").await;
    hear(&mut there, "hello").await;
    drop(there);
    for i in 0..50 {
        say(&mut here, &i.to_string()).await;
    }
    let (mut back, at) = come(&second, "nobody", &position).await;
    assert_eq!(at, format!("{position} true"));
    for i in 0..50 {
        hear(&mut back, &i.to_string()).await;
    }
    say(&mut here, "live").await;
    hear(&mut back, "live").await;
    let (mut moved, at) = come(&first, "nobody", &position).await;
    assert_eq!(at, format!("{position} true"));
    hear(&mut moved, "0").await;
    let (_strange, at) = come(&first, "nobody", "12-3").await;
    assert!(at.ends_with(" false"), "{at}");
    assert_eq!((first.stop().await, second.stop().await), (0, 0));
}

#[tokio::test]
async fn a_worker_killed_on_one_machine_is_gone_on_the_other_within_a_second() {
    let Some(server) = RedisServer::start().await else { return };
    let url = url(&[&server]);
    let (first, second) = (machine(&url).await, machine(&url).await);
    let (mut watcher, _) = come(&second, "nobody", "now").await;
    for round in 0..3 {
        let (lost, _) = come(&first, "ann", "now").await;
        hear(&mut watcher, "ann joined").await;
        let worker = first.worker_of(lost.port).expect("some worker holds it");
        let begun = Instant::now();
        kill_process(worker, Signal::KILL).unwrap();
        hear(&mut watcher, "ann left").await;
        assert!(begun.elapsed() < gone(), "round {round}: {:?}", begun.elapsed());
    }
    assert_eq!((first.stop().await, second.stop().await), (0, 0));
}

#[tokio::test]
async fn redis_restarted_under_two_machines_is_taken_up_again() {
    let Some(mut server) = RedisServer::start().await else { return };
    let url = url(&[&server]);
    let (first, second) = (machine(&url).await, machine(&url).await);
    let (mut here, _) = come(&first, "nobody", "now").await;
    let (mut there, _) = come(&second, "nobody", "now").await;
    let position = say(&mut here, "before").await;
    hear(&mut there, "before").await;
    server.kill().await;
    assert_eq!(Visitor::new(first.address()).get("/").await.status, 200, "pages need no Redis");
    server.start_again().await;
    // What was there is lost, and they are told: 1013, come again.
    assert_eq!(here.close_code().await, 1013);
    assert_eq!(there.close_code().await, 1013);
    let (mut here, at) = come(&first, "nobody", &position).await;
    assert!(at.ends_with(" false"), "a gap is told: {at}");
    let (mut there, _) = come(&second, "nobody", "now").await;
    say(&mut here, "after").await;
    hear(&mut there, "after").await;
    assert_eq!((first.stop().await, second.stop().await), (0, 0));
}

#[tokio::test]
async fn two_machines_speak_tls_with_redis() {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let arguments = [
        ["--port", "0", "--tls-port", "PORT", "--save", ""],
        ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"],
    ];
    let Some(server) = RedisServer::start_with(&arguments.concat()).await else { return };
    let url = format!("rediss://{}/0?prefix=site&ca={certificate}", server.host());
    let (first, second) = (machine(&url).await, machine(&url).await);
    let (mut here, _) = come(&first, "nobody", "now").await;
    let (mut there, _) = come(&second, "nobody", "now").await;
    let position = say(&mut here, "in secret").await;
    hear(&mut there, "in secret").await;
    let (_, at) = come(&second, "nobody", &position).await;
    assert_eq!(at, format!("{position} true"));
    assert_eq!((first.stop().await, second.stop().await), (0, 0));
}

#[tokio::test]
async fn nothing_that_is_printed_shows_the_password() {
    let surroundings = Surroundings { program: Program::Testsite, ..Default::default() };
    for (url, words) in [
        ("redis://ann:hush@127.0.0.1:1/0", "127.0.0.1:1"),
        ("redis://ann:hush@127.0.0.1:port", "port"),
        ("redsi://ann:hush@127.0.0.1:1", "redsi"),
        ("redis://ann:hu/sh-hush@127.0.0.1:1", "data store"),
    ] {
        let folder = site_folder_of(Program::Testsite);
        let environment = vec![("HULSE_SERVER__DATA_STORE".to_owned(), url.to_owned())];
        let surroundings = Surroundings { environment, ..surroundings.clone() };
        let mut shown = site_command(folder.path(), &surroundings);
        let shown = shown.args(["pulse", "--print-config"]).output().await.unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("server.data_store = \"red"), "{shown}");
        assert!(shown.contains("********@127.0.0.1"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
        let mut started = site_command(folder.path(), &surroundings);
        started.args(["pulse", "--migrate", "-b", "127.0.0.1:0", "-w", "1"]);
        let started = started.output().await.unwrap();
        let said = String::from_utf8(started.stderr).unwrap();
        assert!(!started.status.success() && said.contains(words), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}
