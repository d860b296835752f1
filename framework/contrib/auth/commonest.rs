//! The passwords people try first.

use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

/// 20,876 lines in lower case, in the order of their bytes: the 20,000 commonest of the passwords
/// and the commonest of the names that zxcvbn 3.1 (MIT) counts, and those of the public top lists.
static PACKED: &[u8] = include_bytes!("common_passwords.txt.gz");

static COMMON: LazyLock<Common> = LazyLock::new(Common::unpack);

/// 160 KB once somebody asks, and where each line begins.
struct Common {
    text: String,
    starts: Vec<usize>,
}

impl Common {
    fn unpack() -> Self {
        let mut text = String::new();
        let unpacked = GzDecoder::new(PACKED).read_to_string(&mut text);
        unpacked.expect("the file is built in and tested");
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).filter(|at| *at < text.len()).collect();
        Self { text, starts }
    }

    fn line(&self, start: usize) -> &str {
        self.text[start..].lines().next().unwrap_or_default()
    }
}

/// Whether `password`, in lower case, is one of them.
pub(super) fn is_common(password: &str) -> bool {
    let common = &*COMMON;
    common.starts.binary_search_by(|start| common.line(*start).cmp(password)).is_ok()
}

/// How many there are.
#[cfg(test)]
pub(super) fn count() -> usize {
    COMMON.starts.len()
}
