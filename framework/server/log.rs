//! Where the log goes.
//!
//! Flow: the subscriber makes a line of each event → [`Plain`] or [`Json`], which add the request
//! that caused it → `log_file` if there is one, else [`Sink`], which writes it to stderr.
//!
//! Invariants:
//! - A line stays a line, whatever a visitor sends.
//! - Nobody waits long for whoever reads the log: what a full pipe or socket does not take after a
//!   moment is lost and counted, and a line says so once it takes something again. A file is
//!   written to as it is; the kernel keeps what a disk cannot take at once.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Stderr, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::net::SendFlags;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::conf;
use crate::error::{Error, Kind, Result};
use crate::http::Named;
use crate::server::log_file;

/// How long a line waits for a reader who was in time so far.
const READER_WAIT: Duration = Duration::from_millis(20);

/// How long all lines of a second wait together. What a reader who is slow and not dead costs those
/// who are served is this at most: a twentieth of their time.
const SECOND_WAIT: Duration = Duration::from_millis(50);

/// Bytes a pipe takes as a whole or not at all.
const PIECE_BYTES: usize = 4096;

/// Sends the log of this process to stderr or a file, as the settings say. The first call counts.
///
/// # Errors
/// `log.level` is no filter, or `log.file` cannot be written.
pub fn start_log(settings: &conf::Log) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| Error::because(Kind::Settings, "reading log.level", error))?;
    if !settings.file.as_os_str().is_empty() {
        log_file::start(&settings.file)?;
    }
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    // A second call finds the first one's subscriber in place: a command that calls another.
    let _already = if settings.format == "json" {
        base.json().with_writer(Json).try_init()
    } else {
        base.with_writer(Plain).try_init()
    };
    Ok(())
}

/// Writes lines whose control characters are escaped: what a visitor sends cannot forge a line or
/// speak to the terminal.
#[derive(Clone, Copy, Debug)]
struct Plain;

/// Writes lines as they are: JSON has escaped them.
#[derive(Clone, Copy, Debug)]
struct Json;

