//! Random text for names and tokens.

use rand::RngExt;

/// What it is made of: safe in URLs, cookies and file names, and the same in any letter case.
const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// `length` random lower-case letters and digits, from the system's cryptographic generator
/// (5.17 bits each: 25 of them are as good as a 128-bit key).
#[must_use]
pub fn random_string(length: usize) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(CHARACTERS[random.random_range(..CHARACTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::{CHARACTERS, random_string};

    #[test]
    fn a_random_string_has_its_length_and_all_characters_come_up() {
        let text = random_string(10_000);
        assert_eq!(text.len(), 10_000);
        assert!(CHARACTERS.iter().all(|&c| text.contains(char::from(c))));
        assert_eq!(random_string(0), "");
        assert_ne!(random_string(25), random_string(25));
    }
}
