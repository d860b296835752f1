//! The frame parser against a second reading of RFC 6455: slow, obvious, over bytes that are all
//! there.
//!
//! Conversations are made of frames, mostly allowed, and then damaged byte by byte; the parser
//! gets them in random pieces. In half of them compressed messages are agreed on.
//! `HULSE_FUZZ_SECONDS=600` goes on for that long, and `HULSE_FUZZ_SEED` begins with the
//! conversation of that number.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::frames::{Allowed, Fault, Heard, Parser, may_travel};

/// Conversations without a time given.
const CONVERSATIONS: u64 = 20_000;
/// Largest message, bytes: small, so that the limit is often met.
const MESSAGE_MAX: usize = 1500;

/// What was heard, and how it ended if it did.
type Verdict = (Vec<Heard>, Option<Fault>);

/// What a frame brings.
enum Read {
    /// Not all of it is there.
    Incomplete,
    Part,
    Whole(Heard),
}

/// The next `count` bytes; `None` if they are not all there.
fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

/// A message under way.
#[derive(Default)]
struct Message {
    opcode: Option<u8>,
    bytes: Vec<u8>,
    is_deflated: bool,
}

impl Message {
    fn is_hopeless(&self) -> bool {
        let checked = std::str::from_utf8(&self.bytes);
        self.opcode == Some(1)
            && !self.is_deflated
            && checked.is_err_and(|error| error.error_len().is_some())
    }
}

/// A message as it was before it was compressed, RFC 7692 §7.2.2; what is too large is as good as
/// what is none: which of the two is found first is the decoder's matter.
fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Fault> {
    let packed = [packed, &[0, 0, 0xFF, 0xFF]].concat();
    let mut plain = Vec::new();
    let read = DeflateDecoder::new(&packed[..]).take(MESSAGE_MAX as u64 + 1);
    // It ends with a block that says that there are more.
    let is_read = match { read }.read_to_end(&mut plain) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::UnexpectedEof,
    };
    if is_read && plain.len() <= MESSAGE_MAX { Ok(plain) } else { Err(Fault::Deflate) }
}

/// RFC 6455 as it is written, over all there is.
fn by_the_book(mut input: &[u8], deflated: bool) -> Verdict {
    let (mut heard, mut message) = (Vec::new(), Message::default());
    loop {
        match frame_by_the_book(&mut input, &mut message, deflated) {
            Ok(Read::Incomplete) => return (heard, None),
            Ok(Read::Part) => {}
            Ok(Read::Whole(complete)) => heard.push(complete),
            Err(fault) => return (heard, Some(fault)),
        }
    }
}

fn frame_by_the_book(
    input: &mut &[u8],
    message: &mut Message,
    deflated: bool,
) -> Result<Read, Fault> {
    let Some(&[first]) = take(input, 1) else { return Ok(Read::Incomplete) };
    let (is_final, opcode) = (first >= 0x80, first & 0x0F);
    let is_control = opcode >= 8;
    let is_in_place = match opcode {
        0 => message.opcode.is_some(),
        1 | 2 => message.opcode.is_none(),
        8..=10 => is_final,
        _ => false,
    };
    let is_packed = deflated && matches!(opcode, 1 | 2) && first & 0x70 == 0x40;
    if (first & 0x70 != 0 && !is_packed) || !is_in_place {
        return Err(Fault::Protocol);
    }
    let Some(&[second]) = take(input, 1) else { return Ok(Read::Incomplete) };
    if second < 0x80 || (is_control && second & 0x7F > 125) {
        return Err(Fault::Protocol);
    }
    let extra = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(length) = take(input, extra) else { return Ok(Read::Incomplete) };
    let long = length.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let length = if extra == 0 { u64::from(second & 0x7F) } else { long };
    let shortest = [0, 126, 65_536][if extra == 8 { 2 } else { extra / 2 }];
    if length < shortest || length >= 1 << 63 {
        return Err(Fault::Protocol);
    }
    if !is_control && length > (MESSAGE_MAX - message.bytes.len()) as u64 {
        return Err(if deflated { Fault::Deflate } else { Fault::TooLarge });
    }
    let Some(mask) = take(input, 4) else { return Ok(Read::Incomplete) };
    let there = usize::try_from(length).unwrap().min(input.len());
    let is_whole = there as u64 == length;
    let payload = take(input, there).unwrap().iter().zip(mask.iter().cycle());
    let payload: Vec<u8> = payload.map(|(byte, mask)| byte ^ mask).collect();
    if is_control {
        return if is_whole {
            control_by_the_book(opcode, payload).map(Read::Whole)
        } else {
            Ok(Read::Incomplete)
        };
    }
    message.opcode.get_or_insert(opcode);
    message.is_deflated |= is_packed;
    message.bytes.extend(payload);
    if message.is_hopeless() {
        return Err(Fault::Utf8);
    }
    if !is_whole {
        return Ok(Read::Incomplete);
    }
    if !is_final {
        return Ok(Read::Part);
    }
    let Message { opcode, mut bytes, is_deflated } = std::mem::take(message);
    if is_deflated {
        bytes = unpacked(&bytes)?;
    }
    if opcode == Some(2) {
        return Ok(Read::Whole(Heard::Binary(bytes)));
    }
    String::from_utf8(bytes).map(|text| Read::Whole(Heard::Text(text))).map_err(|_| Fault::Utf8)
}

