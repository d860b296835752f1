//! What the server and its log are told: `[server]` and `[log]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::conf::peer::Peer;
use crate::conf::settings::StoreUrl;

/// What `pulse` serves with; each is also a flag of the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `HOST:PORT`, `:PORT`, `[::1]:PORT`, `unix:PATH`, or `fd:N`, a listening socket that was
    /// handed down as descriptor N. Sockets of a service manager (`LISTEN_FDS`) are taken instead.
    pub bind: Vec<String>,
    /// Where the metrics (`/metrics`, for Prometheus) and the site's health (`/healthz`, `/readyz`)
    /// are asked for, as an address to bind; empty: nowhere.
    pub metrics_bind: String,
    /// The certificate and those it rests on, PEM; relative to the settings' folder. With it all
    /// addresses but unix sockets speak TLS.
    pub tls_cert: PathBuf,
    /// Its private key, PEM. Whoever the workers run as must be able to read it.
    pub tls_key: PathBuf,
    /// Worker processes; 0 = one a core.
    pub workers: usize,
    /// Threads a worker keeps for blocking views.
    pub thread_workers: usize,
    /// Blocking views that may wait for a thread or a greenlet; beyond it they answer 503.
    pub blocking_queue: usize,
    /// Blocking views a worker runs at once as greenlets, on one thread; 0: on threads.
    pub greenlets: usize,
    /// `pulse://`, `memory://` or `redis://user:password@host:port,host:port/db?prefix=site`
    /// (`rediss://` with TLS). Keep a password out of files that others read:
    /// `HULSE_SERVER__DATA_STORE` in the environment.
    pub data_store: StoreUrl,
    /// A worker silent this long is replaced, seconds.
    pub timeout: u64,
    /// How long a draining worker may finish, seconds.
    pub graceful_timeout: u64,
    /// How long a worker may take until it serves, seconds.
    pub start_timeout: u64,
    /// Requests after which a worker is replaced, or up to a tenth more; 0: never.
    pub worker_requests_max: u64,
    /// The user to become once the sockets are bound, by name or number; empty: none other.
    pub user: String,
    /// The group to become, by name or number; empty: the user's.
    pub group: String,
    /// Permissions that new files lack, as an octal number (`027`); empty: as it is.
    pub umask: String,
    /// Connections a worker holds at once; beyond it accepting pauses.
    pub connections_max: usize,
    /// Connections of one address to a worker; 0 is any number. IPv6 addresses count as one that
    /// begin with the same 64 bits. Proxies of `proxy_headers` may have more.
    pub connections_per_address: u32,
    /// WebSockets a worker holds at once; 0 is as many as connections. More are answered with 503.
    pub sockets_max: usize,
    /// WebSockets of one user, or session of who is not signed in, in a worker; 0: any number.
    /// Refused with 429.
    pub sockets_per_user: usize,
    /// WebSockets of one address (IPv6: of one /64) in a worker; 0: any number. Refused with 429.
    /// Addresses of this machine itself do not count, nor private ones while neither
    /// `proxy_headers` nor `proxy_protocol` lists any: such a one may be a proxy nobody told us of,
    /// whose visitors are many. One with a public address has to be listed.
    pub sockets_per_address: usize,
    /// Requests a worker answers at once. Who waits for others to say something (a WebSocket, a
    /// stream, a long poll) does not count, nor does a request while its body is waited for.
    pub requests_max: usize,
    /// Requests that may wait for others to be answered; more are answered with 503.
    pub requests_queue: usize,
    /// How long one may wait so, seconds; then it is answered with 503.
    pub requests_wait: u64,
    /// Proxies that are believed what they say of the visitor: his address, scheme and host, and
    /// the request's id. Addresses, networks (`10.0.0.0/8`), `unix`.
    pub proxy_headers: Vec<Peer>,
    /// Which headers they say it in.
    pub forwarding: Forwarding,
    /// Proxies that begin each connection with the PROXY protocol (version 1 or 2), in the same
    /// form. Who is listed has to.
    pub proxy_protocol: Vec<Peer>,
    /// Whether what changes on disk is built, reloaded and shown by open pages: for development, so
    /// only with `debug`.
    pub reload: bool,
    /// What builds the program for that, as words (`["cargo", "build", "--features", "x"]`), run in
    /// the settings' folder; empty: cargo, in the profile the program was built in.
    pub build: Vec<String>,
    /// How long a request's head may take, from its first byte or the connection's begin, seconds.
    pub header_timeout: u64,
    /// How long a request's body may bring nothing, seconds. As a whole it may take that long and
    /// a second more for each `body_rate_min` bytes.
    pub body_timeout: u64,
    /// The slowest a body may come in the long run, bytes a second.
    pub body_rate_min: u64,
    /// How long a connection stays open between two requests, seconds.
    pub keep_alive: u64,
    /// How long a client may take nothing of what it is sent, seconds: not read it nor, over TCP,
    /// say that it came, as one behind a cut wire. Who is sent nothing is asked meanwhile whether
    /// it is there.
    pub write_timeout: u64,
    /// Named channels its workers read, by names or patterns (`*`, `?`); none: all.
    pub only_channels: Vec<String>,
    /// Named channels its workers leave to `manage runworker`, by names or patterns.
    pub exclude_channels: Vec<String>,
    /// Folder of the store's socket, relative to the settings' folder.
    pub runtime_dir: PathBuf,
    /// Socket on which the arbiter answers `manage ctl`, relative to the settings' folder; empty:
    /// none.
    pub control: PathBuf,
    /// How long the `connect` of a WebSocket's consumer may take, seconds; then it is refused with
    /// 503.
    pub handshake_timeout: u64,
    /// How long a WebSocket or an HTTP/2 connection may be silent until it is pinged, seconds.
    pub ping_interval: u64,
    /// One that sends nothing for this long after a ping is dropped, seconds.
    pub ping_timeout: u64,
    /// Largest WebSocket frame and message, bytes.
    pub message_bytes_max: usize,
    /// Most messages and pings a second from one WebSocket, in the long run; more close it with
    /// 1008. 0 is any number.
    pub message_rate: u32,
    /// How many of them may come at once.
    pub message_burst: u32,
    /// Groups one WebSocket may be in, as member, listener or presence; 0: any number. To join more
    /// is an error. Streams do not count, of which a connection has 100 at most.
    pub groups_per_socket: usize,
    /// Whether long WebSocket messages are compressed for clients that offer it
    /// (permessage-deflate): less traffic, more CPU.
    pub deflate: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: vec!["127.0.0.1:8060".into()],
            metrics_bind: String::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            workers: 0,
            thread_workers: 5,
            blocking_queue: 100,
            greenlets: 0,
            data_store: StoreUrl::new("pulse://"),
            timeout: 10,
            graceful_timeout: 30,
            start_timeout: 60,
            worker_requests_max: 0,
            user: String::new(),
            group: String::new(),
            umask: String::new(),
            connections_max: 10_000,
            connections_per_address: 0,
            sockets_max: 0,
            sockets_per_user: 100,
            sockets_per_address: 1000,
            requests_max: 1000,
            requests_queue: 1000,
            requests_wait: 5,
            proxy_headers: Vec::new(),
            forwarding: Forwarding::XForwarded,
            proxy_protocol: Vec::new(),
            reload: false,
            build: Vec::new(),
            header_timeout: 10,
            body_timeout: 30,
            body_rate_min: 500,
            keep_alive: 75,
            write_timeout: 30,
            only_channels: Vec::new(),
            exclude_channels: Vec::new(),
            runtime_dir: ".hulse".into(),
            control: ".hulse/control.sock".into(),
            handshake_timeout: 10,
            ping_interval: 20,
            ping_timeout: 30,
            message_bytes_max: 1_048_576,
            message_rate: 2000,
            message_burst: 10_000,
            groups_per_socket: 1000,
            deflate: false,
        }
    }
}

/// Which headers of a proxy are read; the others it may pass on from anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// Logging.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter: `info`, `hulse=debug,warn`.
    pub level: String,
    /// `text` or `json`.
    pub format: String,
    /// One line a request.
    pub access: bool,
    /// Whether that line has the query too. Secrets may stand in it.
    pub access_query: bool,
    /// The file it goes to, relative to the current folder; empty: stderr. USR1 opens it anew.
    pub file: PathBuf,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: "text".into(),
            access: false,
            access_query: false,
            file: PathBuf::new(),
        }
    }
}
