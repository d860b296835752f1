//! Greenlets: plain functions on stacks of their own, which wait for futures without holding a
//! thread.
//!
//! Flow: [`Greenlet::new`] → it is polled like any future → its function runs, until it calls
//! [`wait`] with a future that is not ready: its stack is left as it is, and the poll is pending →
//! the future's waker wakes the task → the next poll goes on where the function stood.
//!
//! Invariants:
//! - A greenlet never leaves its thread: [`Greenlet`] is `!Send`, as corosensei's coroutine is.
//! - While a greenlet does not run, nobody can reach its [`wait`]: [`CURRENT`] names the greenlet
//!   that runs on this thread, is set just before its stack is entered and put back just after.
//! - Dropping a suspended greenlet unwinds its stack: destructors run, memory is given back.
//!
//! # Why it is sound
//!
//! Everything that switches stacks is corosensei's (0.3), behind safe functions. One thing is ours:
//! its `Yielder`, which a function needs to suspend itself, is lent to the coroutine's body only,
//! and [`wait`] is called from anywhere below. So a pointer to it is kept, and followed in
//! `Running::suspend`:
//!
//! - It points to a value that lives as long as the body runs: corosensei calls the body with a
//!   reference to it, on a stack that never moves.
//! - It is followed by code that runs on that very stack only: `Running` is reached through
//!   [`CURRENT`], which holds it only while the stack is entered. A greenlet that is polled inside
//!   another one sets it to itself and back.
//! - It is never followed after the body has ended: leaving the stack for the last time puts
//!   [`CURRENT`] back, and the clone that [`wait`] holds is on that stack.
//! - No other thread can follow it: [`CURRENT`] is of the thread, `Running` is `!Send`.
//!
//! # What a function on such a stack must not do
//!
//! The same as with any stackful coroutine, corosensei's own safe functions included:
//!
//! - Wait inside a closure that was given to `thread_local!`'s `with`, to a scoped thread-local
//!   (crates that keep a pointer to the caller's stack there trust that calls end in order), or
//!   with the guard of a `std` lock: another greenlet of the thread would meet it.
//! - Wait in a destructor: while the stack unwinds there is nobody to go on with, so it panics, and
//!   a panic while unwinding ends the process.
//! - Need more stack than it has. Below it lies a guard page; who runs into that is killed by
//!   SIGSEGV, with the whole process, as with an overflow of any thread's stack.
//!
//! A stack takes two of the process's 65,530 memory maps (`vm.max_map_count`): [`GREENLETS_MAX`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Smallest stack, bytes. It is address space; memory is used as far as calls have reached.
pub const STACK_BYTES_MIN: usize = 256 * 1024;

/// Most greenlets of a process: Linux gives it 65,530 memory maps, a stack and its guard are two.
pub const GREENLETS_MAX: usize = 32_000;

/// Stacks a thread keeps for the next greenlets, at most.
const SPARE_STACKS_MAX: usize = 64;

thread_local! {
    /// The greenlet whose stack this thread is on.
    static CURRENT: RefCell<Option<Rc<Running>>> = const { RefCell::new(None) };
    /// Stacks of greenlets that have ended, all of one size.
    static SPARE: RefCell<Vec<(usize, DefaultStack)>> = const { RefCell::new(Vec::new()) };
}

/// A function on a stack of its own; a future of its value, or of what it panicked with.
pub struct Greenlet<T: 'static> {
    /// `None` once it has ended.
    coroutine: Option<Coroutine<(), (), T, DefaultStack>>,
    running: Rc<Running>,
    stack_bytes: usize,
}

/// What [`wait`] needs of the greenlet it is called in.
struct Running {
    /// Null before the function has begun.
    yielder: Cell<*const Yielder<(), ()>>,
    /// Of the task that polls the greenlet, as of the last time.
    waker: RefCell<Waker>,
}

