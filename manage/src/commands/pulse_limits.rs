//! The flags of `manage pulse` about what a client may cost.

use clap::Args;
use hulse::conf::Override;

/// Bounds and patience.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Connections a worker holds at once.
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<u64>,
    /// How long a request's head may take, seconds.
    #[arg(long, value_name = "SECONDS")]
    header_timeout: Option<u64>,
    /// How long a request's body may bring nothing, seconds.
    #[arg(long, value_name = "SECONDS")]
    body_timeout: Option<u64>,
    /// How long a connection stays open between two requests, seconds.
    #[arg(long, value_name = "SECONDS")]
    keep_alive: Option<u64>,
    /// How long a client may take nothing of an answer, seconds.
    #[arg(long, value_name = "SECONDS")]
    write_timeout: Option<u64>,
    /// How long a WebSocket may be silent until it is pinged, seconds.
    #[arg(long, value_name = "SECONDS")]
    ping_interval: Option<u64>,
    /// How long it may be silent after that, seconds.
    #[arg(long, value_name = "SECONDS")]
    ping_timeout: Option<u64>,
    /// Largest WebSocket frame and message, bytes.
    #[arg(long, value_name = "BYTES")]
    max_message_bytes: Option<u64>,
}

impl Limits {
    /// Those that were given.
    pub(super) fn overrides(&self) -> Vec<Override> {
        let numbers = [
            ("server.connections_max", "--max-connections", self.max_connections),
            ("server.header_timeout", "--header-timeout", self.header_timeout),
            ("server.body_timeout", "--body-timeout", self.body_timeout),
            ("server.keep_alive", "--keep-alive", self.keep_alive),
            ("server.write_timeout", "--write-timeout", self.write_timeout),
            ("server.ping_interval", "--ping-interval", self.ping_interval),
            ("server.ping_timeout", "--ping-timeout", self.ping_timeout),
            ("server.message_bytes_max", "--max-message-bytes", self.max_message_bytes),
        ];
        let given = |(key, flag, value): (_, _, Option<u64>)| {
            value.map(|value| Override::new(key, flag, value.to_string()))
        };
        numbers.into_iter().filter_map(given).collect()
    }
}
