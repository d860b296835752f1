//! Views written as plain functions that wait.
//!
//! Flow: [`blocking`] makes an axum handler of a plain function → its extractors run on the
//! worker's runtime, as any handler's → the function runs in the site's `pool`, on a thread of its
//! own or, with `server.greenlets`, on a stack of its own → whatever is a future is waited for with
//! [`wait`]. The view is the same in both.
//!
//! Invariants:
//! - No more than `server.thread_workers` of them run at once (`server.greenlets`, if there are
//!   any), no more than `server.blocking_queue` wait; beyond that it is a 503 with `Retry-After`.
//! - A function whose client has gone before its turn is never called.
//! - It panics for its own request only: a 500.
//! - When the client goes while it runs, a thread ends its work; a greenlet is unwound where it
//!   waits.

mod greenlets;
mod pool;
mod view;
mod wait;

pub use view::{Blocking, BlockingView, blocking};
pub use wait::{atomic, wait};
