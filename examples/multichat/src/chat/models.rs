//! The table of rooms.

use hulse::prelude::*;

/// A room people talk in.
#[derive(Model, Debug, Clone)]
#[model(app = "chat", ordering = ["title"])]
pub(crate) struct Room {
    pub(crate) id: Id,
    #[field(max_length = 255)]
    pub(crate) title: String,
    /// Others than staff neither see it nor get in.
    #[field(default = false)]
    pub(crate) staff_only: bool,
}

impl Room {
    /// The group of everybody in the room with this id.
    pub(crate) fn group(id: i64) -> String {
        format!("room-{id}")
    }
}
