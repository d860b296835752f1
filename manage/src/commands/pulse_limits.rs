//! The flags of `manage pulse` about what a client may cost.

use clap::Args;
use hulse::conf::Override;

/// Bounds and patience.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Where metrics and health are asked for: HOST:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS")]
    metrics_bind: Option<String>,
    /// A certificate (PEM): speak TLS, HTTP/2 and HTTP/1.1.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Connections a worker holds at once.
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<u64>,
    /// Connections of one address to a worker; 0 is any number.
    #[arg(long, value_name = "COUNT")]
    max_connections_per_address: Option<u64>,
    /// WebSockets a worker holds at once; 0 is as many as connections.
    #[arg(long, value_name = "COUNT")]
    max_sockets: Option<u64>,
    /// Requests a worker answers at once; a few more wait, the others are told 503.
    #[arg(long, value_name = "COUNT")]
    max_concurrent_requests: Option<u64>,
    /// Proxies that are believed what X-Forwarded-For, -Proto and -Host say: addresses, networks
    /// (10.0.0.0/8), unix.
    #[arg(long, value_name = "PROXY", value_delimiter = ',')]
    proxy_headers: Vec<String>,
    /// Proxies that begin each connection with the PROXY protocol, in the same form.
    #[arg(long, value_name = "PROXY", value_delimiter = ',')]
    proxy_protocol: Vec<String>,
    /// How long a request's head may take, seconds.
    #[arg(long, value_name = "SECONDS")]
    header_timeout: Option<u64>,
    /// How long a request's body may bring nothing, seconds.
    #[arg(long, value_name = "SECONDS")]
    body_timeout: Option<u64>,
    /// How long a connection stays open between two requests, seconds.
    #[arg(long, value_name = "SECONDS")]
    keep_alive: Option<u64>,
    /// How long a client may take nothing of what it is sent, or say nothing when it is asked
    /// whether it is there, seconds.
    #[arg(long, value_name = "SECONDS")]
    write_timeout: Option<u64>,
    /// How long a WebSocket or an HTTP/2 connection may be silent until it is pinged, seconds.
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
            (
                "server.connections_per_address",
                "--max-connections-per-address",
                self.max_connections_per_address,
            ),
            ("server.sockets_max", "--max-sockets", self.max_sockets),
            ("server.requests_max", "--max-concurrent-requests", self.max_concurrent_requests),
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
        let files = [
            ("server.metrics_bind", "--metrics-bind", &self.metrics_bind),
            ("server.tls_cert", "--tls-cert", &self.tls_cert),
            ("server.tls_key", "--tls-key", &self.tls_key),
        ];
        let files = files.into_iter().filter_map(|(key, flag, file)| {
            file.as_ref().map(|file| Override::new(key, flag, file))
        });
        let lists = [
            ("server.proxy_headers", "--proxy-headers", &self.proxy_headers),
            ("server.proxy_protocol", "--proxy-protocol", &self.proxy_protocol),
        ];
        let lists = lists.into_iter().filter(|(.., list)| !list.is_empty());
        let lists = lists.map(|(key, flag, list)| Override::list(key, flag, list));
        numbers.into_iter().filter_map(given).chain(files).chain(lists).collect()
    }
}
