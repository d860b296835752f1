//! A connection's life: who it is, what it is told first, what it says.
//!
//! Flow: `connect` names the person → enters the room → sends the welcome, with what was said
//! before or since the browser was last there (`?after=`) → from then on the room's messages reach
//! the browser by themselves, and each text of the browser goes to the room.

use hulse::Result;
use hulse::sockets::{Consumer, Handoff, Socket};

use super::events::{Person, clean};
use super::{Settings, history, visitor};

/// The one room there is.
pub(super) const ROOM: &str = "webchat";

/// What a connection is made of, for the next worker at a reload.
const HANDOFF: u32 = 1;

/// One connection of somebody in the room.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    person: Person,
}

impl Consumer for Chat {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.person = visitor::person(socket.request()).await?;
        socket.accept().await?;
        let entered = socket.enter(ROOM, self.person.presence()).await?;
        let shown = history::shown(socket, entered.history).await?;
        socket.send(self.person.welcome(entered.roster.len(), &shown)).await?;
        for frame in entered.roster.into_iter().chain(shown.messages) {
            socket.send(frame).await?;
        }
        Ok(())
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        let text = clean(text);
        let bytes_max = socket.settings().section::<Settings>().message_bytes_max;
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > bytes_max {
            let words =
                format!("a message may have {bytes_max} bytes, this one has {}", text.len());
            return socket.send(self.person.error(&words)).await;
        }
        socket.group(ROOM).send(self.person.said(&text)).await
    }

    fn handoff(&self) -> Handoff {
        Handoff::new(HANDOFF, &self.person)
    }

    async fn resume(&mut self, _: &mut Socket, handoff: &Handoff) -> Result<()> {
        self.person = handoff.state(HANDOFF)?;
        Ok(())
    }
}
