//! When a session ends.
//!
//! Invariant: nothing but what is kept, the settings and the clock says it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::conf;

/// The session's key for when it ends, if not as configured: seconds, a moment, or 0 for the end of
/// the browser. Django's name.
pub(super) const EXPIRY: &str = "_session_expiry";
/// Longest life of a session that says so itself, as good as for ever.
const AGE_MAX: TimeDelta = TimeDelta::days(36_500);

/// When a session ends, for [`Session::set_expiry`](super::Session::set_expiry). Whatever it says,
/// `sessions.absolute_age` is the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// As the settings say: `sessions.cookie_age` after it was last used, or with the browser.
    #[default]
    AsConfigured,
    /// So long after it was last used; whole seconds, one at least.
    After(Duration),
    /// At this moment, however much it is used.
    At(DateTime<Utc>),
    /// With the browser, and `sessions.cookie_age` after it was last used.
    AtBrowserClose,
}

impl Expiry {
    /// What is kept of it.
    pub(super) fn value(self) -> Option<Value> {
        match self {
            Self::AsConfigured => None,
            Self::After(age) => Some(age.as_secs().max(1).into()),
            Self::At(moment) => Some(moment.to_rfc3339().into()),
            Self::AtBrowserClose => Some(0.into()),
        }
    }

    /// Of what was kept; something that cannot be read is as configured.
    pub(super) fn read(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Number(seconds)) => match seconds.as_u64() {
                Some(0) => Self::AtBrowserClose,
                Some(seconds) => Self::After(Duration::from_secs(seconds)),
                None => Self::AsConfigured,
            },
            Some(Value::String(text)) => text.parse().map_or(Self::AsConfigured, Self::At),
            _ => Self::AsConfigured,
        }
    }
}

/// When a session was last kept that ends then; none that ends at a moment of its own.
pub(super) fn last_kept(
    expiry: Expiry,
    settings: &conf::Sessions,
    end: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let age = match expiry {
        Expiry::At(_) => return None,
        Expiry::After(age) => TimeDelta::from_std(age).unwrap_or(AGE_MAX).min(AGE_MAX),
        Expiry::AsConfigured | Expiry::AtBrowserClose => seconds(settings.cookie_age),
    };
    end.checked_sub_signed(age)
}

/// How long a session lasts that is kept at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) end: DateTime<Utc>,
    /// Until then, as it was said.
    pub(super) age: TimeDelta,
    /// The cookie has no end of its own.
    pub(super) with_browser: bool,
}

impl Life {
    /// Of a session that was begun at `begun` and is kept at `now`.
    pub(super) fn of(
        expiry: Expiry,
        settings: &conf::Sessions,
        begun: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        let configured = seconds(settings.cookie_age);
        let (age, with_browser) = match expiry {
            Expiry::AsConfigured => (configured, settings.expire_at_browser_close),
            Expiry::After(age) => (TimeDelta::from_std(age).unwrap_or(AGE_MAX), false),
            Expiry::At(moment) => (moment - now, false),
            Expiry::AtBrowserClose => (configured, true),
        };
        let left = match settings.absolute_age {
            0 => AGE_MAX,
            max => begun + seconds(max) - now,
        };
        let age = age.min(left).min(AGE_MAX);
        Self { end: now + age, age, with_browser }
    }
}

fn seconds(number: i64) -> TimeDelta {
    TimeDelta::try_seconds(number).unwrap_or(AGE_MAX).min(AGE_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::json;

    use super::{Expiry, Life};
    use crate::conf;

    fn moment(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn an_expiry_is_read_as_it_was_kept() {
        for expiry in [
            Expiry::AsConfigured,
            Expiry::After(Duration::from_secs(60)),
            Expiry::At(moment(1_000_000)),
            Expiry::AtBrowserClose,
        ] {
            assert_eq!(Expiry::read(expiry.value().as_ref()), expiry);
        }
        for odd in [json!("soon"), json!(-3), json!(1.5), json!([1]), json!(null)] {
            assert_eq!(Expiry::read(Some(&odd)), Expiry::AsConfigured, "{odd}");
        }
        assert_eq!(Expiry::After(Duration::ZERO).value(), Some(json!(1)));
    }

    #[test]
    fn a_life_is_as_long_as_the_least_that_is_said() {
        let settings =
            conf::Sessions { cookie_age: 100, absolute_age: 1000, ..conf::Sessions::default() };
        let check = |expiry, now, (age, with_browser)| {
            let life = Life::of(expiry, &settings, moment(0), moment(now));
            let age = TimeDelta::seconds(age);
            assert_eq!(life, Life { end: moment(now) + age, age, with_browser }, "{expiry:?}");
        };
        check(Expiry::AsConfigured, 10, (100, false));
        check(Expiry::AsConfigured, 950, (50, false));
        check(Expiry::AtBrowserClose, 10, (100, true));
        check(Expiry::After(Duration::from_secs(7)), 10, (7, false));
        check(Expiry::After(Duration::from_secs(7000)), 10, (990, false));
        check(Expiry::After(Duration::MAX), 10, (990, false));
        check(Expiry::At(moment(600)), 10, (590, false));
        check(Expiry::At(moment(6000)), 10, (990, false));
        check(Expiry::At(moment(5)), 10, (-5, false));
        check(Expiry::AsConfigured, 2000, (-1000, false));
        let for_ever = conf::Sessions { cookie_age: i64::MAX, ..conf::Sessions::default() };
        let life = Life::of(Expiry::AsConfigured, &for_ever, moment(0), moment(0));
        assert_eq!(life.age, TimeDelta::days(36_500));
    }
}