fn control_by_the_book(opcode: u8, payload: Vec<u8>) -> Result<Heard, Fault> {
    match (opcode, &payload[..]) {
        (9, _) => Ok(Heard::Ping(payload)),
        (10, _) => Ok(Heard::Pong),
        (_, []) => Ok(Heard::Close(payload)),
        (_, [_]) => Err(Fault::Protocol),
        (_, [a, b, reason @ ..]) => {
            if !may_travel(u16::from_be_bytes([*a, *b])) {
                return Err(Fault::Protocol);
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Heard::Close(payload)),
                Err(_) => Err(Fault::Utf8),
            }
        }
    }
}

/// What the parser makes of `input` in pieces; it holds no more than came.
fn in_pieces(input: &[u8], deflated: bool, random: &mut SmallRng) -> Verdict {
    let (mut parser, mut heard, mut rest) = (Parser::default(), Vec::new(), input);
    while !rest.is_empty() {
        let most = if random.random_ratio(1, 4) { 3 } else { rest.len() };
        let count = random.random_range(1..=most.min(rest.len()));
        let mut piece;
        (piece, rest) = rest.split_at(count);
        while !piece.is_empty() {
            match parser.next(&mut piece, Allowed { message_max: MESSAGE_MAX, deflated }) {
                None => assert!(piece.is_empty(), "read on only when all was read"),
                Some(Ok(complete)) => heard.push(complete),
                Some(Err(Fault::TooLarge)) if deflated => return (heard, Some(Fault::Deflate)),
                Some(Err(fault)) => return (heard, Some(fault)),
            }
        }
        assert!(parser.held_bytes() <= 2 * MESSAGE_MAX + 256, "{} held", parser.held_bytes());
        if random.random_ratio(1, 20) {
            // Another process reads on.
            let packed = serde_json::to_string(&parser).unwrap();
            parser = serde_json::from_str(&packed).unwrap();
            assert!(parser.is_sound(), "{packed}");
        }
    }
    (heard, None)
}

/// A conversation: frames that mostly may follow each other.
fn conversation(deflated: bool, random: &mut SmallRng) -> Vec<u8> {
    let (mut bytes, mut is_inside) = (Vec::new(), false);
    for _ in 0..random.random_range(1..8) {
        if deflated && !is_inside && random.random_ratio(1, 2) {
            put_packed(&mut bytes, random);
            continue;
        }
        let opcode = match random.random_range(0..20) {
            0..=7 => u8::from(!is_inside),
            8..=11 if !is_inside => 2,
            8..=11 => 0,
            12..=14 => 9,
            15 | 16 => 10,
            17 => 8,
            _ => random.random_range(0..16),
        };
        let is_final = opcode >= 8 || random.random_ratio(2, 3);
        if opcode < 8 {
            is_inside = !is_final;
        }
        let payload = payload(opcode, random);
        put_frame(&mut bytes, opcode | if is_final { 0x80 } else { 0 }, &payload, random);
    }
    bytes
}