impl MakeWriter<'_> for Plain {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl MakeWriter<'_> for Json {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Plain {
    /// Takes one whole line: the subscriber writes an event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = escaped(&String::from_utf8_lossy(line));
        if let Some(named) = Named::current() {
            // A URI and a method hold visible ASCII only, and so does an id.
            text.truncate(text.trim_end_matches('\n').len());
            text.push_str(&format!(" {named}\n"));
        }
        write_line(text.as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Json {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match (Named::current(), line.strip_suffix(b"}\n")) {
            (Some(named), Some(object)) => {
                let request = format!(",\"request\":{}}}\n", named.json());
                write_line(&[object, request.as_bytes()].concat());
            }
            _ => write_line(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_line(line: &[u8]) {
    match log_file::of_process() {
        Some(file) => file.line(line),
        None => Sink::get().line(line),
    }
}

/// Stderr, and how many lines it did not take since it last took one.
#[derive(Debug)]
struct Sink {
    to: To,
    lost: AtomicU64,
    patience: Mutex<Patience>,
}

/// What is left of a second's time to wait.
#[derive(Clone, Copy, Debug)]
struct Patience {
    since: Instant,
    waited: Duration,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { since: now, waited: Duration::ZERO }
    }

    /// How long a line may wait at `now`.
    fn wait(&mut self, now: Instant) -> Duration {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        SECOND_WAIT.saturating_sub(self.waited).min(READER_WAIT)
    }

    /// A line has waited so long.
    fn spend(&mut self, waited: Duration) {
        self.waited += waited;
    }
}

#[derive(Debug)]
enum To {
    /// A pipe, opened once more: not to wait for it is then no matter of who else writes to it.
    Pipe(File),
    Socket(Stderr),
    /// A file or a terminal.
    Other(Stderr),
}

impl Sink {
    fn get() -> &'static Self {
        static SINK: OnceLock<Sink> = OnceLock::new();
        SINK.get_or_init(|| Self::new(To::stderr()))
    }

    fn new(to: To) -> Self {
        let patience = Mutex::new(Patience::new(Instant::now()));
        Self { to, lost: AtomicU64::new(0), patience }
    }

    fn line(&self, line: &[u8]) {
        let lost = self.lost.load(Ordering::Relaxed);
        let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        // A reader who did not take the last one is not waited for.
        let wait = if lost == 0 { patience.wait(begun) } else { Duration::ZERO };
        // In one piece: a pipe with room for these words alone would say them for every line.
        let words = format!("{lost} lines of the log were lost: nobody read it\n");
        let words = if lost == 0 { "" } else { words.as_str() };
        let _before = match self.to.write(&[words.as_bytes(), line].concat(), wait) {
            Ok(()) => self.lost.fetch_sub(lost, Ordering::Relaxed),
            Err(_) => self.lost.fetch_add(1, Ordering::Relaxed),
        };
        patience.spend(begun.elapsed());
    }
}

impl To {
    fn stderr() -> Self {
        let stderr = io::stderr();
        let kind = rustix::fs::fstat(&stderr).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::Fifo) => {
                let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
                let again =
                    OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2");
                again.map_or(Self::Other(stderr), Self::Pipe)
            }
            Ok(FileType::Socket) => Self::Socket(stderr),
            _ => Self::Other(stderr),
        }
    }

    /// Writes a line in pieces; an error if one of them is not taken in time.
    fn write(&self, line: &[u8], wait: Duration) -> io::Result<()> {
        if let Self::Other(stderr) = self {
            return stderr.lock().write_all(line);
        }
        for piece in line.chunks(PIECE_BYTES) {
            self.write_piece(piece, wait)?;
        }
        Ok(())
    }

    fn write_piece(&self, mut piece: &[u8], wait: Duration) -> io::Result<()> {
        let nanoseconds = wait.subsec_nanos().into();
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: nanoseconds };
        while !piece.is_empty() {
            let written = match self {
                Self::Pipe(file) => (&*file).write(piece),
                Self::Socket(stderr) => {
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    rustix::net::send(stderr, piece, flags).map_err(io::Error::from)
                }
                Self::Other(stderr) => stderr.lock().write(piece),
            };
            match written {
                Ok(written) => piece = &piece[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self, PollFlags::OUT)];
                    if poll(&mut fds, Some(&wait))? == 0 {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for To {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(file) => file.as_fd(),
            Self::Socket(stderr) | Self::Other(stderr) => stderr.as_fd(),
        }
    }
}

/// The line with every control character but the final newline escaped.
fn escaped(line: &str) -> String {
    let text = line.strip_suffix('\n').unwrap_or(line);
    let mut escaped = String::with_capacity(line.len());
    for letter in text.chars() {
        if letter.is_control() {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped.push_str(&line[text.len()..]);
    escaped
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let check = |line, expected| assert_eq!(escaped(line), expected);
        check("GET /ä 200\n", "GET /ä 200\n");
        check("GET /a\nERROR forged\n", "GET /a\\nERROR forged\n");
        check("\u{1b}[31mred\r\n", "\\u{1b}[31mred\\r\n");
        check("no newline\u{9b}", "no newline\\u{9b}");
    }

    #[test]
    fn lines_wait_for_a_reader_only_so_long_in_a_second() {
        let begun = Instant::now();
        let mut patience = Patience::new(begun);
        let waits = |patience: &mut Patience, after: u64| {
            let wait = patience.wait(begun + Duration::from_millis(after));
            patience.spend(wait);
            wait.as_millis()
        };
        let first: Vec<_> = (0..5).map(|line| waits(&mut patience, line * 20)).collect();
        assert_eq!(first, [20, 20, 10, 0, 0]);
        assert_eq!((waits(&mut patience, 999), waits(&mut patience, 1000)), (0, 20));
    }

    #[test]
    fn what_nobody_reads_is_counted_and_said_later() {
        let (reader, writer) = io::pipe().unwrap();
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let sink = Sink::new(To::Pipe(writer));
        let line = format!("{}\n", "x".repeat(999));
        let begun = std::time::Instant::now();
        for _ in 0..10_000 {
            sink.line(line.as_bytes());
        }
        assert!(begun.elapsed().as_secs() < 2, "nobody waits for the reader");
        let lost = sink.lost.load(Ordering::Relaxed);
        assert!(lost > 9_000, "{lost}");
        let mut reader = File::from(std::os::fd::OwnedFd::from(reader));
        let mut read = vec![0; (10_000 - usize::try_from(lost).unwrap()) * line.len()];
        reader.read_exact(&mut read).unwrap();
        sink.line(b"next\n");
        drop(sink);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("{lost} lines of the log were lost: nobody read it\nnext\n"));
    }
}
