//! The word that it is time to stop, and the count of who has not stopped yet.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shutdown of one process. Tasks that outlive their request (sockets) are spawned here, so that
/// draining can wait for them.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
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
