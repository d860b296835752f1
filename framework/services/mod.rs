//! Services: parts of a site that run all the time, beside its visitors: a ticker, a poller of
//! another system, a cache warmer.
//!
//! Flow: [`Project::service`](crate::Project::service) or `App::services` names them → `pulse`
//! starts a process for each and watches it as it watches workers (`server/service`); with
//! `memory://` and in a `TestSite` they run beside the requests, in [`run_here`] → `run`: `start`,
//! then one thing after the other, a tick or a message, until draining begins, then `stop`.
//! Whoever has a site writes to one with [`Site::service`](crate::Site::service): `mailbox`, over
//! the named channel `service.<name>`, so that there is one path for messages and not two.
//!
//! Invariants:
//! - A service does one thing at a time; what it keeps in itself wants no lock.
//! - What is in its hands when it dies is lost; what waits in its mailbox waits for the next one.
//! - Knows no process: who starts it and replaces it is the server's affair.

mod declared;
mod mailbox;
mod run;
mod tally;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::site::Site;

pub use declared::{Declared, service};
pub use mailbox::Mailbox;

pub(crate) use declared::{Declarations, all_of};
pub(crate) use run::run_here;
pub(crate) use tally::Tally;

/// A part of a site that runs all the time, in a process of its own.
///
/// ```
/// use std::time::Duration;
///
/// use hulse::prelude::*;
/// use hulse::services::{Service, service};
///
/// /// Tells the time to whoever has joined the group `clock`, and to who asks.
/// struct Clock {
///     ticks: u64,
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// enum Wish {
///     Ticks,
///     SetTo(u64),
/// }
///
/// impl Service for Clock {
///     const NAME: &'static str = "clock";
///     type Message = Wish;
///     type Answer = u64;
///
///     async fn start(_: &Site) -> Result<Self> {
///         Ok(Self { ticks: 0 })
///     }
///
///     fn interval(&self) -> Option<Duration> {
///         Some(Duration::from_secs(1))
///     }
///
///     async fn tick(&mut self, site: &Site) -> Result<()> {
///         self.ticks += 1;
///         site.group("clock").send(json!({ "ticks": self.ticks })).await
///     }
///
///     async fn receive(&mut self, _: &Site, wish: Wish) -> Result<u64> {
///         if let Wish::SetTo(ticks) = wish {
///             self.ticks = ticks;
///         }
///         Ok(self.ticks)
///     }
/// }
///
/// async fn view(request: Request) -> Result<String> {
///     let clock = request.service::<Clock>();
///     clock.send(&Wish::SetTo(7)).await?;
///     Ok(clock.ask(&Wish::Ticks).await?.to_string())
/// }
///
/// let project = Project::new("site", env!("CARGO_MANIFEST_DIR")).service(service::<Clock>());
/// ```
///
/// An error of `tick` or `receive` is logged, who asked is told that there is no answer, and the
/// service goes on. A panic, an error of `start`, a runtime that hangs for `server.timeout` and the
/// end of its process are the same thing to the site: another one is started in its place, at once,
/// and more and more slowly if it keeps dying.
pub trait Service: Sized + Send + 'static {
    /// What it is called, once in a site: 1 to 92 of `[A-Za-z0-9._-]`.
    const NAME: &'static str;

    /// What it is sent and asked. Site and service may be of two builds during a reload: what
    /// cannot be read is logged and dropped.
    type Message: Serialize + DeserializeOwned + Send + Sync;

    /// What it answers; `()` if there is nothing to ask.
    type Answer: Serialize + DeserializeOwned + Send;

    /// Makes it: when the site starts, and again after each of its ends.
    ///
    /// # Errors
    /// It cannot be made now; it is tried again, later each time.
    fn start(site: &Site) -> impl Future<Output = Result<Self>> + Send;

    /// How often [`tick`](Self::tick) is called, the first time at once; `None`: never. Asked once,
    /// when it has started.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// What it does of itself. Messages wait meanwhile. One that takes longer than the interval
    /// delays the next; none is made up for.
    ///
    /// # Errors
    /// Logged; it goes on.
    fn tick(&mut self, site: &Site) -> impl Future<Output = Result<()>> + Send {
        let _ = site;
        async { Ok(()) }
    }

    /// A message, and the answer if somebody asked.
    ///
    /// # Errors
    /// Logged; who asked is told that there is no answer (`is_no_answer`).
    fn receive(
        &mut self,
        site: &Site,
        message: Self::Message,
    ) -> impl Future<Output = Result<Self::Answer>> + Send;

    /// The site stops, or another of its kind takes its place: what it holds can be put away,
    /// within `server.graceful_timeout`. It is not called when the process is killed.
    ///
    /// # Errors
    /// Logged.
    fn stop(self, site: &Site) -> impl Future<Output = Result<()>> + Send {
        let _ = site;
        async { Ok(()) }
    }
}
