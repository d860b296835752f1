//! What a password must not be (Django's four rules, and zxcvbn's if the site wants it).

use super::commonest::is_common;
use super::models::User;
use crate::apps::Check;
use crate::conf;

/// A password at least this similar to something about its user is refused (1 is equal).
const SIMILARITY_MAX: f64 = 0.7;

impl User {
    /// What a password of this user must not resemble: the attribute in words, and its value.
    #[must_use]
    pub fn about(&self) -> [(&'static str, &str); 4] {
        [
            ("username", &self.username),
            ("first name", &self.first_name),
            ("last name", &self.last_name),
            ("email address", &self.email),
        ]
    }
}

/// What is wrong with `password`, in words for its user; empty if nothing is. `about` is what is
/// known of the user: [`User::about`].
#[must_use]
pub fn validate_password(
    settings: &conf::Auth,
    password: &str,
    about: &[(&str, &str)],
) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some((name, _)) = about.iter().find(|(_, value)| is_too_similar(password, value)) {
        faults.push(format!("The password is too similar to the {name}."));
    }
    let least = settings.password_min_length;
    if password.chars().count() < least {
        let plural = if least == 1 { "" } else { "s" };
        faults.push(format!(
            "This password is too short. It must contain at least {least} character{plural}."
        ));
    }
    if is_common(&password.trim().to_lowercase()) {
        faults.push("This password is too common.".to_owned());
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        faults.push("This password is entirely numeric.".to_owned());
    }
    if faults.is_empty() {
        faults.extend(guessable(settings, password, about));
    }
    faults
}

/// What zxcvbn says of a password that is guessed too easily.
#[cfg(feature = "zxcvbn")]
fn guessable(settings: &conf::Auth, password: &str, about: &[(&str, &str)]) -> Vec<String> {
    /// It looks no further, and takes longer than linear for what it looks at.
    const CHARS_MAX: usize = 100;
    if settings.password_score_min == 0 {
        return Vec::new();
    }
    let known: Vec<&str> = about.iter().map(|(_, value)| *value).collect();
    let start: String = password.chars().take(CHARS_MAX).collect();
    let judged = zxcvbn::zxcvbn(&start, &known);
    if u8::from(judged.score()) >= settings.password_score_min {
        return Vec::new();
    }
    let warning = judged.feedback().and_then(|said| said.warning()).map(|said| said.to_string());
    [Some("This password is too easy to guess.".to_owned()), warning]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(not(feature = "zxcvbn"))]
fn guessable(_: &conf::Auth, _: &str, _: &[(&str, &str)]) -> Vec<String> {
    Vec::new()
}

/// Rules that the program does not know.
pub(super) fn checks(settings: &conf::Auth) -> Vec<Check> {
    if settings.password_score_min == 0 || cfg!(feature = "zxcvbn") {
        return Vec::new();
    }
    let words = "auth.password_score_min is set, but nothing here can tell a password's score";
    vec![Check::error("auth.E104", words).hint("build with the feature `zxcvbn` of `hulse`")]
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
