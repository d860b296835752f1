//! Headers that are kept for long: one piece of memory until somebody asks for the map.
//!
//! A map is a hundred bytes a header, and its values are slices of what hyper read: one small value
//! would keep all 8 KiB of that.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers of a request.
#[derive(Debug)]
pub(super) struct Headers {
    /// Name and value of each, both behind their lengths; nothing if the map was there at first.
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
            put(&mut packed, name.as_str().as_bytes());
            put(&mut packed, value.as_bytes());
        }
        Self { packed: packed.into_boxed_slice(), map: OnceLock::new() }
    }

    /// The map.
    pub(super) fn map(&self) -> &HeaderMap {
        self.map.get_or_init(|| {
            let mut map = HeaderMap::new();
            for (name, value) in self.pairs() {
                let name = HeaderName::from_bytes(name).expect("it was a name");
                map.append(name, HeaderValue::from_bytes(value).expect("it was a value"));
            }
            Box::new(map)
        })
    }

    /// The first value of `name`, as text if it is visible ASCII. Makes no map.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Some(map) = self.map.get() {
            return map.get(name)?.to_str().ok();
        }
        let is_it = |(known, _): &(&[u8], &[u8])| known.eq_ignore_ascii_case(name.as_bytes());
        let (_, value) = self.pairs().find(is_it)?;
        let is_visible = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7E);
        value.iter().all(is_visible).then(|| std::str::from_utf8(value).ok())?
    }

    fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.packed[..];
        std::iter::from_fn(move || Some((take(&mut rest)?, take(&mut rest)?)))
    }
}

fn put(packed: &mut Vec<u8>, text: &[u8]) {
    // A whole head has at most 32 KiB.
    packed.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    packed.extend(text);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
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
        map
    }

    #[test]
    fn packed_headers_read_as_they_were() {
        let packed = Headers::pack(&headers());
        assert_eq!(packed.text("Host"), Some("a.example"));
        assert_eq!(packed.text("cookie"), Some("a=1"));
        assert_eq!(packed.text("x-odd"), None, "no ASCII");
        assert_eq!(packed.text("accept"), None);
        assert!(packed.map.get().is_none(), "no map was made for that");
        assert_eq!(packed.map(), &headers());
        assert_eq!(packed.text("HOST"), Some("a.example"));
    }
}
