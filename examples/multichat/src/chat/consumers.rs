//! A connection and its rooms.
//!
//! Flow: `connect` lets members in, nobody else → each frame is a `Command` → `check` looks up user
//! and room as they are now → the room's group is entered, left or told.
//!
//! Invariants:
//! - Every command is checked again: a right that was taken away ends with the next command.
//! - Who may no longer be in a room is out of it, and hears no more of it.
//! - Whatever a browser sends is answered; nothing it sends closes the socket.

use std::collections::BTreeSet;

use hulse::Result;
use hulse::contrib::auth::{CurrentUser, afresh};
use hulse::sockets::{Consumer, Handoff, Socket};

use super::commands::{Action, Command};
use super::events::{self, Kind, Refusal};
use super::{Room, Settings};

/// What a connection is made of, for the next worker at a reload.
const HANDOFF: u32 = 1;

/// One connection of a member.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// The rooms it is in.
    rooms: BTreeSet<i64>,
}

/// Who asks, and for which room.
struct Asked {
    user: CurrentUser,
    id: i64,
    room: Room,
}

impl Consumer for Chat {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        if socket.request().user().await?.is_authenticated() {
            socket.accept().await?;
        }
        Ok(())
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        match Command::read(text) {
            Ok(command) => self.obey(socket, command).await,
            Err(refusal) => socket.send(refusal.event()).await,
        }
    }

    async fn receive_bytes(&mut self, socket: &mut Socket, _: &[u8]) -> Result<()> {
        socket.send(Refusal::CommandInvalid.event()).await
    }

    fn handoff(&self) -> Handoff {
        Handoff::new(HANDOFF, &self.rooms)
    }

    async fn resume(&mut self, _: &mut Socket, handoff: &Handoff) -> Result<()> {
        self.rooms = handoff.state(HANDOFF)?;
        Ok(())
    }
}

impl Chat {
    async fn obey(&mut self, socket: &mut Socket, command: Command) -> Result<()> {
        let is_in = command.room.is_some_and(|id| self.rooms.contains(&id));
        if matches!(command.action, Action::Send(_)) && !is_in {
            return socket.send(Refusal::RoomAccessDenied.event()).await;
        }
        let asked = match check(socket, command.room).await? {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(socket, command.room, refusal).await,
        };
        match command.action {
            Action::Join => self.join(socket, &asked).await,
            Action::Leave => self.leave(socket, asked.id).await,
            Action::Send(text) => send(socket, &asked, &text).await,
        }
    }

    async fn join(&mut self, socket: &mut Socket, asked: &Asked) -> Result<()> {
        let Asked { user, id, room } = asked;
        if self.rooms.insert(*id) {
            if socket.settings().section::<Settings>().enter_leave_notices {
                socket.enter(Room::group(*id), events::presence(*id, user)).await?;
            } else {
                socket.join(Room::group(*id)).await?;
            }
        }
        socket.send(events::joined(*id, &room.title)).await
    }

    async fn leave(&mut self, socket: &mut Socket, id: i64) -> Result<()> {
        self.rooms.remove(&id);
        socket.leave(Room::group(id)).await?;
        socket.send(events::left(id)).await
    }

    /// Says no, and takes whoever was in the room out of it; out of all rooms who is nobody now.
    async fn refuse(
        &mut self,
        socket: &mut Socket,
        room: Option<i64>,
        refusal: Refusal,
    ) -> Result<()> {
        socket.send(refusal.event()).await?;
        let is_nobody = refusal == Refusal::UserHasToLogin;
        let lost = self.rooms.iter().copied().filter(|id| is_nobody || room == Some(*id));
        for id in lost.collect::<Vec<_>>() {
            self.leave(socket, id).await?;
        }
        Ok(())
    }
}

/// Whether there is somebody, whether there is the room, whether they may be in it: as it is now,
/// not as it was at the handshake.
async fn check(socket: &Socket, room: Option<i64>) -> Result<std::result::Result<Asked, Refusal>> {
    let user = afresh(socket.request()).user().await?;
    if user.is_anonymous() {
        return Ok(Err(Refusal::UserHasToLogin));
    }
    let Some(id) = room else { return Ok(Err(Refusal::RoomInvalid)) };
    let found = Room::objects().filter(|room| room.id().eq(id)).first(socket).await?;
    Ok(match found {
        None => Err(Refusal::RoomInvalid),
        Some(room) if room.staff_only && !user.is_staff => Err(Refusal::RoomAccessDenied),
        Some(room) => Ok(Asked { user, id, room }),
    })
}

async fn send(socket: &mut Socket, asked: &Asked, text: &str) -> Result<()> {
    let chars_max = socket.settings().section::<Settings>().message_chars_max;
    if text.chars().count() > chars_max {
        return socket.send(Refusal::MessageTooLong.event()).await;
    }
    let event = events::told(asked.id, &asked.user.username, Some(text), Kind::Message);
    socket.group(Room::group(asked.id)).send(event).await
}
