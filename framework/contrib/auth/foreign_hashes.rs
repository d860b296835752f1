//! Hashes that Django's other hashers have made. They are verified, never made: who signs in with
//! one gets a hash of ours.
//!
//! Invariant: what a stored hash may cost is bounded, so a table from elsewhere is no way to hang a
//! site.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pbkdf2::pbkdf2_hmac;
use scrypt::Params;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Most rounds of PBKDF2; Django 6.1 makes 1,500,000.
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;

/// Most memory of scrypt, bytes; Django's takes 16 MiB.
const SCRYPT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Most lanes of scrypt, computed one after the other; Django's has 5 at most.
const SCRYPT_LANES_MAX: u32 = 16;

/// Dearest bcrypt, as the logarithm of its rounds; Django's is 12.
const BCRYPT_COST_MAX: u32 = 16;

/// Whether `password` fits the hash; `None` if it is of no kind that is known here.
pub(super) fn fits(password: &str, stored: &str) -> Option<bool> {
    let (algorithm, rest) = stored.split_once('$')?;
    match algorithm {
        "pbkdf2_sha256" => pbkdf2(password, rest, 32, pbkdf2_hmac::<Sha256>),
        "pbkdf2_sha1" => pbkdf2(password, rest, 20, pbkdf2_hmac::<Sha1>),
        "scrypt" => scrypt(password, rest),
        "bcrypt" => bcrypt(password, rest),
        "bcrypt_sha256" => bcrypt(&hexadecimal(&Sha256::digest(password)), rest),
        _ => None,
    }
}

/// `rounds$salt$hash`
fn pbkdf2(
    password: &str,
    rest: &str,
    length: usize,
    derive: fn(&[u8], &[u8], u32, &mut [u8]),
) -> Option<bool> {
    let [rounds, salt, hash] = rest.split('$').collect::<Vec<_>>()[..] else { return None };
    let rounds = rounds.parse().ok().filter(|rounds| (1..=PBKDF2_ROUNDS_MAX).contains(rounds))?;
    let mut made = vec![0; length];
    derive(password.as_bytes(), salt.as_bytes(), rounds, &mut made);
    is_same(&made, hash)
}

/// `n$salt$r$p$hash`
fn scrypt(password: &str, rest: &str) -> Option<bool> {
    let [n, salt, r, p, hash] = rest.split('$').collect::<Vec<_>>()[..] else { return None };
    let n: u64 = n.parse().ok().filter(|n: &u64| n.is_power_of_two())?;
    let (r, p): (u32, u32) = (r.parse().ok()?, p.parse().ok()?);
    let bytes = n.checked_mul(u64::from(r))?.checked_mul(128)?;
    if bytes > SCRYPT_BYTES_MAX || p > SCRYPT_LANES_MAX {
        return None;
    }
    let params = Params::new(u8::try_from(n.trailing_zeros()).ok()?, r, p).ok()?;
    let mut made = [0; 64];
    scrypt::scrypt(password.as_bytes(), salt.as_bytes(), &params, &mut made).ok()?;
    is_same(&made, hash)
}

/// `$2b$12$..`; like every bcrypt it reads 72 bytes of the password.
fn bcrypt(password: &str, rest: &str) -> Option<bool> {
    let cost: u32 = rest.split('$').nth(2)?.parse().ok()?;
    if cost > BCRYPT_COST_MAX {
        return None;
    }
    bcrypt::verify(password, rest).ok()
}

fn is_same(made: &[u8], stored: &str) -> Option<bool> {
    Some(made.ct_eq(&STANDARD.decode(stored).ok()?).into())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
