//! Headers that are kept for long: one piece of memory until somebody asks for the map.
//!
//! A map is a hundred bytes a header, and its values are slices of what hyper read: one small value
//! would keep all 8 KiB of that. Usual names are one byte.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names that are one byte: those of a browser's handshake first. What is kept lives no longer than
/// its process, so the list may change.
const NAMES: [&str; 24] = [
    "host",
    "connection",
    "upgrade",
    "user-agent",
    "origin",
    "cookie",
    "accept",
    "accept-language",
    "accept-encoding",
    "sec-websocket-version",
    "sec-websocket-key",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "cache-control",
    "pragma",
    "referer",
    "authorization",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
];
/// The byte before a name that is written out.
const OTHER: u8 = u8::MAX;

/// The headers of a request.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    /// Name and value of each; nothing if the map was there at first. A name is its place in
    /// [`NAMES`], or [`OTHER`] and the name; name and value are behind their lengths.
    packed: Box<[u8]>,
    /// Boxed: a connection that never asks for it should not hold its place.
    map: OnceLock<Box<HeaderMap>>,
}

impl Headers {
    /// These, as they are.
    pub(super) fn new(map: HeaderMap) -> Self {
        Self { packed: Box::default(), map: OnceLock::from(Box::new(map)) }
    }

    /// These, packed.
    pub(super) fn pack(map: &HeaderMap) -> Self {
        let mut packed = Vec::new();
        for (name, value) in map {
            put_name(&mut packed, name.as_str());
            put(&mut packed, value.as_bytes());
        }
        Self { packed: packed.into_boxed_slice(), map: OnceLock::new() }
    }

    /// The map.
    pub(super) fn map(&self) -> &HeaderMap {
        self.map.get_or_init(|| {
            let mut map = HeaderMap::new();
            for (name, value) in self.pairs() {
                let name = HeaderName::try_from(name).expect("it was a name");
                map.append(name, HeaderValue::from_bytes(value).expect("it was a value"));
            }
            Box::new(map)
        })
    }

    /// The first value of `name`, as text if it is visible ASCII. Makes no map.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.map.get() {
            Some(map) => map.get(name)?.to_str().ok(),
            None => self.values(name).next().and_then(text),
        }
    }

    /// All values of `name` that are visible ASCII. Makes no map.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_map = self.map.get().map(|map| map.get_all(name).into_iter());
        let of_map = of_map.into_iter().flatten().filter_map(|value| value.to_str().ok());
        // Nothing is packed where there was a map at first; else a map holds the same.
        let packed = self.map.get().is_none().then(|| self.values(name));
        of_map.chain(packed.into_iter().flatten().filter_map(text))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.pairs().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value)
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.packed[..];
        std::iter::from_fn(move || Some((take_name(&mut rest)?, take(&mut rest)?)))
    }
}

/// The value, if it is visible ASCII.
fn text(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7E);
    value.iter().all(is_visible).then(|| std::str::from_utf8(value).ok())?
}

fn put_name(packed: &mut Vec<u8>, name: &str) {
    match NAMES.iter().position(|known| *known == name) {
        Some(place) => packed.push(place as u8),
        None => {
            packed.push(OTHER);
            put(packed, name.as_bytes());
        }
    }
}

/// Lengths below 255 are one byte, others 255 and four.
fn put(packed: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length) if length < u8::MAX => packed.push(length),
        _ => {
            packed.push(u8::MAX);
            // A whole head has at most 32 KiB.
            packed.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        }
    }
    packed.extend(text);
}

fn take_name<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (place, behind) = rest.split_first()?;
    *rest = behind;
    match NAMES.get(usize::from(*place)) {
        Some(name) => Some(name),
        None => std::str::from_utf8(take(rest)?).ok(),
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first()?;
    let (length, behind) = match *length {
        u8::MAX => {
            let (length, behind) = behind.split_first_chunk()?;
            (u32::from_le_bytes(*length) as usize, behind)
        }
        length => (usize::from(length), behind),
    };
    let (text, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(text)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::Headers;

    fn headers() -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in
            [("host", "a.example"), ("cookie", "a=1"), ("cookie", "b=2"), ("x-odd", "\u{e9}")]
        {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(HeaderName::from_static(name), value);
        }
        for length in [0, 1, 254, 255, 256, 30_000] {
            let value = HeaderValue::from_bytes(&vec![b'v'; length]).unwrap();
            map.append(HeaderName::from_static("x-long"), value);
        }
        map
    }

    #[test]
    fn packed_headers_read_as_they_were() {
        let packed = Headers::pack(&headers());
        assert_eq!(packed.text("Host"), Some("a.example"));
        assert_eq!(packed.text("cookie"), Some("a=1"));
        assert_eq!(packed.texts("cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(packed.text("x-odd"), None, "no ASCII");
        assert_eq!(packed.text("accept"), None);
        assert!(packed.map.get().is_none(), "no map was made for that");
        assert_eq!(packed.map(), &headers());
        assert_eq!(packed.text("HOST"), Some("a.example"));
        assert_eq!(packed.texts("cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    }
}
