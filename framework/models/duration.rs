//! Spans of time as text, as Django writes them: `1 12:30:00.500000`.

use chrono::TimeDelta;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Reads `[-][days ][[hours:]minutes:]seconds[.fraction]`: `90`, `01:30`, `2 00:00:00`. The sign is
/// that of the whole.
#[must_use]
pub fn parse(text: &str) -> Option<TimeDelta> {
    let text = text.trim();
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (days, clock) = match text.split_once(' ') {
        Some((days, clock)) => (whole(days)?, clock.trim_start()),
        None => (0, text),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [seconds] => (0, 0, seconds),
        [minutes, seconds] => (0, whole(minutes)?, seconds),
        [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, seconds),
        _ => return None,
    };
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut total = format!("{fraction:0<6}").parse::<i64>().ok()?;
    for (count, unit) in [(days, DAY), (hours, HOUR), (minutes, MINUTE), (whole(seconds)?, SECOND)]
    {
        total = total.checked_add(count.checked_mul(unit)?)?;
    }
    Some(TimeDelta::microseconds(sign * total))
}

/// Digits only, so that no part has a sign of its own.
fn whole(digits: &str) -> Option<i64> {
    let all = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

/// Writes what [`parse`] reads: `01:30:00`, `-2 00:00:00.000001`. What is below a microsecond is
/// left out.
#[must_use]
pub fn format(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds().unsigned_abs();
    let microseconds = duration.subsec_nanos().unsigned_abs() / 1000;
    let sign = if duration < TimeDelta::zero() { "-" } else { "" };
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = if days > 0 { format!("{days} ") } else { String::new() };
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    let fraction = if microseconds > 0 { format!(".{microseconds:06}") } else { String::new() };
    format!("{sign}{days}{clock}{fraction}")
}
