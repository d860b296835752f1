//! Where the log goes.

use std::io::{self, Stderr, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::conf;
use crate::error::{Error, Kind, Result};

/// Sends the log of this process to stderr, as the settings say. The first call counts.
///
/// # Errors
/// `log.level` is no filter.
pub fn start_log(settings: &conf::Log) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| Error::because(Kind::Settings, "reading log.level", error))?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    // A second call finds the first one's subscriber in place: a command that calls another.
    let _already = if settings.format == "json" {
        base.json().with_writer(io::stderr).try_init()
    } else {
        base.with_writer(Plain).try_init()
    };
    Ok(())
}

/// Writes lines to stderr whose control characters are escaped: what a visitor sends cannot forge a
/// line or speak to the terminal.
#[derive(Clone, Copy, Debug)]
struct Plain;

struct PlainLine(Stderr);

impl<'a> MakeWriter<'a> for Plain {
    type Writer = PlainLine;

    fn make_writer(&'a self) -> PlainLine {
        PlainLine(io::stderr())
    }
}

impl Write for PlainLine {
    /// Takes one whole line: the subscriber writes an event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
    use super::escaped;

    #[test]
    fn a_line_stays_one_line() {
        let check = |line, expected| assert_eq!(escaped(line), expected);
        check("GET /ä 200\n", "GET /ä 200\n");
        check("GET /a\nERROR forged\n", "GET /a\\nERROR forged\n");
        check("\u{1b}[31mred\r\n", "\\u{1b}[31mred\\r\n");
        check("no newline\u{9b}", "no newline\\u{9b}");
    }
}
