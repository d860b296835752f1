//! What visitors may cost and whom the server takes them for; `serve` asks these.
//!
//! Flow: a proxy says whose connection it is (`proxy_protocol`) → the connection gets its place
//! (`crowd`) and is watched (`watch`) → each request is looked at (`syntax`), its visitor found
//! behind the proxies (`proxies`) → its body keeps time while it is read (`bodies`).
//!
//! Invariant: these decide and count; only `serve` talks to hyper and to the handler.

pub(in crate::server) mod bodies;
pub(in crate::server) mod crowd;
pub(in crate::server) mod proxies;
pub(in crate::server) mod proxy_protocol;
pub(in crate::server) mod syntax;
pub(in crate::server) mod watch;
