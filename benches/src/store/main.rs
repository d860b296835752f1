//! What the data store's process costs: `cargo run --release -p hulse-benches --bin store [rounds]
//! [names]`.
//!
//! Flow: start a site under `pulse -w 4` (`served`) → fill it with raw-TCP WebSocket clients from
//! this process (`listeners`) → one request to each worker makes it publish for some seconds
//! (`site`) → work per CPU second of the store's process, and how long messages took.
//!
//! Scenarios, with texts of 64 bytes: `alone` one group that nobody listens to; `one` a group with
//! a socket on each worker; `many` 1,000 groups with a socket each; in these each worker has 256
//! messages on their way. `latency` 1,000 messages/s in 100 groups of ten sockets each; `crowd` the
//! same in one group of 100 sockets. A message's delay counts from when it was due, not from when
//! its sender came to it.
//!
//! The program is the server too: called with a command it is the site.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

mod listeners;
mod served;
mod site;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use listeners::Listeners;
use served::{Server, Work};

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// How long the workers publish.
const SECONDS: u64 = 4;
/// All scenarios.
const SCENARIOS: [&str; 5] = ["alone", "one", "many", "latency", "crowd"];
/// Workers of the site.
const WORKERS: usize = 4;
/// Messages on their way from each worker.
const OUTSTANDING: usize = 256;
/// Messages a second of all workers together, where their delay is measured.
const PACE: usize = 1_000;

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let is_bench = |word: &str| word.parse::<usize>().is_ok() || SCENARIOS.contains(&word);
    match first.as_deref() {
        Some(command) if !is_bench(command) => hulse_manage::run(site::project()),
        _ => match bench(std::env::args().skip(1).collect()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("failed: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

#[tokio::main(flavor = "current_thread")]
async fn bench(mut words: Vec<String>) -> Done {
    let rounds = words.first().and_then(|word| word.parse().ok());
    if rounds.is_some() {
        words.remove(0);
    }
    if words.is_empty() {
        words = SCENARIOS.map(str::to_owned).to_vec();
    }
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); words.len()];
    for _ in 0..rounds.unwrap_or(3).max(1) {
        for (scenario, figures) in words.iter().zip(&mut figures) {
            let local = tokio::task::LocalSet::new();
            figures.push(local.run_until(run(scenario)).await?);
        }
    }
    println!("medians, in brackets the rounds' least and most:");
    for (scenario, figures) in words.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (figures[0], figures[figures.len() - 1]);
        let (median, unit) = (figures[figures.len() / 2], unit(scenario));
        println!("{scenario:<8} {median:.1} ({least:.1} to {most:.1}) {unit}");
    }
    Ok(())
}

/// What a scenario's figure is.
fn unit(scenario: &str) -> &'static str {
    match scenario {
        "latency" | "crowd" => "ms, p99",
        _ => "thousand publishes per CPU second of the store",
    }
}

async fn run(scenario: &str) -> Done<f64> {
    let server = Server::start(WORKERS).await?;
    match scenario {
        "alone" => throughput(scenario, &server, (0, 0), 1).await,
        "one" => throughput(scenario, &server, (1, WORKERS), 1).await,
        "many" => throughput(scenario, &server, (1_000, 1), 1_000).await,
        "latency" => latency(scenario, &server, (100, 10)).await,
        "crowd" => latency(scenario, &server, (1, 100)).await,
        other => Err(format!("there is no scenario {other}").into()),
    }
}

/// `audience`: groups with sockets, and how many each has; `groups`: where it is published.
async fn throughput(
    scenario: &str,
    server: &Server,
    audience: (usize, usize),
    groups: usize,
) -> Done<f64> {
    let listeners = Listeners::connect(server.address(), audience).await?;
    let path = format!("/publish/{SECONDS}/{OUTSTANDING}/{groups}/");
    let begun = Instant::now();
    let work = Work::of(server)?;
    let published: u64 = server.ask_each_worker(&path).await?.iter().sum();
    let (wall, work) = (begun.elapsed().as_secs_f64(), Work::of(server)?.since(&work));
    let published = published as f64;
    println!(
        "{scenario:<8} {:>9.0} publishes/s, {:>9.0} per CPU second of the store ({:.2} us each, \
         {:.0} % of it in the kernel), {:>8.0} of all; {:.1} messages a wakeup of the store; {} \
         deliveries",
        published / wall,
        published / work.store(),
        1e6 * work.store() / published,
        100.0 * work.store_system / work.store(),
        published / work.all,
        published / work.store_wakeups.max(1.0),
        listeners.heard()?.len(),
    );
    Ok(published / work.store() / 1e3)
}

async fn latency(scenario: &str, server: &Server, audience: (usize, usize)) -> Done<f64> {
    let listeners = Listeners::connect(server.address(), audience).await?;
    let (rate, groups) = (PACE / WORKERS, audience.0);
    server.ask_each_worker(&format!("/pace/1/{rate}/{groups}/")).await?;
    listeners.forget();
    let path = format!("/pace/{SECONDS}/{rate}/{groups}/");
    let published: u64 = server.ask_each_worker(&path).await?.iter().sum();
    let expected = published * audience.1 as u64;
    let mut delays = listeners.wait_for(expected, Duration::from_secs(10)).await?;
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    println!(
        "{scenario:<8} {:>9.0} messages/s: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest \
         {:.2} ms",
        published as f64 / SECONDS as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
    Ok(at(0.99))
}
