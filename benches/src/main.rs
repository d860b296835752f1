//! What Hulse adds to hand-written sqlx: `cargo run --release -p hulse-benches [rounds]`.
//!
//! Flow: a fresh database → for each piece of work, rounds in which both sides take turns, so that
//! whatever else the machine does meets both → the medians of the rounds and their ratio.
//!
//! `HULSE_TEST_POSTGRES` names the server for PostgreSQL's turn. The promise: a row is read in at
//! most 1.3 times the time, a thousand rows in 1.2 times, a row is inserted in 1.3 times.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

mod hand;
mod model;

use std::error::Error;
use std::time::{Duration, Instant};

use hulse::db::{Database, Sql};
use hulse::test::TestSite;

use hand::{Hand, Texts};
use model::{Post, post, project};

/// Rows in the table before anything is measured.
const ROWS: i64 = 5_000;

/// Connections of each pool.
const CONNECTIONS: u32 = 5;

type Done<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let rounds = std::env::args().nth(1).map_or(Ok(60), |rounds| rounds.parse())?;
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    measure("SQLite", &file, rounds).await?;
    let Ok(server) = std::env::var("HULSE_TEST_POSTGRES") else {
        println!("skipped: needs PostgreSQL (HULSE_TEST_POSTGRES)");
        return Ok(());
    };
    let name = format!("hulse_benches_{}", std::process::id());
    on_server(&server, format!("CREATE DATABASE {name}")).await?;
    let base = server.rsplit_once('/').map_or(server.as_str(), |(base, _)| base);
    let done = measure("PostgreSQL", &format!("{base}/{name}"), rounds).await;
    on_server(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    done
}

async fn on_server(server: &str, text: String) -> Done {
    let settings = hulse::conf::Databases {
        url: hulse::conf::Secret::new(server),
        ..hulse::conf::Databases::default()
    };
    let database = Database::connect(&settings, std::path::Path::new("/")).await.map_err(plain)?;
    database.connection().execute(Sql::raw(text)).await.map_err(plain)?;
    database.close().await;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn plain(error: hulse::Error) -> Box<dyn Error> {
    error.to_string().into()
}

async fn measure(name: &str, url: &str, rounds: usize) -> Done {
    let site = TestSite::with(project(), |settings| {
        settings.database.url = hulse::conf::Secret::new(url);
        settings.database.connections_max = CONNECTIONS;
    })
    .await;
    let hand = Hand::open(url, CONNECTIONS).await?;
    let texts = Texts::new(&hand);
    for number in 0..ROWS {
        hand.insert(&texts, post(number)).await?;
    }
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        1 + turn * 7 % ROWS
    };
    println!("{name:<28} {:>12} {:>12} {:>7}", "sqlx", "Hulse", "ratio");

    let mut table = Table::new("get one row", 50);
    for _ in 0..rounds {
        let ids: Vec<i64> = (0..50).map(|_| next()).collect();
        let by_hand = async {
            for id in &ids {
                hand.get(&texts, *id).await?;
            }
            Ok(())
        };
        let by_hulse = async {
            for id in &ids {
                Post::objects().filter(|p| p.id().eq(*id)).get(&site).await.map_err(plain)?;
            }
            Ok(())
        };
        table.round(by_hand, by_hulse).await?;
    }
    table.print();

    let mut table = Table::new("list 1,000 rows", 1);
    for _ in 0..rounds {
        let by_hand = async { hand.list(&texts).await.map(drop).map_err(Into::into) };
        let by_hulse = async {
            let posts = Post::objects().order_by(|p| p.id().asc()).limit(1000);
            posts.all(&site).await.map(drop).map_err(plain)
        };
        table.round(by_hand, by_hulse).await?;
    }
    table.print();

    let mut table = Table::new("insert one row", 20);
    for _ in 0..rounds {
        let by_hand = async {
            for number in 0..20 {
                hand.insert(&texts, post(number)).await?;
            }
            Ok(())
        };
        let by_hulse = async {
            for number in 0..20 {
                post(number).save(&site).await.map_err(plain)?;
            }
            Ok(())
        };
        table.round(by_hand, by_hulse).await?;
    }
    table.print();
    println!();
    Ok(())
}

/// The times of one piece of work.
struct Table {
    name: &'static str,
    /// How often a round does it.
    times: u32,
    hand: Vec<Duration>,
    hulse: Vec<Duration>,
}

impl Table {
    fn new(name: &'static str, times: u32) -> Self {
        Self { name, times, hand: Vec::new(), hulse: Vec::new() }
    }

    /// Both sides once, each time another first.
    async fn round(
        &mut self,
        hand: impl Future<Output = Done>,
        hulse: impl Future<Output = Done>,
    ) -> Done {
        if self.hand.len().is_multiple_of(2) {
            self.hand.push(timed(hand).await?);
            self.hulse.push(timed(hulse).await?);
        } else {
            self.hulse.push(timed(hulse).await?);
            self.hand.push(timed(hand).await?);
        }
        Ok(())
    }

    fn print(self) {
        let Self { name, times, hand, hulse } = self;
        let (hand, hulse) = (median(hand) / times, median(hulse) / times);
        let ratio = hulse.as_secs_f64() / hand.as_secs_f64();
        println!("  {name:<26} {hand:>12.1?} {hulse:>12.1?} {ratio:>7.2}");
    }
}

async fn timed(work: impl Future<Output = Done>) -> Done<Duration> {
    let started = Instant::now();
    work.await?;
    Ok(started.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
