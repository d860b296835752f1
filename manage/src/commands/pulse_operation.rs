//! The flags of `manage pulse` about how it is operated.

use clap::Args;
use hulse::conf::Override;

/// How it is run and by whom.
#[derive(Debug, Args)]
pub(super) struct Operation {
    /// How long a worker may take until it serves, seconds.
    #[arg(long, value_name = "SECONDS")]
    start_timeout: Option<u64>,
    /// Replaces a worker after so many requests, or up to a tenth more; 0: never.
    #[arg(long, value_name = "COUNT")]
    max_requests: Option<u64>,
    /// Where `manage ctl` reaches the server; empty: nowhere.
    #[arg(long, value_name = "FILE")]
    control: Option<String>,
    /// The user to become once the sockets are bound, by name or number; takes root.
    #[arg(short, long)]
    user: Option<String>,
    /// The group to become, by name or number; else the user's.
    #[arg(short, long)]
    group: Option<String>,
    /// Permissions that new files lack, as an octal number: 027.
    #[arg(long, value_name = "MASK")]
    umask: Option<String>,
    /// Where the log goes instead of stderr; USR1 opens the file anew.
    #[arg(long, value_name = "FILE")]
    log_file: Option<String>,
}

impl Operation {
    /// Those that were given.
    pub(super) fn overrides(&self) -> Vec<Override> {
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let given = [
            ("server.start_timeout", "--start-timeout", number(self.start_timeout)),
            ("server.worker_requests_max", "--max-requests", number(self.max_requests)),
            ("server.control", "--control", self.control.clone()),
            ("server.user", "--user", self.user.clone()),
            ("server.group", "--group", self.group.clone()),
            ("server.umask", "--umask", self.umask.clone()),
            ("log.file", "--log-file", self.log_file.clone()),
        ];
        let one = |(key, flag, value): (_, _, Option<String>)| {
            value.map(|value| Override::new(key, flag, value))
        };
        given.into_iter().filter_map(one).collect()
    }
}
