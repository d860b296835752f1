//! What a service manager tells the process it starts: systemd's `sd_notify(3)` and
//! `sd_listen_fds(3)`, by environment variables.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::conf::environment::Environment;

/// Variables that are for one process and not for those it starts.
pub(crate) const SERVICE_VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The first descriptor that is handed down.
const FIRST_DESCRIPTOR: i32 = 3;

/// What a service manager wants of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceManager {
    /// Where to say how the service is.
    pub(crate) notify_socket: Option<OsString>,
    /// The service that says nothing for so long is killed.
    pub(crate) watchdog: Option<Duration>,
    /// The listening sockets handed down.
    pub(crate) descriptors: Vec<i32>,
}

impl ServiceManager {
    /// Of this process.
    pub(crate) fn read() -> Self {
        Self::of(&Environment::read(), std::process::id())
    }

    fn of(environment: &Environment, process: u32) -> Self {
        let text = |name| environment.get(name).ok().flatten();
        let number = |name| text(name).and_then(|value| value.parse::<u64>().ok());
        // What is meant for another process came here by inheritance.
        let is_ours = |name| text(name).is_some_and(|id| id == process.to_string());
        let is_watched = text("WATCHDOG_PID").is_none() || is_ours("WATCHDOG_PID");
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_watched && *usec > 0);
        let count = number("LISTEN_FDS").filter(|_| is_ours("LISTEN_PID")).unwrap_or(0);
        let last = FIRST_DESCRIPTOR.saturating_add(i32::try_from(count).unwrap_or(i32::MAX));
        Self {
            notify_socket: text("NOTIFY_SOCKET").map(OsStr::new).map(OsStr::to_owned),
            watchdog: watchdog.map(Duration::from_micros),
            descriptors: (FIRST_DESCRIPTOR..last).take(1024).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &ServiceManager) {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        assert_eq!(ServiceManager::of(&Environment::of(variables), 7), *expected);
    }

    #[test]
    fn what_a_manager_says_is_taken_if_it_is_meant_for_this_process() {
        let nothing = ServiceManager::default();
        check(&[], &nothing);
        check(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "8")], &nothing);
        check(&[("LISTEN_FDS", "2")], &nothing);
        check(&[("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", "8")], &nothing);
        check(&[("WATCHDOG_USEC", "0")], &nothing);
        let watchdog = Some(Duration::from_secs(5));
        check(&[("WATCHDOG_USEC", "5000000")], &ServiceManager { watchdog, ..nothing.clone() });
        let all = ServiceManager {
            notify_socket: Some("@manager".into()),
            watchdog,
            descriptors: vec![3, 4],
        };
        let variables = [
            ("NOTIFY_SOCKET", "@manager"),
            ("WATCHDOG_USEC", "5000000"),
            ("WATCHDOG_PID", "7"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_PID", "7"),
        ];
        check(&variables, &all);
    }
}
