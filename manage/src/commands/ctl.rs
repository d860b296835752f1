//! `manage ctl`: looks at the running server and tells it what to do.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hulse::Result;
use hulse::conf::Override;
use hulse::server::{Request, ask_running};
use serde_json::Value;

use crate::context::Context;
use crate::output::tell;

/// Looks at the running server and tells it what to do.
///
/// Exit codes: 0 done, 1 the server does not run, gives no answer or says no, 2 usage.
#[derive(Debug, Args)]
pub(crate) struct Ctl {
    /// The control socket, if it is not the one of the settings.
    #[arg(long, value_name = "FILE", global = true)]
    control: Option<String>,
    #[command(subcommand)]
    word: Word,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Word {
    /// Shows the server and its processes.
    Status {
        /// As one line of JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Says whether it answers.
    Ping,
    /// Has it run another number of workers.
    Scale {
        /// How many.
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        workers: u16,
    },
    /// Replaces all workers, losing nothing, and waits until they are.
    Reload,
    /// Stops it gracefully, and waits until it has ended.
    Stop,
    /// Shows how many connections each worker holds.
    Connections {
        /// As one line of JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows the groups that have members, and how many.
    Groups {
        /// As one line of JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

impl Ctl {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let flag = self.control.map(|file| Override::new("server.control", "--control", file));
        let settings = context.settings_with(flag.into_iter().collect())?;
        let (request, is_json) = self.word.request();
        let answer = ask_running(&settings, request)?;
        tell(if is_json { format!("{answer}\n") } else { self.word.shown(&answer) });
        Ok(ExitCode::SUCCESS)
    }
}

impl Word {
    /// What to ask, and whether the answer is for a program.
    fn request(self) -> (Request, bool) {
        match self {
            Self::Status { json } => (Request::Status, json),
            Self::Ping => (Request::Ping, false),
            Self::Scale { workers } => (Request::Scale { workers: workers.into() }, false),
            Self::Reload => (Request::Reload, false),
            Self::Stop => (Request::Stop, false),
            Self::Connections { json } => (Request::Connections, json),
            Self::Groups { json } => (Request::Groups, json),
        }
    }

    fn shown(self, answer: &Value) -> String {
        match self {
            Self::Status { .. } => status(answer),
            Self::Ping => format!("process {} answers\n", answer["process"]),
            Self::Scale { .. } => format!("{} workers from now on\n", answer["workers"]),
            Self::Reload => {
                let (workers, generation) = (&answer["workers"], &answer["generation"]);
                format!("{workers} workers of generation {generation} serve\n")
            }
            Self::Stop => format!("process {} has ended\n", answer["process"]),
            Self::Connections { .. } => connections(answer),
            Self::Groups { .. } => groups(answer),
        }
    }
}

fn status(answer: &Value) -> String {
    let mut text = format!(
        "hulse {} {}, process {}, up {}, generation {}, {} workers, {} deaths, {}\n",
        word(&answer["version"]),
        word(&answer["state"]),
        answer["process"],
        time(&answer["uptime_seconds"]),
        answer["generation"],
        answer["workers"],
        answer["deaths"],
        word(&answer["data_store"]),
    );
    let (moved, sent_on) = (&answer["sockets_moved"], &answer["sockets_sent_on"]);
    if *moved != 0 || *sent_on != 0 {
        text += &format!("reloads have moved {moved} WebSockets and sent {sent_on} on\n");
    }
    for url in answer["listening"].as_array().into_iter().flatten() {
        text += &format!("listening on {}\n", word(url));
    }
    let columns = "state generation process age heard connections sockets requests";
    let mut rows = vec![[vec!["child"], columns.split(' ').collect()].concat()]
        .into_iter()
        .map(|row| row.into_iter().map(ToOwned::to_owned).collect())
        .collect::<Vec<Vec<String>>>();
    let children = || answer["children"].as_array().into_iter().flatten();
    for child in children().filter(|child| child["role"] != "service") {
        let mut row = vec![name(child), word(&child["state"]).to_owned()];
        row.push(child["generation"].to_string());
        row.push(child["process"].to_string());
        row.extend([time(&child["age_seconds"]), time(&child["heard_seconds"])]);
        let is_worker = child["role"] == "worker";
        let count = |key: &str| if is_worker { child[key].to_string() } else { String::new() };
        row.extend(["connections", "sockets", "requests"].map(count));
        rows.push(row);
    }
    text += &table(&rows);
    let services: Vec<&Value> = children().filter(|child| child["role"] == "service").collect();
    if !services.is_empty() {
        text += &table(&service_rows(&services));
    }
    text
}

/// What a service does: it has no visitors.
fn service_rows(services: &[&Value]) -> Vec<Vec<String>> {
    let columns = "service state generation process age restarts handled mailbox";
    let mut rows = vec![columns.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>()];
    for service in services {
        let title = word(&service["title"]);
        let title = title.strip_prefix("service ").unwrap_or(title);
        let mut row = vec![title.to_owned(), word(&service["state"]).to_owned()];
        row.extend(["generation", "process"].map(|key| service[key].to_string()));
        row.push(time(&service["age_seconds"]));
        let number = |key: &str| service[key].as_u64().map_or_else(String::new, |n| n.to_string());
        row.extend(["restarts", "handled", "mailbox"].map(number));
        rows.push(row);
    }
    rows
}

fn connections(answer: &Value) -> String {
    let mut rows: Vec<Vec<String>> =
        vec![["worker", "connections", "sockets"].map(ToOwned::to_owned).to_vec()];
    for child in answer["workers"].as_array().into_iter().flatten() {
        let counts = ["connections", "sockets"].map(|key| child[key].to_string());
        rows.push([vec![name(child)], counts.to_vec()].concat());
    }
    let all = ["connections", "sockets"].map(|key| answer[key].to_string());
    rows.push([vec!["all".to_owned()], all.to_vec()].concat());
    table(&rows)
}

fn groups(answer: &Value) -> String {
    let mut rows: Vec<Vec<String>> = vec![["group", "members"].map(ToOwned::to_owned).to_vec()];
    for (group, members) in answer["groups"].as_object().into_iter().flatten() {
        rows.push(vec![group.clone(), members.to_string()]);
    }
    let mut text = table(&rows);
    let notes =
        [("left_out", "smaller groups are left out"), ("silent_workers", "workers are silent")];
    for (key, words) in notes {
        if answer[key].as_u64().is_some_and(|count| count > 0) {
            text += &format!("{} {words}\n", answer[key]);
        }
    }
    text
}

/// `worker 2`, `store`.
fn name(child: &Value) -> String {
    let role = word(&child["role"]);
    match child["number"].as_u64() {
        Some(number) if number > 0 => format!("{role} {number}"),
        _ => role.to_owned(),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// `0.2s`, `3m 20s`, `2d 4h`.
fn time(seconds: &Value) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3600, "h"), (60, "m")];
    let seconds = seconds.as_f64().unwrap_or_default();
    let whole = seconds as u64;
    let found = UNITS.iter().position(|(length, _)| whole >= *length);
    match found {
        None => format!("{seconds:.1}s"),
        Some(index) => {
            let (length, unit) = UNITS[index];
            let (smaller, name) = UNITS.get(index + 1).copied().unwrap_or((1, "s"));
            format!("{}{unit} {}{name}", whole / length, whole % length / smaller)
        }
    }
}

/// Columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
