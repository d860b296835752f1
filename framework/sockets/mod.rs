//! WebSockets: `Consumer`, `Socket`, upgrade.
//!
//! Flow: `urls` finds the line made by [`socket`] → `upgrade` checks the Origin and the handshake
//! → [`Consumer::connect`] → 101 → the stream is taken out of hyper (`io`) → one small task per
//! connection (`task`) reads (`frames`) and calls the consumer; the ticks of its groups write to
//! its `slot`; `wheel` watches the time → [`Consumer::disconnect`]. At a reload `moving` hands it
//! to another process, where `resume` goes on with it.
//!
//! Invariants:
//! - A consumer's methods run one after the other. What it sends in a call leaves before the group
//!   messages that came meanwhile.
//! - `disconnect` runs once for every accepted connection, whatever ended it; its groups are left
//!   by then.
//! - Nothing leaves to whom what he was let in for was taken back, but a goodbye (4401).
//! - A panic or an error closes that socket only, with 1011. Nothing of it reaches the client.
//! - Everything is bounded: handshake, outbox, messages, a write that does not move, the goodbye.

mod background;
mod cap;
mod concurrent;
mod consumer;
mod deflate;
mod demultiplex;
mod doubt;
pub mod filters;
mod frames;
mod handoff;
mod io;
mod json;
mod logical;
mod moving;
mod pace;
mod parcel;
mod reply;
mod resume;
mod routing;
mod slot;
mod socket;
mod task;
mod tasks;
#[cfg(test)]
mod tests;
mod upgrade;
mod wheel;

pub use background::{background_channels, choose_channels, run_background, run_channels};
pub use concurrent::{Concurrent, SharedConsumer};
pub use consumer::Consumer;
pub use demultiplex::Demultiplexer;
pub use doubt::Doubt;
pub use handoff::Handoff;
pub use json::JsonConsumer;
pub use reply::Reply;
pub use routing::{Event, EventRoute, Routing, route};
pub use socket::Socket;
pub use upgrade::socket;

pub(crate) use cap::{CODES as CLOSE_CODES, Cap};
pub(crate) use io::{TakeOver, Taken};
pub(crate) use moving::{Offered, Successor, hand_on};
pub(crate) use parcel::{PARCEL_BYTES_MAX, Parcel};
pub(crate) use resume::{Arrival, Resumable, Resumed, take_in};
pub(crate) use upgrade::{Vouched, is_handshake, upgrade};

pub use crate::channels::{Entered, Joined, Message, Policy, Position, Presence};
