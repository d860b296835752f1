//! The place of a request among those that are answered at once.
//!
//! Flow: the server answers inside [`holding`] → whoever only waits for others to say something
//! (a long poll) gives the place up with [`give_up_place`].

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

/// Lets another request in: this one does nothing but wait from here on.
pub(crate) fn give_up_place() {
    // In a test there may be none.
    let _none = PLACE.try_with(|place| drop(place.take()));
}
