//! The plain WebSocket of a blog: each frame is one event, nothing around it. For programs, and for
//! clients written for the first liveblog.

use hulse::Result;
use hulse::sockets::{Consumer, Socket};
use serde_json::json;

use super::Liveblog;

/// Close code of a socket that names no blog: the range 4000 to 4999 is the site's own.
const BAD_SLUG: u16 = 4004;

/// A reader.
#[derive(Debug, Default)]
pub(crate) struct Reader;

impl Consumer for Reader {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let slug: String = socket.path()?;
        // Accepted first: a page cannot see why a handshake was refused.
        socket.accept().await?;
        match Liveblog::called(socket, &slug).await? {
            Some(blog) => socket.join(blog.group()).await,
            None => {
                socket.send(json!({ "error": "bad_slug" })).await?;
                socket.close(BAD_SLUG, "bad_slug").await
            }
        }
    }
}
