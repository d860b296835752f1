//! Where blocking views run: a few threads of the worker's runtime, or a thread with many stacks,
//! and a bounded queue in front.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::greenlets::Greenlets;
use super::wait::MayBlock;
use crate::error::Error;
use crate::http::Carried;
use crate::site::Site;

/// When a client that was turned away may try again, seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The pool of one site.
#[derive(Debug)]
pub(super) struct Pool {
    /// One permit a view that runs. Its thread holds it, not the caller: a client that goes away
    /// does not stop it.
    running: Arc<Semaphore>,
    /// One permit a view that runs or waits.
    admitted: Arc<Semaphore>,
    /// `None`: each runs on a thread.
    greenlets: Option<Greenlets>,
}

/// What a view holds until it has ended.
pub(super) type Place = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Pool {
    pub(super) fn of(site: &Site) -> Arc<Self> {
        site.keep(|site| {
            let settings = &site.settings().server;
            let greenlets = (settings.greenlets > 0).then(|| Greenlets::start(settings.greenlets));
            let greenlets = greenlets.transpose().unwrap_or_else(|error| {
                tracing::error!(%error, "cannot start the greenlets' thread; views run on threads");
                None
            });
            let at_once = match greenlets {
                Some(_) => settings.greenlets,
                None => settings.thread_workers.max(1),
            };
            Self {
                running: Arc::new(Semaphore::new(at_once)),
                admitted: Arc::new(Semaphore::new(at_once + settings.blocking_queue)),
                greenlets,
            }
        })
    }

    /// Runs `view` when it is its turn. Dropping the future takes it out of the queue.
    pub(super) async fn run(&self, view: impl FnOnce() -> Response + Send + 'static) -> Response {
        let Some(place) = self.place().await else { return full() };
        let ended = match &self.greenlets {
            Some(greenlets) => greenlets.run(place, view).await,
            None => on_a_thread(place, view).await,
        };
        // The stack makes a 500 of a panic, as of any view's.
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    async fn place(&self) -> Option<Place> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        let running = Arc::clone(&self.running).acquire_owned().await.ok()?;
        Some((admitted, running))
    }
}

/// Runs `view`; its answer, or what it panicked with. It goes on when the future is dropped.
async fn on_a_thread(
    place: Place,
    view: impl FnOnce() -> Response + Send + 'static,
) -> thread::Result<Response> {
    let carried = Carried::here();
    let answered = tokio::task::spawn_blocking(move || {
        let (_held_to_the_end, _may_block) = (place, MayBlock::begin());
        carried.in_scope(|| catch_unwind(AssertUnwindSafe(view)))
    });
    answered.await.unwrap_or_else(|error| {
        Ok(Error::from(error).context("running a blocking view").into_response())
    })
}

/// There is no place to wait in.
fn full() -> Response {
    let message = "too many blocking views wait already (server.blocking_queue)";
    let mut response = Error::status(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}
