//! What Hulse adds to hand-written sqlx: `cargo run --release -p hulse-benches [rounds] [words]`.
//!
//! Flow: three fresh databases, one for each side → for each piece of work (whose name has the
//! words), rounds in which the sides take turns, so that whatever else the machine does meets all
//! → the median of each side's times, and the median of the ratios of each round.
//!
//! The sides: sqlx with its pool, as one writes it; sqlx on one connection that is never given
//! back, which nothing can beat; Hulse. Each has a database of its own, with the same rows and
//! settings: a SQLite connection that finds the file changed by another forgets what it has read.
//!
//! `HULSE_TEST_POSTGRES` names the server for PostgreSQL's turn. The promise, of the pool's wall
//! times: a row is read in at most 1.3 times the time, a thousand rows in 1.2 times, a row is
//! inserted in 1.3 times.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

mod hand;
mod model;
mod table;
mod work;

use std::error::Error;
use std::path::Path;

use hulse::db::{Database, Sql};

use work::Sides;

/// Connections of each pool.
const CONNECTIONS: u32 = 5;

type Done<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(Ok(200), |rounds| rounds.parse())?;
    let words = arguments.next().unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let files = ["pool", "own", "hulse"]
        .map(|name| format!("sqlite://{}", folder.path().join(name).display()));
    Sides::open(&files).await?.measure("SQLite", rounds, &words).await?;
    let Ok(server) = std::env::var("HULSE_TEST_POSTGRES") else {
        println!("skipped: needs PostgreSQL (HULSE_TEST_POSTGRES)");
        return Ok(());
    };
    let names =
        ["pool", "own", "hulse"].map(|name| format!("hulse_benches_{name}_{}", std::process::id()));
    for name in &names {
        on_server(&server, format!("CREATE DATABASE {name}")).await?;
    }
    let done = on_postgres(&server, &names, rounds, &words).await;
    for name in &names {
        on_server(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    }
    done
}

async fn on_postgres(server: &str, names: &[String; 3], rounds: usize, words: &str) -> Done {
    let base = server.rsplit_once('/').map_or(server, |(base, _)| base);
    let urls = names.each_ref().map(|name| format!("{base}/{name}"));
    Sides::open(&urls).await?.measure("PostgreSQL", rounds, words).await
}

async fn on_server(server: &str, text: String) -> Done {
    let settings = hulse::conf::Databases {
        url: hulse::conf::Secret::new(server),
        ..hulse::conf::Databases::default()
    };
    let database = Database::connect(&settings, Path::new("/")).await.map_err(plain)?;
    database.connection().execute(Sql::raw(text)).await.map_err(plain)?;
    database.close().await;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn plain(error: hulse::Error) -> Box<dyn Error> {
    error.to_string().into()
}
