//! Streams over a WebSocket: a consumer whose groups are joined by name.

use std::sync::Arc;

use axum::response::Response;

use super::frames::{self, Refusal};
use super::moved;
use super::table::Table;
use super::visit::Visit;
use crate::error::Result;
use crate::site::Site;
use crate::sockets::{Consumer, Doubt, Handoff, Message, Resumable, Socket, upgrade};

/// Connections a second a server that came back should have to take.
const RETURNS_A_SECOND: u64 = 500;
/// How long a client waits at most before it comes back, milliseconds.
const RETURN_MS_MAX: u64 = 10_000;
/// The shortest window to come back in, milliseconds: for how long a worker is missing.
const RETURN_MS_MIN: u64 = 500;

/// Answers a handshake.
pub(super) async fn answer(
    table: Arc<Table>,
    site: Site,
    request: axum::extract::Request,
) -> Response {
    upgrade(site, request, move || Client { table, visit: None }).await
}

/// How connections go on that come from another worker.
pub(super) fn resumable(table: &Arc<Table>) -> Resumable {
    let table = Arc::clone(table);
    Resumable::new(move || Client { table: Arc::clone(&table), visit: None })
}

/// One client's connection.
struct Client {
    table: Arc<Table>,
    visit: Option<Box<Visit>>,
}

impl Consumer for Client {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.on_drain(farewell);
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let Self { table, visit } = self;
        let visit = visit.get_or_insert_with(|| {
            Box::new(Visit::new(Arc::clone(table), socket.request().clone()))
        });
        for frame in visit.hear(socket.connection(), text).await {
            socket.send(frame).await?;
        }
        Ok(())
    }

    async fn reauthorize(&mut self, socket: &mut Socket, _: Doubt) -> Result<()> {
        let Some(visit) = &mut self.visit else { return Ok(()) };
        for frame in visit.ask_again(socket.connection()).await {
            socket.send(frame).await?;
        }
        Ok(())
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, _: &[u8]) -> Result<()> {
        socket.send(Refusal::bad("a frame is text").text()).await
    }

    fn handoff(&self) -> Handoff {
        moved::handoff(self.visit.as_deref())
    }

    async fn resume(&mut self, socket: &mut Socket, handoff: &Handoff) -> Result<()> {
        socket.on_drain(farewell);
        let visit = Visit::new(Arc::clone(&self.table), socket.request().clone());
        let Some((visit, frames)) = moved::go_on(visit, socket.connection(), handoff).await? else {
            return Ok(());
        };
        self.visit = Some(Box::new(visit));
        for frame in frames {
            socket.send(frame).await?;
        }
        Ok(())
    }
}

/// What a client is told when the server goes away.
pub(super) fn farewell(site: &Site) -> Message {
    frames::drain(return_window(site)).into()
}

/// How many there were when the first was told to go.
struct Leaving {
    connections: u64,
}

/// When clients should come back: all in one moment would be too many.
pub(super) fn return_window(site: &Site) -> (u64, u64) {
    let count = |site: &Site| Leaving { connections: site.layer().statistics().connections as u64 };
    let connections = site.keep(count).connections;
    let max = (connections * 1000 / RETURNS_A_SECOND).clamp(RETURN_MS_MIN, RETURN_MS_MAX);
    (0, max)
}
