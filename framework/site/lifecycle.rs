//! The word that it is time to stop, and the count of who has not stopped yet.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shutdown of one process. Tasks that outlive their request (sockets) are spawned here, so that
/// draining can wait for them.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    /// How long those who stay connected may be sent away one by one, if another process goes on
    /// in this one's place.
    replaced: Arc<OnceLock<Duration>>,
    /// Nobody waits for them any more.
    hurrying: CancellationToken,
    /// Counts tasks; it never aborts them. Draining ends when it is closed and empty.
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Starts `task`, counted until it ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Ends when draining begins.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Whether draining has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Another process goes on in this one's place: who is connected is sent away within `window`,
    /// not all in one moment, to come back at once.
    pub(crate) fn be_replaced(&self, window: Duration) {
        let _said_already = self.replaced.set(window);
        self.draining.cancel();
    }

    /// If another process goes on in this one's place: in what time to send everybody there.
    pub(crate) fn replaced(&self) -> Option<Duration> {
        self.replaced.get().copied()
    }

    /// Whatever is spread over time is done at once.
    pub(crate) fn hurry(&self) {
        self.hurrying.cancel();
    }

    /// Ends when [`hurry`](Self::hurry) is called.
    pub(crate) async fn hurrying(&self) {
        self.hurrying.cancelled().await;
    }

    /// Tells every task to finish, and waits for none.
    pub(crate) fn stop(&self) {
        self.draining.cancel();
    }

    /// Tells every task to finish and waits until all have.
    pub async fn drain(&self) {
        self.draining.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
