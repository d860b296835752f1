//! Blocking views as greenlets: one thread, on which each has a stack of its own.
//!
//! Flow: [`Greenlets::run`] → the thread's queue → a local task that polls the view's greenlet →
//! its answer. Whoever gives up waiting for the answer ends the greenlet where it stands.
//!
//! The thread is not the runtime's own: a view that computes, or blocks in earnest, holds up other
//! greenlets, but no request of an `async` view, no WebSocket and no heartbeat.

use std::io;
use std::thread;

use axum::response::{IntoResponse, Response};
use hulse_greenlet::Greenlet;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::pool::Place;
use crate::error::Error;
use crate::http::Carried;

/// A view's stack, bytes: address space, of which memory is used as far as calls have reached.
/// Rendering a template in a debug build takes the most.
const STACK_BYTES: usize = 1024 * 1024;

/// The thread of a site's greenlets. It ends when this is dropped and the last of them has ended.
#[derive(Debug)]
pub(super) struct Greenlets {
    /// One place each, as each has a permit to run already.
    jobs: mpsc::Sender<Job>,
}

/// A view that is to run.
struct Job {
    view: Box<dyn FnOnce() -> Response + Send>,
    /// Held until the view has ended.
    place: Place,
    carried: Carried,
    /// Dropped by whoever gives up waiting.
    answer: oneshot::Sender<thread::Result<Response>>,
}

impl Greenlets {
    /// Starts the thread for at most `count` of them. Must be called on the runtime.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(count);
        let runtime = Handle::current();
        let thread = thread::Builder::new().name("greenlets".into());
        // It ends with the sender above, and nobody needs to wait for that.
        let _ended_by_the_sender = thread.spawn(move || serve(&runtime, queue))?;
        Ok(Self { jobs })
    }

    /// Runs `view`; its answer, or what it panicked with. Dropping the future unwinds the view.
    pub(super) async fn run(
        &self,
        place: Place,
        view: impl FnOnce() -> Response + Send + 'static,
    ) -> thread::Result<Response> {
        let (answer, answered) = oneshot::channel();
        let job = Job { view: Box::new(view), place, carried: Carried::here(), answer };
        let is_queued = self.jobs.send(job).await.is_ok();
        match answered.await {
            Ok(answer) if is_queued => answer,
            _ => Ok(Error::new("the thread of the greenlets has ended").into_response()),
        }
    }
}

fn serve(runtime: &Handle, mut queue: mpsc::Receiver<Job>) {
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        while let Some(job) = queue.recv().await {
            // It ends by itself, or when nobody waits for its answer any more.
            let _counted_by_its_place = spawn_local(job.run());
        }
    }));
    // What is unwound here may want the runtime.
    let _inside = runtime.enter();
    drop(tasks);
}

impl Job {
    async fn run(self) {
        let Self { view, place: _held_to_the_end, carried, mut answer } = self;
        let ended = match Greenlet::new(STACK_BYTES, view) {
            Ok(greenlet) => tokio::select! {
                ended = carried.during(greenlet) => ended,
                // The client has gone: the greenlet is dropped, and its stack unwound.
                () = answer.closed() => return,
            },
            Err(error) => {
                Ok(Error::from(error).context("making a greenlet's stack").into_response())
            }
        };
        // The client may have gone at this moment.
        drop(answer.send(ended));
    }
}
