//! The chat page.

use hulse::http::{Request, Response, render};
use hulse::{Result, context};

use super::{Settings, visitor};

/// The page; its script opens the WebSocket.
pub(crate) async fn index(request: Request) -> Result<Response> {
    // The visitor gets a name with the page, so that all of its tabs have one.
    visitor::person(&request).await?;
    let settings = request.settings().section::<Settings>();
    let message_bytes_max = settings.message_bytes_max;
    render(&request, "chat/index.html", context! { message_bytes_max }).await
}
