//! Large futures that are not moved about.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that stays where it was pinned, while those who take it move a pointer. It goes when
/// this does, so that what ends with it still ends inside of them.
#[derive(Debug)]
pub(super) struct Staying<'f, F>(Pin<&'f mut Option<F>>);

impl<'f, F: Future> Staying<'f, F> {
    /// The one in `place`, which has one.
    pub(super) fn new(place: Pin<&'f mut Option<F>>) -> Self {
        Self(place)
    }
}

impl<F: Future> Future for Staying<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().as_pin_mut().expect("it is there as long as this").poll(cx)
    }
}

impl<F> Drop for Staying<'_, F> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
