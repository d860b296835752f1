//! Password hashes: argon2id in Django's format, so either can read the other's table. What
//! Django's other hashers have made is understood too (`foreign_hashes`).
//!
//! Everything here computes on the calling thread; [`hashing`](super::hashing) keeps it off the
//! runtime and bounded.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand::RngExt;
use rand::distr::Alphanumeric;

use super::foreign_hashes;
use crate::conf;
use crate::error::{Error, Kind, Result};

/// In front of the PHC string, as Django writes it: `argon2$argon2id$v=19$m=..`.
const ALGORITHM: &str = "argon2";

/// Marks a hash no password fits.
const UNUSABLE_PREFIX: char = '!';

/// Random characters after [`UNUSABLE_PREFIX`] (Django's number), so that two such hashes differ
/// and a reset token made from one cannot be guessed.
const UNUSABLE_SUFFIX_CHARS: usize = 40;

/// Dearest argon2 that is verified: 1 GiB, 64 passes. Django's takes 100 MiB and two.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;

/// Longest password hashed, bytes. More is refused before any work is done.
pub const PASSWORD_BYTES_MAX: usize = 4096;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    pub(super) fn of(settings: &conf::Auth) -> Self {
        Self { memory_kib: settings.argon2_memory_kib, passes: settings.argon2_passes }
    }

    fn params(self) -> Result<Params> {
        Params::new(self.memory_kib, self.passes, 1, None).map_err(|error| {
            let message = "using the settings auth.argon2_memory_kib and auth.argon2_passes";
            Error::because(Kind::Settings, message, error)
        })
    }
}

/// The memory of a hash, which the next one takes over.
#[derive(Default)]
pub(super) struct Scratch(Vec<Block>);

impl Scratch {
    /// Computes argon2 into `out`. What a hash needs beyond `cost` is given back after it.
    fn compute(
        &mut self,
        argon2: &Argon2<'_>,
        (password, salt): (&str, &Salt),
        out: &mut [u8],
        cost: Cost,
    ) -> argon2::Result<()> {
        let count = argon2.params().block_count();
        if self.0.len() < count {
            // Nothing of the old is needed, so nothing is copied.
            self.0 = vec![Block::new(); count];
        }
        let computed =
            argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut self.0[..]);
        if argon2.params().m_cost() > cost.memory_kib {
            self.0 = Vec::new();
        }
        computed
    }
}

/// What comparing a password with a stored hash showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It fits.
    Right,
    /// It fits, but the hash was made at another cost: make a new one while the password is here.
    RightButOutdated,
    /// It does not fit, or nothing would.
    Wrong,
}

/// The hash to store for `password`.
pub(super) fn hash(password: &str, cost: Cost, scratch: &mut Scratch) -> Result<String> {
    check_length(password)?;
    let params = cost.params()?;
    let mut computed = || {
        let (salt, mut out) = (Salt::generate(), [0; Params::DEFAULT_OUTPUT_LEN]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        scratch.compute(&argon2, (password, &salt), &mut out, cost)?;
        Ok(PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(salt),
            hash: Some(Output::new(&out)?),
        })
    };
    let computed: std::result::Result<PasswordHash, argon2::password_hash::Error> = computed();
    let hash =
        computed.map_err(|error| Error::because(Kind::Other, "hashing a password", error))?;
    Ok(format!("{ALGORITHM}{hash}"))
}

/// Compares `password` with what is stored. A stored text that no password fits costs as much as
/// one that does, so the time tells nothing about the account.
pub(super) fn verify(
    password: &str,
    stored: Option<&str>,
    cost: Cost,
    scratch: &mut Scratch,
) -> Result<Verdict> {
    if check_length(password).is_err() {
        return Ok(Verdict::Wrong);
    }
    let stored = stored.filter(|stored| !is_unusable(stored)).unwrap_or_default();
    let phc = stored.strip_prefix(ALGORITHM).and_then(|phc| PasswordHash::new(phc).ok());
    let Some(parsed) = phc.filter(is_affordable) else {
        return match foreign_hashes::fits(password, stored) {
            Some(true) => Ok(Verdict::RightButOutdated),
            Some(false) => Ok(Verdict::Wrong),
            None => hash(password, cost, scratch).map(|_| Verdict::Wrong),
        };
    };
    if !fits(password, &parsed, cost, scratch) {
        return Ok(Verdict::Wrong);
    }
    Ok(if is_current(&parsed, cost) { Verdict::Right } else { Verdict::RightButOutdated })
}

/// Whether the password has this hash; compared in a time that tells nothing.
fn fits(password: &str, stored: &PasswordHash, cost: Cost, scratch: &mut Scratch) -> bool {
    let mut computed = || {
        let (salt, expected) = (stored.salt.as_ref()?, stored.hash.as_ref()?);
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
        let version = stored.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let argon2 = Argon2::new(algorithm, version, Params::try_from(stored).ok()?);
        let mut out = vec![0; expected.len()];
        scratch.compute(&argon2, (password, salt), &mut out, cost).ok()?;
        Some(Output::new(&out).ok()? == *expected)
    };
    computed().unwrap_or(false)
}

/// Whether a stored hash costs no more than a site can bear, whoever made it.
fn is_affordable(stored: &PasswordHash) -> bool {
    Params::try_from(stored)
        .is_ok_and(|params| params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX)
}

fn is_current(stored: &PasswordHash, cost: Cost) -> bool {
    Params::try_from(stored).is_ok_and(|params| {
        stored.algorithm == Algorithm::Argon2id.ident()
            && params.m_cost() == cost.memory_kib
            && params.t_cost() == cost.passes
    })
}

/// A hash for an account that cannot sign in with a password.
pub(super) fn unusable() -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(UNUSABLE_SUFFIX_CHARS);
    std::iter::once(UNUSABLE_PREFIX).chain(random.map(char::from)).collect()
}

/// Whether no password fits this hash.
pub(super) fn is_unusable(stored: &str) -> bool {
    stored.is_empty() || stored.starts_with(UNUSABLE_PREFIX)
}

fn check_length(password: &str) -> Result<()> {
    if password.len() > PASSWORD_BYTES_MAX {
        let message = format!("a password is longer than {PASSWORD_BYTES_MAX} bytes");
        return Err(Error::of(Kind::Field, message));
    }
    Ok(())
}
