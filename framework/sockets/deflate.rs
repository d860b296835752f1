//! permessage-deflate: what is agreed on at the handshake, and reading compressed messages.
//!
//! RFC 7692, both ways without context takeover: a connection keeps no window. What leaves is
//! compressed in `channels`, once for all who want it.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use http::{HeaderMap, header};

use super::frames::Fault;

/// The answer to an offer.
pub(super) const AGREED: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// What a compressor leaves out. RFC 7692 §7.2.2.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Bytes unpacked at once.
const STEP_BYTES: usize = 16 * 1024;
/// The largest window there is, in bits; any client's fits.
const WINDOW_BITS_MAX: u8 = 15;
/// The smallest. RFC 7692 §7.1.2.1.
const WINDOW_BITS_MIN: u8 = 8;

thread_local! {
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Whether the client makes an offer that can be taken as [`AGREED`].
pub(super) fn is_offered(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(is_possible)
}

/// One offer: every parameter known, once, and within what we do.
fn is_possible(offer: &str) -> bool {
    let mut words = offer.split(';').map(str::trim);
    if !words.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) {
        return false;
    }
    let mut seen: Vec<String> = Vec::new();
    words.all(|word| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (word, None),
        };
        let name = name.to_ascii_lowercase();
        let bits = value.map(|value| value.parse::<u8>().ok().filter(|_| !value.starts_with('+')));
        let is_window = |bits: u8| (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits);
        let is_known = match (name.as_str(), bits) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
            ("client_max_window_bits", None) => true,
            ("client_max_window_bits", Some(bits)) => bits.is_some_and(is_window),
            // A smaller window than ours is not made.
            ("server_max_window_bits", Some(bits)) => bits == Some(WINDOW_BITS_MAX),
            _ => false,
        };
        let is_new = !seen.contains(&name);
        seen.push(name);
        is_known && is_new
    })
}

/// A message as it was before it was compressed.
pub(super) fn inflate(mut message: Vec<u8>, message_max: usize) -> Result<Vec<u8>, Fault> {
    message.extend_from_slice(&TAIL);
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        let mut out = Vec::new();
        loop {
            let read = usize::try_from(decompress.total_in()).unwrap_or(usize::MAX);
            let (input, before) = (message.get(read..).unwrap_or_default(), out.len());
            out.reserve(STEP_BYTES.min(message_max + 1 - before));
            let done = decompress.decompress_vec(input, &mut out, FlushDecompress::Sync);
            let status = done.map_err(|_| Fault::Deflate)?;
            if out.len() > message_max {
                return Err(Fault::TooLarge);
            }
            let is_all =
                decompress.total_in() == message.len() as u64 && out.len() < out.capacity();
            let is_stuck = out.len() == before
                && usize::try_from(decompress.total_in()).unwrap_or(usize::MAX) == read;
            if status == Status::StreamEnd || is_all {
                return Ok(out);
            }
            if is_stuck {
                return Err(Fault::Deflate);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::{Fault, inflate, is_possible};

    #[test]
    fn an_offer_is_taken_if_all_of_it_is_known() {
        for (offer, expected) in [
            ("permessage-deflate", true),
            (" permessage-deflate ; client_max_window_bits", true),
            ("permessage-deflate; client_max_window_bits=10; server_max_window_bits=15", true),
            ("permessage-deflate; client_max_window_bits=\"9\"", true),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits", false),
            ("permessage-deflate; client_max_window_bits=16", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; client_max_window_bits=+9", false),
            ("permessage-deflate; server_no_context_takeover=1", false),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", false),
            ("permessage-deflate; x", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(is_possible(offer), expected, "{offer:?}");
        }
    }

    fn compressed(plain: &[u8]) -> Vec<u8> {
        let mut made = Vec::with_capacity(plain.len() + 1000);
        let mut compress = Compress::new(Compression::best(), false);
        compress.compress_vec(plain, &mut made, FlushCompress::Sync).unwrap();
        assert!(made.ends_with(&super::TAIL));
        made.truncate(made.len() - 4);
        made
    }

    #[test]
    fn a_message_is_unpacked_as_far_as_it_may_be_large() {
        for length in [0, 1, 1000, 16_383, 16_384, 16_385, 100_000] {
            let plain = vec![b'x'; length];
            assert_eq!(inflate(compressed(&plain), length), Ok(plain.clone()), "{length}");
            if length > 0 {
                assert_eq!(inflate(compressed(&plain), length - 1), Err(Fault::TooLarge));
            }
        }
        let bomb = compressed(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(inflate(bomb, 1 << 20), Err(Fault::TooLarge));
    }

    #[test]
    fn what_is_no_deflate_is_a_fault() {
        assert_eq!(inflate(vec![0xFF, 0xFF, 0xFF], 1000), Err(Fault::Deflate));
        // A whole stream with its end in it is allowed.
        let mut made = Vec::with_capacity(100);
        let mut compress = Compress::new(Compression::best(), false);
        compress.compress_vec(b"the end", &mut made, FlushCompress::Finish).unwrap();
        assert_eq!(inflate(made, 1000), Ok(b"the end".to_vec()));
    }
}