fn put_frame(bytes: &mut Vec<u8>, first: u8, payload: &[u8], random: &mut SmallRng) {
    let second = match payload.len() {
        short @ 0..=125 => vec![short as u8],
        long => [vec![126], (long as u16).to_be_bytes().to_vec()].concat(),
    };
    bytes.push(first);
    bytes.push(second[0] | 0x80);
    bytes.extend(&second[1..]);
    let mask: [u8; 4] = if random.random_ratio(1, 8) { [0; 4] } else { random.random() };
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A compressed message, in frames of which only the first says so.
fn put_packed(bytes: &mut Vec<u8>, random: &mut SmallRng) {
    let opcode = random.random_range(1..=2);
    let plain = match random.random_range(0..8) {
        0 => "long ".repeat(random.random_range(0..MESSAGE_MAX / 4)).into_bytes(),
        _ => payload(opcode, random),
    };
    let mut packed = Vec::with_capacity(2 * plain.len() + 100);
    let mut compress = Compress::new(Compression::fast(), false);
    compress.compress_vec(&plain, &mut packed, FlushCompress::Sync).unwrap();
    packed.truncate(packed.len() - 4);
    let mut rest = &packed[..];
    let mut first = opcode | 0x40;
    loop {
        let count = random.random_range(0..=rest.len());
        let count = if random.random_ratio(1, 2) { rest.len() } else { count };
        let (piece, behind) = rest.split_at(count);
        rest = behind;
        let is_final = rest.is_empty();
        put_frame(bytes, first | if is_final { 0x80 } else { 0 }, piece, random);
        if is_final {
            return;
        }
        first = if random.random_ratio(1, 50) { 0x40 } else { 0 };
    }
}

fn payload(opcode: u8, random: &mut SmallRng) -> Vec<u8> {
    let length = match random.random_range(0..10) {
        0 => 0,
        1 => random.random_range(120..135),
        2 => random.random_range(0..MESSAGE_MAX + 20),
        _ => random.random_range(0..40),
    };
    let length = if opcode >= 8 { length.min(125) } else { length };
    let mut payload = Vec::new();
    while payload.len() < length {
        let letter = char::from_u32(random.random_range(0..0x11_0000)).unwrap_or('x');
        payload.extend_from_slice(letter.to_string().as_bytes());
    }
    // Letters may be cut in two: that is for the next part of the message.
    payload.truncate(length);
    if opcode == 8 && length >= 2 {
        let code = [999_u16, 1000, 1001, 1005, 1006, 1011, 1015, 3000, 4999, 5000];
        let code = code[random.random_range(0..code.len())];
        payload[..2].copy_from_slice(&code.to_be_bytes());
    }
    payload
}

/// Changes, takes away, doubles or adds bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut SmallRng) {
    for _ in 0..random.random_range(0..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.random()),
            4 => bytes.truncate(at),
            _ => {
                let end = random.random_range(at..bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

#[test]
fn whatever_is_sent_in_whatever_pieces_is_read_by_the_book() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("HULSE_FUZZ_SEED").unwrap_or(0);
    let until = number("HULSE_FUZZ_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let mut faults = 0;
    let mut seed = first;
    while until.map_or(seed < first + CONVERSATIONS, |until| Instant::now() < until) {
        let mut random = SmallRng::seed_from_u64(seed);
        let deflated = random.random_ratio(1, 2);
        let mut bytes = conversation(deflated, &mut random);
        damage(&mut bytes, &mut random);
        let expected = by_the_book(&bytes, deflated);
        faults += u64::from(expected.1.is_some());
        let said = in_pieces(&bytes, deflated, &mut random);
        assert_eq!(said, expected, "HULSE_FUZZ_SEED={seed}: {bytes:?}");
        seed += 1;
    }
    let count = seed - first;
    println!("{count} conversations, {faults} of them refused");
    assert!(faults * 10 > count, "most damage is harmless: {faults} of {count} refused");
    assert!(faults * 10 < count * 9, "hardly any is allowed: {faults} of {count} refused");
}
