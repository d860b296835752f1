//! What realtime costs: `cargo run --release -p hulse-benches --bin realtime [rounds] [names]`.
//!
//! Flow: for each round and scenario, in turns: start a server in processes of its own (`servers`)
//! → fill it with raw-TCP WebSocket clients from this process (`crowd`) → drive it → work per CPU
//! second of the server's whole process tree (`tree`). Printed: medians of the rounds, and ratios.
//!
//! Servers: a site under `pulse -w 1` (arbiter, store and worker are counted), a hand-written axum
//! server with a task and a `broadcast` receiver per socket, and Bun's own pub/sub, which is
//! uWebSockets, if `BENCH_BUN` names its program (`npm install bun` brings it).
//!
//! Scenarios, with texts of 64 bytes: `many` 1,000 sockets and 32 messages outstanding; `one` the
//! same with one; `crowd` 5,000 sockets; `latency` 1,000 sockets and 50 messages/s; `memory`
//! resident bytes per idle socket (ours with user, session and one group); `full` 19,900 sockets on
//! one worker; `blocked` as `many`, beside one more socket of the group that reads nothing, and
//! what the server has grown by; `names` (ours only) 1,000 sockets that joined the group as a
//! stream, beside the 32 that send. All but the last three run unless names are given; `full` wants
//! `ulimit -n 20000`.
//!
//! The program is the servers too: called with a command it is the site or the axum server.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

mod crowd;
mod servers;
mod site;
mod tree;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use crowd::{Audience, Blocked, Crowd};
use servers::{Kind, Server};

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// How long each measurement drives its server, after a second of warming up.
const DRIVE: Duration = Duration::from_secs(4);
/// What is measured unless scenarios are named.
const USUAL: [&str; 5] = ["many", "one", "crowd", "latency", "memory"];
/// What is measured if it is named.
const RARE: [&str; 3] = ["full", "blocked", "names"];
/// Sockets that are there before memory is measured: what a process allocates once is no socket's.
const WARM: usize = 200;

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    let is_bench =
        |word: &str| word.parse::<usize>().is_ok() || RARE.contains(&word) || USUAL.contains(&word);
    match first.as_deref() {
        Some("axum") => servers::serve_axum(),
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

/// What was measured: by scenario and what it is of, for each server the rounds' values.
type Results = BTreeMap<(String, &'static str), BTreeMap<Kind, Vec<f64>>>;

#[tokio::main(flavor = "current_thread")]
async fn bench(mut words: Vec<String>) -> Done {
    let rounds = words.first().and_then(|word| word.parse().ok());
    if rounds.is_some() {
        words.remove(0);
    }
    if words.is_empty() {
        words = USUAL.map(str::to_owned).to_vec();
    }
    let mut results = Results::new();
    for _ in 0..rounds.unwrap_or(3) {
        for scenario in &words {
            for kind in kinds(scenario) {
                for (of, value) in measure(scenario, kind).await? {
                    let key = (scenario.clone(), of);
                    results.entry(key).or_default().entry(kind).or_default().push(value);
                    println!("  {scenario:<8} {of:<28} {kind:<6} {value:>12.1}");
                }
            }
        }
    }
    report(results);
    Ok(())
}

/// The servers a scenario is for.
fn kinds(scenario: &str) -> impl Iterator<Item = Kind> {
    let is_ours = scenario == "names";
    Kind::present().filter(move |kind| !is_ours || *kind == Kind::Hulse)
}

async fn measure(scenario: &str, kind: Kind) -> Done<Vec<(&'static str, f64)>> {
    let local = tokio::task::LocalSet::new();
    local.run_until(run(scenario, kind)).await
}

#[expect(clippy::cognitive_complexity, reason = "one line a scenario")]
async fn run(scenario: &str, kind: Kind) -> Done<Vec<(&'static str, f64)>> {
    let server = Server::start(kind).await?;
    let cookie = server.sign_in().await?;
    let crowd = |count| Crowd::connect(server.address(), cookie.clone(), count);
    match scenario {
        "many" => throughput(&server, crowd(1_000).await?, 32).await,
        "one" => throughput(&server, crowd(1_000).await?, 1).await,
        "crowd" => throughput(&server, crowd(5_000).await?, 32).await,
        "names" => {
            let _audience = Audience::connect(server.address(), 1_000).await?;
            let mut figures = throughput(&server, crowd(32).await?, 32).await?;
            // Each message goes to the audience as well.
            figures.iter_mut().for_each(|(_, value)| *value *= 1_032.0 / 32.0);
            Ok(figures)
        }
        "blocked" => {
            let crowd = crowd(1_000).await?;
            let _blocked = Blocked::connect(server.address(), cookie.clone()).await?;
            let before = server.tree().resident_bytes()?;
            let mut figures = throughput(&server, crowd, 32).await?;
            let grown = server.tree().resident_bytes()?.saturating_sub(before);
            figures.push(("bytes it has grown by", grown as f64));
            Ok(figures)
        }
        "full" => throughput(&server, crowd(19_900).await?, 1).await,
        "latency" => {
            let mut delays = crowd(1_000).await?.latency(DRIVE).await?;
            delays.sort_unstable();
            let at = |share: usize| delays[delays.len() * share / 100].as_secs_f64() * 1e6;
            Ok(vec![("p50, microseconds", at(50)), ("p99, microseconds", at(99))])
        }
        "memory" => {
            let _warm = crowd(WARM).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = server.tree().resident_bytes()?;
            let _crowd = crowd(4_000).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let grown = server.tree().resident_bytes()?.saturating_sub(before);
            Ok(vec![("bytes per idle socket", grown as f64 / 4_000.0)])
        }
        other => Err(format!("there is no scenario {other}").into()),
    }
}

async fn throughput(
    server: &Server,
    crowd: Crowd,
    outstanding: u64,
) -> Done<Vec<(&'static str, f64)>> {
    crowd.start(outstanding);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (cpu, delivered) = (server.tree().cpu_seconds()?, crowd.deliveries()?);
    tokio::time::sleep(DRIVE).await;
    let cpu = server.tree().cpu_seconds()? - cpu;
    let delivered = crowd.deliveries()? - delivered;
    Ok(vec![
        ("deliveries per CPU second", delivered as f64 / cpu),
        ("deliveries per second", delivered as f64 / DRIVE.as_secs_f64()),
    ])
}

fn report(results: Results) {
    println!();
    for ((scenario, of), by_kind) in results {
        let medians: Vec<(Kind, f64)> =
            by_kind.into_iter().map(|(kind, values)| (kind, median(values))).collect();
        let ours = medians.iter().find(|(kind, _)| *kind == Kind::Hulse).map_or(0.0, |m| m.1);
        let others = medians.iter().map(|(kind, value)| match kind {
            Kind::Hulse => format!("{kind} {value:.0}"),
            _ => format!("{kind} {value:.0} (ours/its {:.2})", ours / value),
        });
        println!("{scenario:<8} {of:<28} {}", others.collect::<Vec<_>>().join(", "));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
