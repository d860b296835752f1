//! A line that tells how far a long work is, on a terminal; elsewhere nothing is said.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Shortest time between two changes of the line.
const PAUSE: Duration = Duration::from_millis(100);

/// Blocks of the bar.
const WIDTH: u64 = 30;

/// How far a work is.
pub(crate) struct Progress {
    /// How much there is to do, if that is known.
    all: Option<u64>,
    begun: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new(all: Option<u64>) -> Self {
        Self { all, begun: Instant::now(), shown: None, is_terminal: stderr().is_terminal() }
    }

    /// So much is done.
    pub(crate) fn show(&mut self, done: u64) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        write(&format!("\r{}\u{1b}[K", line(done, self.all, self.begun.elapsed())));
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if self.shown.is_some() {
            write("\r\u{1b}[K");
        }
    }
}

#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
fn write(words: &str) {
    eprint!("{words}");
}

/// `[#####.....] 500/1000 objects, 250 a second`
fn line(done: u64, all: Option<u64>, time: Duration) -> String {
    let rate = done.saturating_mul(1000) / u64::try_from(time.as_millis()).unwrap_or(1).max(1);
    let Some(all) = all else { return format!("{done} objects, {rate} a second") };
    let full = (done * WIDTH).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
    format!("[{bar}] {done}/{all} objects, {rate} a second")
}

#[cfg(test)]
mod tests {
    use super::line;
    use std::time::Duration;

    #[test]
    fn the_line_says_how_far_it_is() {
        let two = Duration::from_secs(2);
        let bar = format!("[{}{}]", "#".repeat(15), ".".repeat(15));
        assert_eq!(line(500, Some(1000), two), format!("{bar} 500/1000 objects, 250 a second"));
        assert_eq!(line(500, None, two), "500 objects, 250 a second");
        assert!(line(0, Some(0), Duration::ZERO).contains("0/0 objects, 0 a second"));
    }
}
