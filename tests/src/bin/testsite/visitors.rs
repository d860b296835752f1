//! Who comes over a socket: by a ticket, by a subprotocol.

use hulse::Result;
use hulse::http::{Request, permission_denied};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::urls::{Urls, path};

/// Of a site with accounts.
pub(crate) fn urls() -> Urls {
    Urls::new([path("ticket/", ticket), Streams::new([stream("mine", mine)]).at("mine/")])
}

/// Of any.
pub(crate) fn protocols() -> Urls {
    Urls::new([socket("protocol/", || Speaks)])
}

async fn ticket(request: Request) -> Result<String> {
    request.ticket().await
}

/// What is for who is signed in, and for nobody else.
async fn mine(request: Request, (): ()) -> Result<Stream> {
    let user = request.user().await?;
    if user.is_anonymous() {
        return Err(permission_denied("who are you?"));
    }
    let stream = Stream::group(format!("mine-{}", user.id));
    Ok(stream.on_send(|sender, data| async move { sender.publish(data).await.map(drop) }))
}

/// Speaks one subprotocol, and says so.
struct Speaks;

impl Consumer for Speaks {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.accept_subprotocol("second").await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        socket.send(format!("second: {text}")).await
    }
}
