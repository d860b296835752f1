//! What commands say.

use std::io::{Write, stderr, stdout};

/// Writes to stdout at once; that nobody reads it is no error.
pub(crate) fn tell(words: impl AsRef<str>) {
    tell_bytes(words.as_ref().as_bytes());
}

/// The same for bytes.
pub(crate) fn tell_bytes(bytes: &[u8]) {
    let mut out = stdout();
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes to stderr at once, as they are, words of a build.
pub(crate) fn murmur(words: &str) {
    let mut err = stderr();
    drop(err.write_all(words.as_bytes()).and_then(|()| err.flush()));
}

/// Writes a line to stderr.
#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
pub(crate) fn complain(words: &str) {
    eprintln!("{words}");
}
