//! What a request costs: `cargo run --release -p hulse-benches --bin http [rounds] [cases]`.
//!
//! Flow: for each round, start both servers (`servers`), each on one core → for each case, in
//! turns, `wrk -c64` from the other core (`load`) → requests per CPU second of the server's whole
//! process tree. Printed: the median of each side and of the rounds' ratios, beside the promise.
//!
//! Servers: a site under `pulse -w 1` with everything that is on by default (`site`; arbiter, store
//! and worker are counted) but the waits of too many logins, and the same work by hand with axum,
//! sqlx and tera (`hand`), which has a session only where it needs one.
//!
//! Cases: `plain` a text for a visitor without cookies; `answer` the same, where the one by hand
//! sends the headers that ours does (policies, an id of the request); `cookie` the text for one who
//! brings a session; `row` one row of SQLite; `page` a page of twelve; `account` a page that greets
//! the session's user; `login` with a password, at equal argon2 parameters; `start` (ours only)
//! from the kill of the worker to an answer of the next one.
//!
//! The program is the servers too: called with a command it is the site or the axum server.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

mod hand;
mod load;
mod servers;
mod site;
#[expect(dead_code, reason = "its memory is asked for elsewhere")]
#[path = "../realtime/tree.rs"]
mod tree;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use load::Load;
use servers::{Kind, Server};

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// How long each measurement drives its server, after a moment of warming up.
const DRIVE: Duration = Duration::from_secs(3);
/// How long it is warmed up.
const WARM: Duration = Duration::from_millis(500);

/// What is measured, and how many times the requests of the server by hand we promise.
const CASES: [(&str, f64); 7] = [
    ("plain", 0.95),
    ("answer", 0.95),
    ("cookie", 0.7),
    ("row", 1.1),
    ("page", 1.0),
    ("account", 1.1),
    ("login", 0.95),
];
/// From the death of a worker to an answer of the next one; the promise in milliseconds.
const START: (&str, f64) = ("start", 100.0);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = |word: &str| {
        let mut names = CASES.iter().chain([&START]).map(|(name, _)| *name);
        word.parse::<usize>().is_ok() || names.any(|name| name == word)
    };
    match arguments.first().map(String::as_str) {
        Some("axum") => hand::serve(),
        Some(command) if !is_bench(command) => hulse_manage::run(site::project()),
        _ => match bench(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("failed: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Each side's figures of one case, a round each.
#[derive(Default)]
struct Figures {
    hulse: Vec<f64>,
    axum: Vec<f64>,
}

fn bench(words: &[String]) -> Done {
    let rounds = words.first().and_then(|word| word.parse::<usize>().ok());
    let named = &words[usize::from(rounds.is_some())..];
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|word| word == name);
    let cases: Vec<_> = CASES.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    let mut figures: Vec<Figures> = cases.iter().map(|_| Figures::default()).collect();
    let mut starts = Vec::new();
    for round in 0..rounds.unwrap_or(5) {
        let (ours, theirs) = (Server::start(Kind::Hulse)?, Server::start(Kind::Axum)?);
        for ((name, _), figures) in cases.iter().zip(&mut figures) {
            let mut sides = [(&ours, &mut figures.hulse), (&theirs, &mut figures.axum)];
            if round % 2 == 1 {
                sides.reverse();
            }
            for (server, figures) in sides {
                let figure = measure(server, &Load::of(name, server)?)?;
                println!("  {name:<8} {:<6} {figure:>10.0}", server.kind());
                figures.push(figure);
            }
        }
        if is_wanted(START.0) {
            starts.push(ours.restart_worker()?.as_secs_f64() * 1e3);
        }
    }
    report(&cases, figures, starts);
    Ok(())
}

/// Requests per CPU second.
fn measure(server: &Server, load: &Load) -> Done<f64> {
    load.drive(server, WARM)?;
    let before = server.tree().cpu_seconds()?;
    let requests = load.drive(server, DRIVE)?;
    Ok(requests as f64 / (server.tree().cpu_seconds()? - before))
}

fn report(cases: &[(&str, f64)], figures: Vec<Figures>, starts: Vec<f64>) {
    println!("\nrequests per CPU second          hulse       axum   ratio  least  most  promised");
    for ((name, promised), Figures { hulse, axum }) in cases.iter().zip(figures) {
        let mut ratios: Vec<f64> = hulse.iter().zip(&axum).map(|(ours, its)| ours / its).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let ratio = ratios[ratios.len() / 2];
        println!(
            "{name:<26} {:>11.0} {:>10.0} {ratio:>7.2} {least:>6.2} {most:>5.2} {promised:>9.2}",
            median(hulse),
            median(axum)
        );
    }
    if !starts.is_empty() {
        let promised = START.1;
        println!("{}, milliseconds: {:.0}, promised {promised:.0}", START.0, median(starts));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
