//! Waiting for a future in a plain function.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::Result;
use crate::site::Site;

thread_local! {
    /// Whether this thread runs a blocking view, and may be stopped by it.
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// The value of `future`, once it is there: `wait(Post::objects().all(&site))?`. Only this view
/// stands still meanwhile: on its thread, or, with `--greenlet`, on its stack alone.
///
/// As a greenlet a view must not wait while it holds the guard of a `std` lock, nor in a destructor
/// (see the crate `hulse-greenlet`).
///
/// # Panics
/// It is called outside a view made with [`blocking`](super::blocking): in an `async` function
/// write `.await`.
pub fn wait<F: Future>(future: F) -> F::Output {
    if hulse_greenlet::is_inside() {
        return hulse_greenlet::wait(future);
    }
    assert!(
        MAY_BLOCK.get(),
        "wait() was called in async code, which would stop every request of the worker: write \
         `.await` there, or make the view a plain function and wrap it in `blocking(..)`"
    );
    park_until(future)
}

/// As [`Site::atomic`], for plain functions: all changes of `work` last, or none.
///
/// ```
/// # use hulse::{Result, Site};
/// # use hulse::blocking::{atomic, wait};
/// # use hulse::contrib::auth::User;
/// fn rename(site: &Site, mut user: User) -> Result<User> {
///     atomic(site, |site| {
///         user.username.push('!');
///         wait(user.save(&site))?;
///         Ok(user)
///     })
/// }
/// ```
///
/// # Errors
/// As [`Site::atomic`].
///
/// # Panics
/// As [`wait`].
pub fn atomic<T>(site: &Site, work: impl FnOnce(Site) -> Result<T>) -> Result<T> {
    wait(site.atomic(async |site| work(site)))
}

/// This thread runs a blocking view, until it is dropped.
#[derive(Debug)]
pub(super) struct MayBlock(());

impl MayBlock {
    pub(super) fn begin() -> Self {
        MAY_BLOCK.set(true);
        Self(())
    }
}

impl Drop for MayBlock {
    fn drop(&mut self) {
        MAY_BLOCK.set(false);
    }
}

/// Runs `future` on this thread, which sleeps while there is nothing to do. Unlike the runtime's
/// own `block_on` it may stand inside another one: a plain function waits inside [`atomic`].
fn park_until<F: Future>(future: F) -> F::Output {
    let bell = Arc::new(Bell { thread: thread::current(), rung: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        while !bell.rung.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// Wakes a thread.
struct Bell {
    thread: Thread,
    /// Parking may end without a reason, and a call may come before it.
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
