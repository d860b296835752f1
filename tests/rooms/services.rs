//! Services: what they are sent and asked, what becomes of them when they fail, in one process.

use std::time::{Duration, Instant};

use hulse::prelude::*;
use hulse::test::TestSite;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(20);

/// Adds up, and says so to the group `sums`.
struct Adder {
    sum: i64,
    is_ticking: bool,
}

#[derive(Serialize, Deserialize)]
enum Wish {
    Add(i64),
    Sum,
    Fail,
    Panic,
    Wait,
}

impl Service for Adder {
    const NAME: &'static str = "adder";
    type Message = Wish;
    type Answer = i64;

    async fn start(site: &Site) -> Result<Self> {
        let before = site.values().get("before").await?;
        let ticks = site.values().get("ticks").await?;
        Ok(Self { sum: if before.is_some() { 1000 } else { 0 }, is_ticking: ticks.is_some() })
    }

    fn interval(&self) -> Option<Duration> {
        self.is_ticking.then(|| Duration::from_millis(10))
    }

    async fn tick(&mut self, site: &Site) -> Result<()> {
        self.sum += 1;
        if site.values().get("slow").await?.is_some() {
            // Longer than the interval.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(15) {
                tokio::task::yield_now().await;
            }
        }
        site.values().count("ticked", 1, Duration::from_secs(60)).await?;
        if self.sum == 2 { Err(Error::new("the second tick fails")) } else { Ok(()) }
    }

    async fn receive(&mut self, site: &Site, wish: Wish) -> Result<i64> {
        match wish {
            Wish::Add(number) => self.sum += number,
            Wish::Sum => {}
            Wish::Fail => return Err(Error::new("as was wished")),
            #[expect(clippy::panic, reason = "the test wants it")]
            Wish::Panic => {
                site.values().set("before", "yes", None).await?;
                panic!("as was wished");
            }
            Wish::Wait => {
                site.values().set("waits", "yes", None).await?;
                while site.values().get("go").await?.is_none() {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(self.sum)
    }

    async fn stop(self, site: &Site) -> Result<()> {
        site.values().set("stopped", self.sum.to_string(), None).await.map(drop)
    }
}

async fn sum_view(request: Request) -> Result<String> {
    Ok(request.service::<Adder>().ask(&Wish::Sum).await?.to_string())
}

fn project() -> Project {
    let urls = Urls::new([path("sum/", sum_view)]);
    Project::new("services", env!("CARGO_MANIFEST_DIR")).urls(urls).service(service::<Adder>())
}

/// Asks until the value is there.
async fn value(site: &Site, name: &str) -> String {
    let found = async {
        loop {
            if let Some(value) = site.values().get(name).await.unwrap() {
                return String::from_utf8(value.bytes.to_vec()).unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, found).await.unwrap()
}

/// Waits until it has ticked so often.
async fn ticked(site: &Site, times: i64) {
    let ticked = async {
        while site.values().count("ticked", 0, Duration::from_secs(60)).await.unwrap().value < times
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, ticked).await.unwrap();
}

#[tokio::test]
async fn a_service_keeps_what_it_is_sent_and_answers_a_view() {
    let site = TestSite::new(project()).await;
    let adder = site.service::<Adder>();
    for number in 1..=10 {
        adder.send(&Wish::Add(number)).await.unwrap();
    }
    assert_eq!(site.client().get("/sum/").await.text(), "55");
    assert_eq!(adder.ask(&Wish::Add(5)).await.unwrap(), 60);
    let numbers = adder.statistics().await.unwrap();
    assert_eq!((numbers.delivered, numbers.pending), (12, 0));
}

#[tokio::test]
async fn what_is_sent_in_a_transaction_that_is_rolled_back_is_not_sent() {
    let site = TestSite::new(project()).await;
    let failed: Result<()> = site
        .atomic(async |site| {
            site.service::<Adder>().send(&Wish::Add(7)).await?;
            Err(Error::new("no"))
        })
        .await;
    assert!(failed.is_err());
    let sent = site.atomic(async |site| site.service::<Adder>().send(&Wish::Add(1)).await).await;
    sent.unwrap();
    assert_eq!(site.service::<Adder>().ask(&Wish::Sum).await.unwrap(), 1);
    let asked: Result<i64> =
        site.atomic(async |site| site.service::<Adder>().ask(&Wish::Sum).await).await;
    assert!(asked.unwrap_err().is_nested_transaction());
}

#[tokio::test]
async fn a_service_that_fails_goes_on_and_one_that_panics_is_made_again() {
    let site = TestSite::new(project()).await;
    let adder = site.service::<Adder>();
    adder.send(&Wish::Add(3)).await.unwrap();
    assert!(adder.ask(&Wish::Fail).await.unwrap_err().is_no_answer());
    assert_eq!(adder.ask(&Wish::Sum).await.unwrap(), 3);
    assert!(adder.ask(&Wish::Panic).await.unwrap_err().is_no_answer());
    // What is sent meanwhile waits for the next one.
    assert_eq!(adder.ask(&Wish::Add(1)).await.unwrap(), 1001);
    // And what it cannot read is dropped.
    site.channel("service.adder").send("{\"Nonsense\":1}").await.unwrap();
    assert_eq!(adder.ask(&Wish::Sum).await.unwrap(), 1001);
}

#[tokio::test]
async fn a_mailbox_holds_so_many_messages_and_a_question_waits_so_long() {
    let site = TestSite::with(project(), |settings| settings.channels.capacity = 2).await;
    let adder = site.service::<Adder>();
    adder.send(&Wish::Wait).await.unwrap();
    value(&site, "waits").await;
    adder.send(&Wish::Add(1)).await.unwrap();
    let asked = site.service::<Adder>().within(Duration::from_millis(50)).ask(&Wish::Add(2)).await;
    assert!(asked.unwrap_err().is_no_answer());
    assert!(adder.send(&Wish::Add(4)).await.unwrap_err().is_channel_full());
    site.values().set("go", "yes", None).await.unwrap();
    let emptied = async {
        while adder.statistics().await.unwrap().pending > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, emptied).await.unwrap();
    assert_eq!(adder.ask(&Wish::Sum).await.unwrap(), 3, "whoever stopped waiting was heard");
}

#[tokio::test]
async fn a_service_ticks_whatever_becomes_of_a_tick_and_puts_away_what_it_holds() {
    let site = TestSite::new(project()).await;
    site.values().set("ticks", "yes", None).await.unwrap();
    site.service::<Adder>().send(&Wish::Panic).await.unwrap();
    ticked(&site, 4).await;
    site.lifecycle().drain().await;
    let sum: i64 = value(&site, "stopped").await.parse().unwrap();
    assert!(sum >= 1004, "{sum}");
}

#[tokio::test]
async fn messages_have_their_turn_though_each_tick_takes_longer_than_the_interval() {
    let site = TestSite::new(project()).await;
    for name in ["ticks", "slow"] {
        site.values().set(name, "yes", None).await.unwrap();
    }
    let adder = site.service::<Adder>();
    adder.send(&Wish::Panic).await.unwrap();
    ticked(&site, 3).await;
    for _ in 0..5 {
        adder.ask(&Wish::Add(1)).await.unwrap();
    }
    // And it goes on ticking.
    ticked(&site, 10).await;
}

#[tokio::test]
async fn a_service_that_the_project_does_not_have_is_an_error_and_so_are_two_of_one_name() {
    let site = TestSite::new(Project::new("none", env!("CARGO_MANIFEST_DIR"))).await;
    let error = site.service::<Adder>().send(&Wish::Sum).await.unwrap_err();
    assert!(error.to_string().contains("the project has no service \"adder\""), "{error}");
    let twice = project().service(service::<Adder>().instances(2));
    assert!(twice.services().unwrap_err().to_string().contains("two services are called"));
}

#[tokio::test]
async fn of_those_that_are_to_be_alone_one_is_at_work() {
    let alone = || service::<Adder>().instances(3).alone();
    let project = Project::new("alone", env!("CARGO_MANIFEST_DIR")).service(alone());
    let site = TestSite::new(project).await;
    let adder = site.service::<Adder>();
    for _ in 0..30 {
        adder.send(&Wish::Add(1)).await.unwrap();
    }
    assert_eq!(adder.ask(&Wish::Sum).await.unwrap(), 30);
    assert!(site.values().lock("service.adder", WAIT).await.unwrap().is_none());
}
