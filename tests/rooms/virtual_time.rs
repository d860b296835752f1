//! Timers of consumers on a paused clock: hours pass at once, and exactly.

use std::time::Duration;

use hulse::sockets::{Consumer, Event, Routing, Socket, route, socket};
use hulse::test::TestSite;
use hulse::urls::Urls;
use hulse::{Project, Result};
use tokio::time::{Instant, interval_at, sleep_until};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Ticks every minute, and does things later.
struct Clock;

impl Consumer for Clock {
    fn groups(&self, _: &Socket) -> Result<Vec<String>> {
        Ok(vec!["clock".into()])
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let reply = socket.reply().clone();
        match text {
            "tick" => socket.spawn(async move {
                let mut ticks = interval_at(Instant::now() + MINUTE, MINUTE);
                for count in 1.. {
                    ticks.tick().await;
                    reply.send(format!("tick {count}")).await?;
                }
                Ok(())
            }),
            "expire" => socket.spawn(async move {
                sleep_until(Instant::now() + HOUR).await;
                reply.close(4000, "an hour is enough").await
            }),
            "slow" => {
                sleep_until(Instant::now() + HOUR * 24).await;
                socket.send("a day later").await
            }
            _ => socket.channel("later").send_after(HOUR, "delayed").await,
        }
    }
}

async fn deliver(event: Event) -> Result<()> {
    event.group("clock").send(event.text()).await
}

async fn site() -> TestSite {
    let routing = Routing::new([route("later", deliver)]);
    let urls = Urls::new([socket("clock/", || Clock)]).attach(routing);
    TestSite::new(Project::new("clock", std::env::temp_dir()).urls(urls)).await
}

#[tokio::test]
async fn ticks_come_when_they_are_due_and_nothing_comes_before() {
    let site = site().await;
    let mut socket = site.socket("/clock/").await;
    tokio::time::pause();
    let (virtually, really) = (Instant::now(), std::time::Instant::now());
    socket.send("tick").await;
    socket.receive_nothing(MINUTE - Duration::from_millis(2)).await;
    for count in 1..=1000 {
        assert_eq!(socket.receive().await, format!("tick {count}"));
        socket.receive_nothing(MINUTE - Duration::from_millis(2)).await;
    }
    assert!(virtually.elapsed() >= MINUTE * 1000);
    assert!(really.elapsed() < MINUTE, "hours passed in {:?}", really.elapsed());
}

#[tokio::test]
async fn a_consumer_that_takes_a_day_is_not_waited_for() {
    let site = site().await;
    let mut socket = site.socket("/clock/").await;
    tokio::time::pause();
    let begun = Instant::now();
    socket.send("slow").await;
    assert_eq!(socket.receive().await, "a day later");
    assert!(begun.elapsed() >= HOUR * 24);
    socket.send("expire").await;
    assert_eq!(socket.closed().await, (4000, "an hour is enough".to_owned()));
}

#[tokio::test]
async fn a_delayed_message_comes_after_its_time_on_the_paused_clock() {
    let site = site().await;
    let mut socket = site.socket("/clock/").await;
    tokio::time::pause();
    socket.send("later").await;
    socket.receive_nothing(HOUR - Duration::from_millis(2)).await;
    assert_eq!(socket.receive().await, "delayed");
    socket.receive_nothing(HOUR * 24).await;
}
