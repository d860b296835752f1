//! The page with the rooms.

use hulse::prelude::*;

use super::{Room, Settings};

/// The rooms this member may enter, by title; the page's script opens the WebSocket.
pub(crate) async fn index(request: Request) -> Result<Response> {
    let is_staff = request.user().await?.is_staff;
    let mut rooms = Room::objects().order_by(|room| [room.title().asc(), room.id().asc()]);
    if !is_staff {
        rooms = rooms.filter(|room| room.staff_only().eq(false));
    }
    let rooms: Vec<_> = rooms.all(&request).await?.iter().map(shown).collect();
    let message_chars_max = request.settings().section::<Settings>().message_chars_max;
    render(&request, "chat/index.html", context! { rooms, message_chars_max }).await
}

fn shown(room: &Room) -> serde_json::Value {
    json!({ "id": room.id, "title": room.title, "staff_only": room.staff_only })
}
