//! Clients that do not take what is sent to them, and what that costs them and others.

use hulse::Result;
use hulse::sockets::{Consumer, Policy, Socket, socket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Client, Server, WAIT, goodbye, serve_with, settings, text};

/// Messages sent to somebody who does not read; more than the kernel holds for him.
const MESSAGES: usize = 10_000;
/// Bytes of each.
const BYTES: usize = 4 * 1024;
/// Messages the group's ring holds.
const HELD: usize = 50;

/// In `room`, with the policy its URL names; in `flood` too if it is asked for.
struct Member;

impl Consumer for Member {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let (policy, is_flooded): (String, String) = socket.path()?;
        let policy = match policy.as_str() {
            "oldest" => Policy::DropOldest,
            "newest" => Policy::DropNewest,
            _ => Policy::Close,
        };
        socket.join_with("room", policy).await?;
        if is_flooded == "yes" {
            socket.join_with("flood", policy).await?;
        }
        socket.accept().await
    }
}

async fn members() -> Server {
    let mut settings = settings();
    settings.channels.history_messages = HELD;
    serve_with(settings, [socket("<slug:policy>/<slug:flooded>/", || Member)]).await
}

/// Sends numbered messages that nobody reads at the moment.
async fn fill(server: &Server, group: &str) {
    let big = "x".repeat(BYTES);
    for i in 0..MESSAGES {
        server.site.group(group).send(format!("{i} {big}")).await.unwrap();
    }
}

/// The numbers of what `client` gets up to the message `end`.
async fn numbers(client: &mut Client) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        let heard = text(client).await;
        if heard == "end" {
            return numbers;
        }
        numbers.push(heard.split(' ').next().unwrap().parse().unwrap());
    }
}

#[tokio::test]
async fn a_slow_client_that_drops_the_oldest_reads_on_with_the_newest() {
    let server = members().await;
    let mut client = server.connect("/oldest/no/").await;
    fill(&server, "room").await;
    let dropped = server.site.layer().statistics().dropped as usize;
    assert!(dropped > 0, "the kernel does not hold that much");
    server.site.group("room").send("end").await.unwrap();
    let read = numbers(&mut client).await;
    assert!(read.is_sorted_by(|a, b| a < b), "in order, each once");
    assert_eq!(*read.last().unwrap(), MESSAGES - 1);
    assert_eq!(read.len() + server.site.layer().statistics().dropped as usize, MESSAGES);
    assert_eq!(server.site.layer().statistics().overruns, 0);
}

#[tokio::test]
async fn a_slow_client_that_drops_the_newest_misses_the_end_and_stays() {
    let server = members().await;
    let mut client = server.connect("/newest/no/").await;
    fill(&server, "room").await;
    // What it reads makes room; then it has what was dropped behind it, and hears news again.
    let news = async {
        loop {
            server.site.group("room").send("end").await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let read = tokio::select! {
        read = numbers(&mut client) => read,
        () = news => unreachable!(),
    };
    assert!(read.is_sorted_by(|a, b| a < b), "in order, each once");
    assert_ne!(*read.last().unwrap(), MESSAGES - 1, "the last were dropped");
    assert!(server.site.layer().statistics().dropped > 0);
    assert_eq!(server.site.layer().statistics().overruns, 0);
}

#[tokio::test]
async fn a_slow_client_of_the_usual_policy_is_told_to_come_again_and_nobody_else() {
    let server = members().await;
    let mut slow = server.connect("/close/no/").await;
    let mut quick = server.connect("/close/no/").await;
    let reading = tokio::spawn(async move { numbers(&mut quick).await });
    let big = "x".repeat(BYTES);
    for i in 0..MESSAGES {
        server.site.group("room").send(format!("{i} {big}")).await.unwrap();
        // The quick one reads meanwhile, in the same thread.
        tokio::task::yield_now().await;
    }
    // It reads what had left before, and then why there is no more.
    assert_eq!(goodbye(&mut slow).await, (1013, "too slow".into()));
    assert_eq!(server.site.layer().statistics().overruns, 1);
    server.site.group("room").send("end").await.unwrap();
    let read = timeout(WAIT, reading).await.unwrap().unwrap();
    assert_eq!(read, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_who_does_not_read_costs_a_thousand_others_nothing() {
    let server = members().await;
    let mut deaf = server.connect("/oldest/yes/").await;
    let mut others = Vec::new();
    for _ in 0..999 {
        others.push(server.connect("/close/no/").await);
    }
    fill(&server, "flood").await;
    let held = server.site.layer().statistics().history_bytes;
    assert!(
        held < (HELD + 1) * (BYTES + 1024),
        "what the ring holds, and nothing for the deaf one"
    );
    let mut readers = JoinSet::new();
    for mut client in others {
        readers.spawn(async move {
            let mut heard = Vec::new();
            for _ in 0..20 {
                heard.push(text(&mut client).await);
            }
            (heard, client)
        });
    }
    let expected: Vec<String> = (0..20).map(|i| format!("news {i}")).collect();
    for news in &expected {
        server.site.group("room").send(news.as_str()).await.unwrap();
    }
    let all = async {
        while let Some(read) = readers.join_next().await {
            assert_eq!(read.unwrap().0, expected);
        }
    };
    timeout(WAIT, all).await.expect("everybody else has everything");
    // It was never closed: it finds the news behind what it had not read.
    while text(&mut deaf).await != expected[19] {}
    assert_eq!(server.site.layer().statistics().overruns, 0);
}
