//! Who comes over a socket: by a ticket, by a subprotocol. What a visitor brings into a header.

use hulse::Result;
use hulse::http::{
    HeaderValue, IntoResponse, Path, Request, Response, SetCookie, header, permission_denied,
    redirect,
};
use hulse::sockets::{Consumer, Socket, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::urls::{Urls, path};

/// Of a site with accounts.
pub(crate) fn urls() -> Urls {
    Urls::new([
        path("ticket/", ticket),
        path("echoed/<slug:place>/", echoed),
        Streams::new([stream("mine", mine)]).at("mine/"),
    ])
}

/// Of any.
pub(crate) fn protocols() -> Urls {
    Urls::new([socket("protocol/", || Speaks)])
}

async fn ticket(request: Request) -> Result<String> {
    request.ticket().await
}

/// The visitor's word in a header of the answer: as it is, a place to go to, a cookie, a file's
/// name.
async fn echoed(request: Request, Path(place): Path<String>) -> Result<Response> {
    let value = request.query("value").unwrap_or_default();
    let mut response = "echoed".into_response();
    let headers = response.headers_mut();
    match place.as_str() {
        "redirect" => return redirect(&request, &value),
        "cookie" => {
            let (name, max_age) = ("language", None);
            let cookie =
                SetCookie { name, value: &value, max_age, secure: false, http_only: false };
            headers.insert(header::SET_COOKIE, cookie.header()?);
        }
        "file" => {
            let value = format!("attachment; filename=\"{value}\"");
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(value)?);
        }
        _ => drop(headers.insert("x-echoed", HeaderValue::try_from(value)?)),
    }
    Ok(response)
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
