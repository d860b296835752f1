//! The token in a password reset's link, Django's: `<seconds since 2001, base 36>-<hash>`.
//!
//! Invariants:
//! - Nothing is stored. The hash covers the password, the last login and the address, so the token
//!   is worth nothing once it was used, after a login, and after the address has changed.
//! - A token made with an earlier key counts while that key is a fallback.

use chrono::{DateTime, TimeZone, Utc};

use super::models::User;
use crate::conf::{Secret, Settings};
use crate::signing::{is_same, salted_hmac};

/// Names the use of the key.
const SALT: &str = "hulse.contrib.auth.tokens";

/// Longest text read as a time; Django's bound, 64 bits in base 36.
const TIME_CHARS_MAX: usize = 13;

/// A token for `user`, made at `now`.
pub(super) fn make(user: &User, settings: &Settings, now: DateTime<Utc>) -> String {
    with_key(user, seconds(now), &settings.secret_key)
}

/// Whether `token` is one of `user` that still counts at `now`.
pub(super) fn fits(user: &User, settings: &Settings, token: &str, now: DateTime<Utc>) -> bool {
    let Some(made) = token.split_once('-').and_then(|(time, _)| parse(time)) else { return false };
    let keys = [&settings.secret_key].into_iter().chain(&settings.secret_key_fallbacks);
    // Every key is tried, so the time does not tell which.
    let fitting = keys.filter(|key| is_same(token, &with_key(user, made, key))).count();
    let age = seconds(now).saturating_sub(made);
    fitting > 0 && age <= settings.auth.password_reset_timeout
}

fn with_key(user: &User, made: u64, key: &Secret) -> String {
    let last_login = user.last_login.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string());
    let last_login = last_login.unwrap_or_default();
    let covered = format!("{}{}{last_login}{made}{}", user.id, user.password, user.email);
    let hash = salted_hmac(SALT, &covered, key);
    format!("{}-{}", base36(made), hash.chars().step_by(2).collect::<String>())
}

/// Since the first day of 2001.
fn seconds(now: DateTime<Utc>) -> u64 {
    let start = Utc.with_ymd_and_hms(2001, 1, 1, 0, 0, 0).single().unwrap_or_default();
    u64::try_from((now - start).num_seconds()).unwrap_or_default()
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        digits.push(char::from_digit(digit, 36).unwrap_or_default());
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

fn parse(text: &str) -> Option<u64> {
    let is_digit = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let fits = !text.is_empty() && text.len() <= TIME_CHARS_MAX && text.chars().all(is_digit);
    fits.then(|| u64::from_str_radix(text, 36).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};

    use super::{base36, fits, make, parse};
    use crate::conf::{Secret, Settings};
    use crate::contrib::auth::User;

    fn keys(key: &str, fallbacks: &[&str]) -> Settings {
        let mut settings = Settings::default();
        settings.secret_key = Secret::new(key);
        settings.secret_key_fallbacks = fallbacks.iter().map(|key| Secret::new(*key)).collect();
        settings
    }

    #[test]
    fn a_time_is_written_in_base_36_and_read_back() {
        for (number, text) in [(0, "0"), (35, "z"), (36, "10"), (816_134_400, "dhwlc0")] {
            assert_eq!(base36(number), text);
            assert_eq!(parse(text), Some(number));
        }
        for bad in ["", "A", "+1", "-1", "1_0", " 1", "zzzzzzzzzzzzzz", "ä"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_worth_nothing_once_anything_it_covers_has_changed() {
        let settings = keys("k", &[]);
        let now = Utc.with_ymd_and_hms(2026, 11, 12, 8, 0, 0).unwrap();
        let ann = User {
            id: 7.into(),
            password: "argon2$x".into(),
            email: "ann@example.org".into(),
            last_login: Some(now - TimeDelta::days(1)),
            ..User::default()
        };
        let token = make(&ann, &settings, now);
        let (time, hash) = token.split_once('-').unwrap();
        assert_eq!((time, hash.len()), (&*base36(816_163_200), 32));
        assert!(fits(&ann, &settings, &token, now));
        for changed in [
            User { id: 8.into(), ..ann.clone() },
            User { password: "argon2$y".into(), ..ann.clone() },
            User { email: "eve@example.org".into(), ..ann.clone() },
            User { last_login: Some(now), ..ann.clone() },
            User { last_login: None, ..ann.clone() },
        ] {
            assert!(!fits(&changed, &settings, &token, now), "{changed:?}");
        }
        // The database may have cut the fraction off.
        let cut = ann.last_login.map(|at| at + TimeDelta::milliseconds(3));
        assert!(fits(&User { last_login: cut, ..ann.clone() }, &settings, &token, now));

        let last = now + TimeDelta::seconds(259_200);
        assert!(fits(&ann, &settings, &token, last), "three days");
        assert!(!fits(&ann, &settings, &token, last + TimeDelta::seconds(1)));
        let later = format!("{}-{hash}", base36(816_163_201));
        for forged in
            [&later, hash, time, "", "-", &token.to_uppercase(), &token[..token.len() - 1]]
        {
            assert!(!fits(&ann, &settings, forged, now), "{forged:?}");
        }
        assert!(fits(&ann, &keys("new", &["older", "k"]), &token, now));
        assert!(!fits(&ann, &keys("new", &["older"]), &token, now));
    }
}
