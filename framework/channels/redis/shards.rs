//! Which shard a name lies on: a consistent hash, so that a shard more moves few names.

use sha2::{Digest, Sha256};

use super::address::Host;

/// Places of a shard on the circle: with so many the shares of three differ by a few per cent.
const PLACES: u32 = 160;

/// The circle. It depends on what the hosts are called, not on their order in the URL.
#[derive(Debug)]
pub(super) struct Circle {
    /// Sorted places, each with its shard.
    places: Vec<(u64, usize)>,
}

impl Circle {
    pub(super) fn new(hosts: &[Host]) -> Self {
        let mut places: Vec<(u64, usize)> = (0..hosts.len())
            .flat_map(|shard| {
                (0..PLACES).map(move |i| (hash(&format!("{}#{i}", hosts[shard])), shard))
            })
            .collect();
        // Equal places, should there be any, in one order whatever the URL's.
        places.sort_by_key(|&(place, shard)| (place, hosts[shard].to_string()));
        Self { places }
    }

    /// The shard of `name`; the same for every operation.
    pub(super) fn shard(&self, name: &str) -> usize {
        if self.places.len() == PLACES as usize {
            return self.places[0].1;
        }
        let at = self.places.partition_point(|(place, _)| *place < hash(name));
        self.places[at % self.places.len()].1
    }
}

/// The first 64 bits of the text's SHA-256.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}
