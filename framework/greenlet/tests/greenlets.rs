//! What greenlets promise.

#![expect(clippy::unwrap_used, reason = "a test may unwrap, in its helpers too")]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hulse_greenlet::{Greenlet, STACK_BYTES_MIN, is_inside, wait};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::sleep;

fn greenlet<T>(function: impl FnOnce() -> T + 'static) -> Greenlet<T> {
    Greenlet::new(STACK_BYTES_MIN, function).unwrap()
}

/// Notes that it is dropped.
struct Noted(Rc<Cell<bool>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[tokio::test]
async fn two_hundred_wait_at_once_on_one_thread() {
    let began = Instant::now();
    let local = LocalSet::new();
    let all = local.run_until(async {
        let one = |number| {
            spawn_local(greenlet(move || {
                wait(sleep(Duration::from_millis(50)));
                wait(sleep(Duration::from_millis(50)));
                number
            }))
        };
        let mut sum = 0;
        for task in (0..200).map(one).collect::<Vec<_>>() {
            sum += task.await.unwrap().unwrap();
        }
        sum
    });
    assert_eq!(all.await, 199 * 200 / 2);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn locals_and_deep_calls_survive_the_waits() {
    fn deep(depth: usize) -> usize {
        let local = [depth; 64];
        if depth == 0 {
            return 0;
        }
        wait(yield_now());
        local[depth % 64] + deep(depth - 1)
    }
    assert_eq!(greenlet(|| deep(100)).await.unwrap(), 100 * 101 / 2);
}

#[tokio::test]
async fn a_panic_is_its_own() {
    let panicked = greenlet(|| -> u32 {
        wait(yield_now());
        panic!("oh")
    });
    assert_eq!(panicked.await.unwrap_err().downcast_ref::<&str>(), Some(&"oh"));
    assert_eq!(greenlet(|| 7).await.unwrap(), 7);
    assert!(!is_inside());
}

#[tokio::test]
async fn one_that_is_dropped_while_it_waits_unwinds() {
    let (dropped, gone_on) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (noted, went_on) = (Noted(Rc::clone(&dropped)), Rc::clone(&gone_on));
    let (_keep, never) = oneshot::channel::<()>();
    let mut waiting = greenlet(move || {
        let _noted = noted;
        wait(never).unwrap();
        went_on.set(true);
    });
    assert!(futures_poll(&mut waiting).await, "it waits");
    assert!(!dropped.get());
    drop(waiting);
    assert!(dropped.get() && !gone_on.get());
    assert!(!is_inside());
}

#[tokio::test]
async fn one_that_never_began_drops_what_it_was_given() {
    let dropped = Rc::new(Cell::new(false));
    let noted = Noted(Rc::clone(&dropped));
    drop(greenlet(move || drop(noted)));
    assert!(dropped.get());
}

#[tokio::test]
async fn one_inside_another_waits_for_itself() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let (outer, inner) = (Rc::clone(&order), Rc::clone(&order));
    let nested = greenlet(move || {
        wait(async {
            greenlet(move || {
                inner.borrow_mut().push("inner");
                wait(yield_now());
                inner.borrow_mut().push("inner again");
            })
            .await
            .unwrap();
            // A plain function below an async block below a plain function.
            wait(yield_now());
        });
        assert!(is_inside());
        outer.borrow_mut().push("outer");
    });
    nested.await.unwrap();
    assert_eq!(*order.borrow(), ["inner", "inner again", "outer"]);
}

#[test]
fn outside_of_one_nobody_can_wait() {
    assert!(!is_inside());
    assert!(catch_unwind(AssertUnwindSafe(|| wait(async {}))).is_err());
}

#[tokio::test]
async fn a_thousand_after_another_use_the_same_stacks() {
    for number in 0..1_000 {
        let ended = greenlet(move || {
            wait(yield_now());
            number
        });
        assert_eq!(ended.await.unwrap(), number);
    }
}

/// Polls it once; whether it waits.
async fn futures_poll<T>(greenlet: &mut Greenlet<T>) -> bool {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *greenlet).poll(context);
        std::task::Poll::Ready(polled.is_pending())
    })
    .await
}
