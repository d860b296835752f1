//! Tasks of a connection: they end with it.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::slot::{Close, Slot, closed};
use super::task::log_failure;
use crate::error::{Error, Result};

/// Tasks a connection may have at once.
const TASKS_MAX: usize = 100;

/// The tasks of one connection.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Boxed once there are any: most connections have none.
    #[default]
    None,
    Some(Box<JoinSet<()>>),
    /// The connection has ended; what is left of them is being dropped.
    Ended(Option<Box<JoinSet<()>>>),
}

impl Tasks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts `task`.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let mut state = self.state();
        if matches!(*state, State::None) {
            *state = State::Some(Box::default());
        }
        let State::Some(tasks) = &mut *state else {
            return Err(closed("the socket is closed: it can have no tasks"));
        };
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= TASKS_MAX {
            return Err(Error::new(format!("a socket has at most {TASKS_MAX} tasks at once")));
        }
        tasks.spawn(task);
        Ok(())
    }

    /// Whether one runs.
    pub(super) fn are_any(&self) -> bool {
        let mut state = self.state();
        let State::Some(tasks) = &mut *state else { return false };
        while tasks.try_join_next().is_some() {}
        !tasks.is_empty()
    }

    /// Tells all to end, and lets no other begin.
    pub(super) fn end(&self) {
        let mut state = self.state();
        *state = match mem::take(&mut *state) {
            State::None => State::Ended(None),
            State::Some(mut tasks) => {
                tasks.abort_all();
                State::Ended(Some(tasks))
            }
            ended @ State::Ended(_) => ended,
        };
    }

    /// Waits until those that were told to end have ended.
    pub(super) async fn ended(&self) {
        let left = match &mut *self.state() {
            State::Ended(left) => left.take(),
            State::None | State::Some(_) => None,
        };
        if let Some(mut left) = left {
            left.shutdown().await;
        }
    }
}

/// `work` on behalf of the connection behind `slot`: if it fails or panics, that is logged and
/// closes the connection with 1011.
pub(super) async fn guarded(
    slot: Arc<Slot>,
    who: &'static str,
    work: impl Future<Output = Result<()>> + Send,
) {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    if log_failure(who, done).is_err() {
        // It may be closed already.
        let _ = slot.close(Close { code: 1011, reason: "internal error".to_owned() });
    }
}