impl<T> Greenlet<T> {
    /// `function`, to be run on a stack of `stack_bytes` (at least [`STACK_BYTES_MIN`]).
    ///
    /// # Errors
    /// There is no memory, or there are too many memory maps.
    pub fn new(stack_bytes: usize, function: impl FnOnce() -> T + 'static) -> io::Result<Self> {
        let stack_bytes = stack_bytes.max(STACK_BYTES_MIN);
        let stack = match spare_stack(stack_bytes) {
            Some(stack) => stack,
            None => DefaultStack::new(stack_bytes)?,
        };
        let running = Rc::new(Running {
            yielder: Cell::new(ptr::null()),
            waker: RefCell::new(Waker::noop().clone()),
        });
        let begun = Rc::clone(&running);
        let body = move |yielder: &Yielder<(), ()>, ()| {
            begun.yielder.set(yielder);
            function()
        };
        let coroutine = Some(Coroutine::with_stack(stack, body));
        Ok(Self { coroutine, running, stack_bytes })
    }
}

impl<T> Future for Greenlet<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    /// # Panics
    /// It has ended already.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.running.waker.borrow_mut().clone_from(context.waker());
        let coroutine = this.coroutine.as_mut().expect("it was polled after its end");
        let outer = CURRENT.replace(Some(Rc::clone(&this.running)));
        // What the function panics with comes out of here.
        let resumed = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
        CURRENT.set(outer);
        let ended = match resumed {
            Ok(CoroutineResult::Yield(())) => return Poll::Pending,
            Ok(CoroutineResult::Return(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        if let Some(coroutine) = this.coroutine.take() {
            keep_stack(this.stack_bytes, coroutine.into_stack());
        }
        Poll::Ready(ended)
    }
}

/// Pinning means nothing to it: its stack is elsewhere.
impl<T> Unpin for Greenlet<T> {}

impl<T> Drop for Greenlet<T> {
    fn drop(&mut self) {
        // A suspended stack is unwound here, and its destructors must find no greenlet to wait in:
        // not theirs, and not the one in which this is dropped.
        let outer = CURRENT.replace(None);
        self.coroutine = None;
        CURRENT.set(outer);
    }
}

impl Running {
    /// Leaves the stack until the greenlet is polled again.
    fn suspend(&self) {
        // SAFETY: the pointer was taken from the reference that the coroutine's body was called
        // with, which is good until the body returns; and who calls this runs inside that body: see
        // "Why it is sound" above.
        #[expect(unsafe_code, reason = "a reference cannot be kept where `wait` finds it")]
        let yielder = unsafe { &*self.yielder.get() };
        yielder.suspend(());
    }
}

/// Whether this code runs in a greenlet, and may [`wait`].
#[must_use]
pub fn is_inside() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// The value of `future`. Until it is there, the greenlet's thread does other work.
///
/// # Panics
/// It is called outside a greenlet ([`is_inside`]), or in a destructor while the stack unwinds.
pub fn wait<F: Future>(future: F) -> F::Output {
    let running = CURRENT.with_borrow(Option::clone).expect("wait() is for greenlets");
    assert!(!std::thread::panicking(), "a destructor cannot wait while its stack unwinds");
    let mut future = pin!(future);
    loop {
        // The task may be another one each time.
        let waker = running.waker.borrow().clone();
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        running.suspend();
    }
}

/// A stack that was used before; its size fits exactly.
fn spare_stack(stack_bytes: usize) -> Option<DefaultStack> {
    SPARE.with_borrow_mut(|spare| {
        let fits = spare.last().is_some_and(|(bytes, _)| *bytes == stack_bytes);
        if fits { spare.pop().map(|(_, stack)| stack) } else { None }
    })
}

fn keep_stack(stack_bytes: usize, stack: DefaultStack) {
    // At the end of the thread there is nobody to keep it for.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARE_STACKS_MAX {
            spare.push((stack_bytes, stack));
        }
    });
}

impl<T> fmt::Debug for Greenlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greenlet").field("ended", &self.coroutine.is_none()).finish()
    }
}
