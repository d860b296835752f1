//! Streams: what browsers join by name, over whatever gets through, missing nothing when they come
//! back.
//!
//! Flow: [`Streams`] is one line of the URL table. `transport` looks at what is asked for: a
//! WebSocket (`socket`), `Accept: text/event-stream` (`events`), any other GET (`poll`), or a POST
//! of sends (`post`) → one `visit` per client asks whether it may (the site's handler, at every
//! join and every send), takes its connection into the group from where it was, and answers → the
//! group's messages follow in envelopes, each with its place, made once for all members of a
//! worker.
//!
//! Invariants:
//! - A name means nothing until the handler has said which group it stands for; nothing a client
//!   says is a group's name or an event.
//! - Permission is asked at every join, also of one that comes back, and at every send, with the
//!   user and session of that moment.
//! - A frame that is wrong gets an error frame; the connection and its other streams stay.
//! - Who comes back with the place it was at gets all that came after it, in order, or is told that
//!   it does not (`recovered`); then `history` and `snapshot` begin anew.
//! - Everything of a client is bounded: streams, names, frames, keys, what waits for it.
//!
//! # The protocol
//!
//! Every frame is one JSON object in one text message. `at` is a place in a stream's order, a text
//! like `"1732200000000-5"`: it is to be kept and given back, not looked into.
//!
//! The client says:
//!
//! - `{"join": "liveblog/a"}`; with `"at": "1-3"` it goes on from there.
//! - `{"leave": "liveblog/a"}`.
//! - `{"send": "chat/4", "key": "k17", "data": ..}`. The same key again is the same message again;
//!   it may be left out.
//! - `{"hello": "<16 to 100 characters>"}`, first, if at all: a secret this client made up, by
//!   which its keys are known again on its next connection.
//! - `{"ping": 1}`, if it wonders whether it is heard: `{"pong": 1}` is the answer.
//!
//! The server says:
//!
//! - `{"joined": "liveblog/a", "at": .., "recovered": true}`: what follows begins right after `at`.
//!   `recovered`: nothing is missing since the `at` that was given. Perhaps with
//!   `"present": [{"key", "data"}]` and `"snapshot": ..`.
//! - `{"stream": "liveblog/a", "at": .., "data": ..}`: a message. JSON stands there as it was sent,
//!   other text as a string, bytes as `"bytes": "<base64>"` in place of `data`.
//! - `{"stream": .., "at": .., "presence": {"joined": {"key", "data"}}}`: somebody's first
//!   connection came; with `left` instead, the last one went.
//! - `{"left": "liveblog/a"}`: no more of it comes. It may say so by itself, when what its visitor
//!   may do has changed; the error that follows says why.
//! - `{"sent": "k17", "stream": "chat/4", "at": ..}`: said, and where in the order.
//! - `{"error": "denied", "stream": ..}`, and `key` if it was a send. `denied`; `unknown`: there is
//!   no such stream; `bad`: the frame is malformed; `taken`: its group is joined under another
//!   name; `too_many`, `too_large`; `unavailable`: try again, also of a send to what could not be
//!   joined at the moment; `failed`: the site's own fault.
//! - `{"drain": {"after": [min, max]}}`: the server goes away. Come back after a random time
//!   between these, milliseconds.
//!
//! A socket is closed with 4401 when its visitor signs out, or its session ends otherwise; events
//! and polls end with `denied`. Who comes back is asked for anew.
//!
//! The same without a WebSocket: `GET ?join=liveblog/a&join=chat/4` with `Accept:
//! text/event-stream` is answered with the server's frames as events. Their `id` is the place of
//! each join in order, with commas between; `Last-Event-ID` takes it back, as does an `at=` behind
//! each `join=`. A URL that names more than 100, or one twice, is refused as a whole (400). Any
//! other GET waits for at most 25 s (`wait=` asks for fewer) and is answered with a list of frames,
//! which may be empty. A stream that recovered says no `joined` there: its messages follow, or
//! nothing; what does not fit is joined by the next question. Who polls stays present for 30 s
//! after each answer. A POST of a `send` frame (JSON; a list of them, too) is answered with what
//! the server says to it; `"client"` in it stands for `hello`.
//!
//! Who asks is known by cookies and must then come from the site itself or a trusted origin, or by
//! `?ticket=` with a text from [`Request::ticket`](crate::http::Request::ticket).

mod events;
mod frames;
mod model;
mod moved;
mod once;
mod order;
mod origin;
mod poll;
mod post;
mod socket;
mod stream;
mod table;
mod touched;
mod transport;
mod visit;

pub use crate::channels::{Policy, Position};
pub use model::{Audience, LiveModel};
pub use stream::{Sender, Stream};
pub use table::{StreamRoute, Streams, stream};
