//! `TestSite`, `Client`, `SocketClient`.
