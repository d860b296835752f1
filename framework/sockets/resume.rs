//! A connection that another process gives up goes on here.
//!
//! Flow: its parcel comes with its descriptor → the line of the URL table its path fits now makes a
//! consumer → the connection takes over its place in each group → [`Consumer::resume`] → it is
//! [`Resumed`], and [`run`](Resumed::run) begins when the other process has let go.

use std::any::{Any, type_name};
use std::fmt;
use std::net::TcpStream as Blocking;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cap::Cap;
use super::io::Io;
use super::parcel::Parcel;
use super::reply::Shared;
use super::task::{self, Begun, Held, log_failure};
use super::upgrade::claim;
use super::{Consumer, Socket};
use crate::error::{Error, Result};
use crate::http::{Beside, Request, mark_again};
use crate::site::Site;
use crate::urls::Resolver;

/// How long a connection may take to go on; its client is not heard meanwhile.
const RESUME_WAIT: Duration = Duration::from_secs(4);

type Resuming = BoxFuture<'static, Result<Resumed>>;

/// What a line of the URL table carries whose connections can move: how one goes on.
#[derive(Clone)]
pub(crate) struct Resumable(Arc<dyn Fn(Shared, Parcel, Io) -> Resuming + Send + Sync>);

/// One that waits for the word to go on. Dropping it instead leaves the stream as it is.
pub(crate) struct Resumed(Box<dyn FnOnce() + Send>);

/// What the server knows of a connection that comes.
pub(crate) struct Arrival {
    pub(crate) stream: OwnedFd,
    /// Kept as long as the connection is open.
    pub(crate) place: Box<dyn Any + Send + Sync>,
    pub(crate) beside: Beside,
    /// Whether who sent the request may still come in where it leads.
    pub(crate) may: for<'a> fn(&'a Request) -> BoxFuture<'a, bool>,
}

impl Resumable {
    /// Goes on with consumers that `make` makes.
    pub(crate) fn new<C: Consumer>(make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |shared, parcel, io| Box::pin(resume(shared, make(), parcel, io))))
    }
}

/// Makes ready to go on with a connection.
pub(crate) async fn take_in(
    site: &Site,
    resolver: &Resolver,
    parcel: Parcel,
    arrival: Arrival,
) -> Result<Resumed> {
    let resuming = let_in(site, resolver, parcel, arrival);
    match timeout(RESUME_WAIT, AssertUnwindSafe(resuming).catch_unwind()).await {
        Ok(Ok(resumed)) => resumed,
        Ok(Err(panic)) => {
            let _logged = log_failure("a consumer's resume", Err(panic));
            Err(Error::new("it panicked"))
        }
        Err(_) => Err(Error::new("it took too long")),
    }
}

async fn let_in(
    site: &Site,
    resolver: &Resolver,
    parcel: Parcel,
    arrival: Arrival,
) -> Result<Resumed> {
    let uri = parcel.uri()?;
    let nobody = || Error::new(format!("no WebSocket at {} goes on", uri.path()));
    let matched = resolver.resolve(uri.path()).ok_or_else(nobody)?;
    let resumable = matched.line().attached::<Resumable>().ok_or_else(nobody)?.clone();
    matched.state(&arrival.beside);
    let extensions = parcel.extensions(arrival.beside);
    let request: Request = parcel.request(site.clone(), extensions)?;
    if !(arrival.may)(&request).await {
        return Err(Error::new(format!("{} is closed to who is there", uri.path())));
    }
    let place = Cap::of(site).enter_moved(site.settings().server.sockets_max);
    let place = place.ok_or_else(|| Error::new("there are as many WebSockets as may be"))?;
    let stream = Blocking::from(arrival.stream);
    stream.set_nonblocking(true)?;
    let io = Io::tcp(TcpStream::from_std(stream)?, Some(arrival.place));
    (resumable.0)(Shared::new(request, place), parcel, io).await
}

async fn resume<C: Consumer>(
    shared: Shared,
    mut consumer: C,
    parcel: Parcel,
    io: Io,
) -> Result<Resumed> {
    if parcel.consumer != type_name::<C>() {
        return Err(Error::new(format!("its consumer was {}", parcel.consumer)));
    }
    let held = Held(Arc::new(shared));
    let mut socket = Socket::new(&held.0);
    // The handshake is long over.
    held.0.accepted();
    if parcel.is_deflated {
        held.0.slot.set_deflated();
    }
    mark_again(socket.request(), socket.connection(), &parcel.marked).await?;
    // Who was let in there stays, and is counted here as far as there is room.
    claim(&socket);
    // Of another build it may belong to other groups: then its client comes anew.
    let is_in = |name: &String| parcel.stakes.iter().any(|stake| stake.group() == name);
    if let Some(name) = consumer.groups(&socket)?.iter().find(|name| !is_in(name)) {
        return Err(Error::new(format!("it was not in its group {name:?}")));
    }
    let mut gaps = Vec::new();
    for stake in &parcel.stakes {
        if !held.0.connection.take_over(stake).await? {
            gaps.push(stake.group().to_owned());
        }
    }
    let handoff = parcel.handoff.unpack(gaps)?;
    // Nobody comes and goes because of one that cannot go on.
    for stake in &parcel.stakes {
        held.0.connection.count(stake).await?;
    }
    consumer.resume(&mut socket, &handoff).await?;
    let (rest, parser, silence) = (Bytes::from(parcel.rest), parcel.parser, parcel.silence);
    let begun = Begun { io, rest, parser, silence };
    let lifecycle = socket.lifecycle().clone();
    let run = move || lifecycle.spawn(task::run(held, socket, consumer, begun));
    Ok(Resumed(Box::new(run)))
}

impl Resumed {
    /// Goes on.
    pub(crate) fn run(self) {
        (self.0)();
    }
}

impl fmt::Debug for Resumable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumable").finish_non_exhaustive()
    }
}

impl fmt::Debug for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumed").finish_non_exhaustive()
    }
}
