//! Secrets and their masked forms. Pure but for the dice.

use subtle::ConstantTimeEq;

/// Letters of a secret (Django's order: the cipher adds positions).
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// Letters in a secret.
const SECRET_CHARS: usize = 32;
/// Letters in a token: the mask, then the secret under it.
const TOKEN_CHARS: usize = 2 * SECRET_CHARS;

/// What a text from outside can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A secret as the cookie holds it.
    Secret(&'a str),
    /// Mask and masked secret.
    Masked(&'a str),
}

impl<'a> Token<'a> {
    /// The error ends the sentence "CSRF token from POST ...".
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let token = match text.len() {
            SECRET_CHARS => Self::Secret(text),
            TOKEN_CHARS => Self::Masked(text),
            _ => return Err("has incorrect length"),
        };
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("has invalid characters");
        }
        Ok(token)
    }

    pub(super) fn secret(&self) -> String {
        match self {
            Self::Secret(secret) => (*secret).to_owned(),
            Self::Masked(token) => {
                let (mask, cipher) = token.as_bytes().split_at(SECRET_CHARS);
                let letters = LETTERS.len();
                let pairs = cipher.iter().zip(mask);
                pairs
                    .map(|(c, m)| LETTERS[(place(*c) + letters - place(*m)) % letters] as char)
                    .collect()
            }
        }
    }
}

/// The secret in a cookie's value; `None` if it is none, and a new one has to be made.
pub(super) fn cookie_secret(value: &str) -> Option<String> {
    Token::parse(value).ok().map(|token| token.secret())
}

/// A fresh secret: 190 random bits.
pub(super) fn new_secret() -> String {
    (0..SECRET_CHARS).map(|_| LETTERS[rand::random_range(0..LETTERS.len())] as char).collect()
}

/// The secret under a fresh mask, so that no two answers hold the same text: what compression
/// tells of one page then says nothing of the next (BREACH).
pub(super) fn mask(secret: &str) -> String {
    let mask = new_secret();
    let masked = secret
        .bytes()
        .zip(mask.bytes())
        .map(|(secret, mask)| LETTERS[(place(secret) + place(mask)) % LETTERS.len()] as char);
    let masked: String = masked.collect();
    mask + &masked
}

/// Whether `token` is the secret, masked or not.
pub(super) fn check(token: &str, secret: &str) -> Result<(), &'static str> {
    let given = Token::parse(token)?.secret();
    match bool::from(given.as_bytes().ct_eq(secret.as_bytes())) {
        true => Ok(()),
        false => Err("incorrect"),
    }
}

fn place(letter: u8) -> usize {
    match letter {
        b'a'..=b'z' => usize::from(letter - b'a'),
        b'A'..=b'Z' => usize::from(letter - b'A') + 26,
        _ => usize::from(letter.wrapping_sub(b'0')) + 52,
    }
}
