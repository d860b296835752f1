//! WebSockets: `Consumer`, `Socket`, upgrade.
//!
//! Flow: `urls` finds the line made by [`socket`] → `upgrade` checks the Origin and the handshake →
//! [`Consumer::connect`] → 101 → one task per connection (`task`) reads, calls the consumer, writes
//! → [`Consumer::disconnect`].
//!
//! Invariants:
//! - A consumer's methods run one after the other. What it sends in a call leaves before the group
//!   messages that came meanwhile.
//! - `disconnect` runs once for every accepted connection, whatever ended it; its groups are left
//!   by then.
//! - A panic or an error closes that socket only, with 1011. Nothing of it reaches the client.
//! - Everything is bounded: handshake, outbox, messages, a write that does not move, the goodbye.

mod background;
mod consumer;
mod outbox;
mod reply;
mod routing;
mod socket;
mod task;
mod upgrade;
mod wire;

pub use background::run_background;
pub use consumer::Consumer;
pub use reply::Reply;
pub use routing::{Event, EventRoute, Routing, route};
pub use socket::Socket;
pub use upgrade::socket;

pub use crate::channels::{Entered, Message, Presence};
