//! The site that tests of the server start: slow views, views that hang, views that write.

use std::path::Path as FilePath;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use hulse::db::Sql;
use hulse::http::Path;
use hulse::urls::{Urls, path};
use hulse::{Project, Result, http::Request};

/// While this file is in the current folder, workers die before they serve.
const DIE_AT_START: &str = "die-at-start";

fn main() -> ExitCode {
    let is_worker = std::env::args().any(|argument| argument == "worker");
    if is_worker && FilePath::new(DIE_AT_START).exists() {
        std::process::abort();
    }
    hulse_manage::run(Project::new("testsite", std::env::temp_dir()).urls(urls()))
}

fn urls() -> Urls {
    Urls::new([
        path("", hello).name("hello"),
        path("process/", process).name("process"),
        path("slow/<int:milliseconds>/", slow).name("slow"),
        path("hang/<int:milliseconds>/", hang).name("hang"),
        path("rows/", rows).name("rows"),
        path("rows/<int:number>/", insert).name("insert"),
    ])
}

async fn hello() -> &'static str {
    "Hello World!\n"
}

/// For the test to wait for.
#[expect(clippy::print_stderr, reason = "the test reads it")]
fn say(words: &str) {
    eprintln!("{words}");
}

/// Which process answers.
async fn process() -> String {
    std::process::id().to_string()
}

/// Answers late, without keeping the runtime from others.
async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    say("slow begins");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "late\n"
}

/// Keeps its worker's only thread, as no view should.
async fn hang(Path(milliseconds): Path<u64>) -> &'static str {
    say("hang begins");
    thread::sleep(Duration::from_millis(milliseconds));
    "very late\n"
}

/// How many rows there are.
async fn rows(request: Request) -> Result<String> {
    make_table(&request).await?;
    let rows = request.db().fetch(Sql::raw("SELECT COUNT(*) FROM written")).await?;
    let count: i64 = rows[0].get(0)?;
    Ok(count.to_string())
}

/// Writes one row, in a transaction.
async fn insert(request: Request, Path(number): Path<i64>) -> Result<&'static str> {
    make_table(&request).await?;
    let site = request.site();
    site.atomic(async |site| {
        site.db().execute(Sql::raw(format!("INSERT INTO written VALUES ({number})"))).await
    })
    .await?;
    Ok("written\n")
}

async fn make_table(request: &Request) -> Result<()> {
    let make = "CREATE TABLE IF NOT EXISTS written (number BIGINT NOT NULL)";
    request.db().execute(Sql::raw(make)).await.map(drop)
}
