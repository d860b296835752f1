//! Our server: a site with accounts whose one consumer repeats to everybody what it hears.

use hulse::contrib::auth::{self, User, login};
use hulse::contrib::sessions;
use hulse::http::Request;
use hulse::sockets::{Consumer, Socket, socket};
use hulse::streams::{Stream, Streams, stream};
use hulse::urls::{Urls, path};
use hulse::{Error, Project, Result};

/// The one group.
const GROUP: &str = "g";
/// The one user.
const USER: &str = "listener";

pub(crate) fn project() -> Project {
    Project::new("realtime", std::env::temp_dir()).install(sessions::App).install(auth::App).urls(
        Urls::new([
            path("enter/", enter),
            socket("ws/", || Listener),
            Streams::new([stream("g", async |_: Request, (): ()| Ok(Stream::group(GROUP)))])
                .at("stream/"),
        ]),
    )
}

/// Signs the visitor in as the one user.
async fn enter(request: Request) -> Result<&'static str> {
    let user = User::objects().filter(|u| u.username().eq(USER)).first(request.site()).await?;
    let user = match user {
        Some(user) => user,
        None => User::create_user(request.site(), USER, "listener@example.com", None).await?,
    };
    login(&request, &user).await?;
    Ok("signed in\n")
}

struct Listener;

impl Consumer for Listener {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        if socket.request().user().await?.is_anonymous() {
            return Err(Error::status(http_forbidden(), "sign in first"));
        }
        socket.accept().await?;
        socket.join(GROUP).await
    }

    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        socket.group(GROUP).send(text).await
    }
}

fn http_forbidden() -> axum::http::StatusCode {
    axum::http::StatusCode::FORBIDDEN
}
