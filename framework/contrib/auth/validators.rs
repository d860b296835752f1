//! What a password must not be (Django's four rules).

/// Fewest characters.
const CHARS_MIN: usize = 8;

/// A password at least this similar to something about its user is refused (1 is equal).
const SIMILARITY_MAX: f64 = 0.7;

/// The passwords people try first: those of the public top lists that pass the other rules too, so
/// the list stays short.
const COMMON: &str = include_str!("common_passwords.txt");

/// What is wrong with `password`, in words for its user; empty if nothing is. `about` is what is
/// known of the user: the attribute's name in words, and its value.
#[must_use]
pub fn validate_password(password: &str, about: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some((name, _)) = about.iter().find(|(_, value)| is_too_similar(password, value)) {
        faults.push(format!("The password is too similar to the {name}."));
    }
    if password.chars().count() < CHARS_MIN {
        faults.push(format!(
            "This password is too short. It must contain at least {CHARS_MIN} characters."
        ));
    }
    let lower = password.trim().to_lowercase();
    if COMMON.lines().any(|common| common == lower) {
        faults.push("This password is too common.".to_owned());
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        faults.push("This password is entirely numeric.".to_owned());
    }
    faults
}

fn is_too_similar(password: &str, value: &str) -> bool {
    let password = password.to_lowercase();
    let value = value.to_lowercase();
    let parts = value.split(|c: char| !c.is_alphanumeric() && c != '_');
    std::iter::once(value.as_str())
        .chain(parts)
        .filter(|part| !part.is_empty())
        .any(|part| similarity(&password, part) >= SIMILARITY_MAX)
}

/// How much two texts share: twice the letters in common over all letters, order ignored. It is the
/// upper bound Python's `SequenceMatcher.quick_ratio` computes, which is what Django compares.
fn similarity(one: &str, other: &str) -> f64 {
    let (ones, others) = (one.chars().count(), other.chars().count());
    // Lengths this far apart cannot reach the limit; a very long value costs nothing then.
    if ones >= 10 * others || others >= 10 * ones {
        return 0.0;
    }
    let mut left: Vec<char> = other.chars().collect();
    let mut common = 0_u32;
    for letter in one.chars() {
        if let Some(at) = left.iter().position(|c| *c == letter) {
            left.swap_remove(at);
            common += 1;
        }
    }
    let all = u32::try_from(ones + others).unwrap_or(u32::MAX);
    2.0 * f64::from(common) / f64::from(all)
}
