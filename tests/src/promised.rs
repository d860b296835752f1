//! How soon a thing must have happened.

use std::time::Duration;

/// What is promised, where `HULSE_TEST_LONG` has the test run alone. Beside other tests `busy`:
/// what the fault that the test is for would still take longer than, and a machine that stands
/// still for a moment does not.
#[must_use]
pub fn promised(promised: Duration, busy: Duration) -> Duration {
    let is_long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|value| !value.is_empty());
    if is_long { promised } else { busy }
}
