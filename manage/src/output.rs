//! What commands say.

use std::io::{Write, stdout};

/// Writes to stdout at once; that nobody reads it is no error.
pub(crate) fn tell(words: impl AsRef<str>) {
    tell_bytes(words.as_ref().as_bytes());
}

/// The same for bytes.
pub(crate) fn tell_bytes(bytes: &[u8]) {
    let mut out = stdout();
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes a line to stderr.
#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
pub(crate) fn complain(words: &str) {
    eprintln!("{words}");
}
