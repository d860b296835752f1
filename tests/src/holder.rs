//! Crowds of clients in processes of their own.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::process::programs;

/// Longest wait until all of them are connected.
const WAIT: Duration = Duration::from_secs(300);

/// Clients that hold a connection each, in a process that has nothing else to do. Dropping it ends
/// them.
#[derive(Debug)]
pub struct Holder {
    _process: Child,
}

impl Holder {
    /// `count` clients of the testsite at `address`, once all are there: `idle` ones, `sockets`, or
    /// `slow` ones, as `src/bin/holder.rs` says.
    ///
    /// # Panics
    /// One of them is refused.
    pub async fn start(address: &str, count: usize, kind: &str) -> Self {
        let mut command = Command::new(programs().join("holder"));
        command.args([address, &count.to_string(), kind]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the program is built with the tests");
        let said = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(said).lines();
        let line = timeout(WAIT, lines.next_line()).await.expect("in time").expect("a line");
        assert_eq!(line.as_deref(), Some("held"), "not all of {count} {kind} clients were let in");
        Self { _process: process }
    }
}
