//! The place of a request among those that are answered at once.
//!
//! Flow: the server answers inside [`holding`] → whoever only waits for others to say something
//! (a long poll) gives the place up with [`give_up_place`]; whose body has come gets another one
//! and keeps it with [`keep_place`].

use std::cell::Cell;

use tokio::sync::OwnedSemaphorePermit;

tokio::task_local! {
    /// Of the request this task is answering.
    static PLACE: Cell<Option<OwnedSemaphorePermit>>;
}

/// Answers with `place` held until the head of the answer is there.
pub(crate) fn holding<F: Future>(
    place: OwnedSemaphorePermit,
    answer: F,
) -> impl Future<Output = F::Output> + use<F> {
    PLACE.scope(Cell::new(Some(place)), answer)
}

/// Lets another request in: this one does nothing but wait from here on. Whether it had a place.
pub(crate) fn give_up_place() -> bool {
    // In a test there may be none.
    PLACE.try_with(|place| place.take().is_some()).unwrap_or(false)
}

/// Keeps `place` for the request this task is answering.
pub(crate) fn keep_place(place: OwnedSemaphorePermit) {
    let _over = PLACE.try_with(|held| held.set(Some(place)));
}
