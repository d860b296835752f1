//! What the server and its log are told: `[server]` and `[log]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::conf::settings::StoreUrl;

/// What `pulse` serves with; each is also a flag of the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `HOST:PORT`, `:PORT`, `[::1]:PORT` or `unix:PATH`.
    pub bind: Vec<String>,
    /// Worker processes; 0 = one a core.
    pub workers: usize,
    /// Threads a worker keeps for blocking views.
    pub thread_workers: usize,
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
    /// Connections a worker holds at once; beyond it accepting pauses.
    pub connections_max: usize,
    /// How long a request's head may take, from its first byte or the connection's begin, seconds.
    pub header_timeout: u64,
    /// How long a request's body may bring nothing, seconds. As a whole it may take that long and
    /// a second more for each `body_rate_min` bytes.
    pub body_timeout: u64,
    /// The slowest a body may come in the long run, bytes a second.
    pub body_rate_min: u64,
    /// How long a connection stays open between two requests, seconds.
    pub keep_alive: u64,
    /// How long a client may take nothing of an answer, seconds.
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
    /// WebSocket ping interval, seconds.
    pub ping_interval: u64,
    /// A WebSocket that sends nothing for this long after a ping is dropped, seconds.
    pub ping_timeout: u64,
    /// Largest WebSocket frame and message, bytes.
    pub message_bytes_max: usize,
    /// Whether long WebSocket messages are compressed for clients that offer it
    /// (permessage-deflate): less traffic, more CPU.
    pub deflate: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: vec!["127.0.0.1:8060".into()],
            workers: 0,
            thread_workers: 5,
            data_store: StoreUrl::new("pulse://"),
            timeout: 10,
            graceful_timeout: 30,
            start_timeout: 60,
            connections_max: 10_000,
            header_timeout: 10,
            body_timeout: 30,
            body_rate_min: 500,
            keep_alive: 75,
            write_timeout: 60,
            only_channels: Vec::new(),
            exclude_channels: Vec::new(),
            runtime_dir: ".hulse".into(),
            control: ".hulse/control.sock".into(),
            ping_interval: 20,
            ping_timeout: 30,
            message_bytes_max: 1_048_576,
            deflate: false,
        }
    }
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
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: "text".into(), access: false }
    }
}
