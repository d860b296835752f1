//! The life of a service: it is made, does one thing after the other, and is put away.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout_at};

use super::mailbox::{channel_name, read, written};
use super::{Declared, Service, Tally};
use crate::channels::{GroupName, Lock, Received};
use crate::error::{Error, Result};
use crate::site::Site;

/// How long the lock of one that is alone lasts without a word of its holder, how often that says
/// one, and after which pause again if it was not heard. No longer than Redis needs to find that a
/// machine is gone, whose locks it frees.
const LOCK_LASTS: Duration = Duration::from_secs(5);
const LOCK_BEAT: Duration = Duration::from_secs(1);
const LOCK_AGAIN: Duration = Duration::from_millis(500);

/// How long before the lock may be another's its holder ends.
const LOCK_SPARE: Duration = Duration::from_secs(1);

/// How often one that stands by asks whether it is its turn.
const STANDBY: Duration = Duration::from_secs(1);

/// How often it looks at its mailbox.
const LOOK: Duration = Duration::from_secs(1);

/// Pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Pauses before one that runs beside requests is made again.
const AGAIN: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(4);

/// Runs `S` until draining begins, or it cannot go on.
pub(super) async fn live<S: Service>(site: Site, tally: Arc<Tally>, is_alone: bool) -> Result<()> {
    if !is_alone {
        return work::<S>(&site, &tally).await;
    }
    // It stands by, which is all that is wanted of it now.
    tally.set_ready();
    let Some((lock, since)) = turn(&site, S::NAME).await else { return Ok(()) };
    tracing::info!("service {} is at work", S::NAME);
    tokio::select! {
        done = work::<S>(&site, &tally) => {
            // That it is free by itself later is as good.
            let _later = lock.release().await;
            done
        }
        error = hold(since, || lock.extend(LOCK_LASTS)) => Err(error),
    }
}

/// Waits for the lock, which lasts at least from the moment it was asked for; `None` once draining
/// begins.
async fn turn(site: &Site, name: &str) -> Option<(Lock, Instant)> {
    let lock = format!("service.{name}");
    loop {
        let asked = Instant::now();
        match site.values().lock(&lock, LOCK_LASTS).await {
            Ok(Some(lock)) => return Some((lock, asked)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "service {name} cannot ask whether it is alone"),
        }
        tokio::select! {
            () = site.lifecycle().draining() => return None,
            () = sleep(STANDBY) => {}
        }
    }
}

/// Holds the lock that was asked for at `since`; ends with why it does not any more, before it can
/// be another's, however long the store is silent.
async fn hold<F>(since: Instant, extend: impl Fn() -> F) -> Error
where
    F: Future<Output = Result<bool>>,
{
    let (mut until, mut pause) = (since + LOCK_LASTS - LOCK_SPARE, LOCK_BEAT);
    loop {
        tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
        let asked = Instant::now();
        let error = match timeout_at(until, extend()).await {
            Ok(Ok(true)) => {
                (until, pause) = (asked + LOCK_LASTS - LOCK_SPARE, LOCK_BEAT);
                continue;
            }
            Ok(Ok(false)) => return Error::new("another one may be at work: its lock is gone"),
            Ok(Err(error)) => error,
            Err(_) => Error::new("the data store is silent"),
        };
        if Instant::now() + LOCK_AGAIN >= until {
            return error.context("another one may be at work");
        }
        pause = LOCK_AGAIN;
        tracing::warn!(%error, "cannot hold a service's lock, trying again");
    }
}

async fn work<S: Service>(site: &Site, tally: &Tally) -> Result<()> {
    let channel = channel_name(S::NAME)?;
    let made = tokio::select! {
        made = unwound(S::start(site)) => made,
        () = site.lifecycle().draining() => return Ok(()),
    };
    let mut service = made.flatten().map_err(|error| error.context("starting"))?;
    tally.set_ready();
    tokio::select! {
        served = serve(&mut service, site, &channel, tally) => served?,
        () = look(site, &channel, tally) => {}
    }
    if let Err(error) = unwound(service.stop(site)).await? {
        tracing::error!(%error, "service {} does not stop well", S::NAME);
    }
    Ok(())
}

/// One thing after the other until draining begins; an error is that it panicked.
async fn serve<S: Service>(
    service: &mut S,
    site: &Site,
    channel: &GroupName,
    tally: &Tally,
) -> Result<()> {
    let mut ticks = service.interval().map(ticks);
    // Not asked anew after each tick: what is on its way here would be sent back each time.
    let mut taking = Box::pin(site.layer().take(channel));
    loop {
        let received = tokio::select! {
            biased;
            () = site.lifecycle().draining() => return Ok(()),
            () = next(&mut ticks) => {
                tick(service, site, &mut ticks).await?;
                continue;
            }
            received = &mut taking => received,
        };
        match received {
            Ok(received) => handle(service, site, received, tally).await?,
            Err(error) => {
                tracing::error!(%error, "service {} cannot read its mailbox", S::NAME);
                sleep(PAUSE).await;
            }
        }
        taking = Box::pin(site.layer().take(channel));
    }
}

async fn tick<S: Service>(
    service: &mut S,
    site: &Site,
    ticks: &mut Option<Interval>,
) -> Result<()> {
    let begun = Instant::now();
    if let Err(error) = unwound(service.tick(site)).await? {
        tracing::error!(%error, "a tick of service {} failed", S::NAME);
    }
    // Messages have their time too, also if each tick takes longer than the interval.
    ticks.iter_mut().filter(|it| begun.elapsed() >= it.period()).for_each(Interval::reset);
    Ok(())
}

/// At least a millisecond: none at all would be a panic, and a loop that serves nobody.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn next(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

async fn handle<S: Service>(
    service: &mut S,
    site: &Site,
    Received { message, asker }: Received,
    tally: &Tally,
) -> Result<()> {
    let message = match read(&message) {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(%error, "service {} cannot read a message", S::NAME);
            return Ok(());
        }
    };
    // Who asked hears that there is no answer when the asker is dropped.
    let answered = match unwound(service.receive(site, message)).await? {
        Ok(answer) => match (asker, written(&answer)) {
            (Some(asker), Ok(answer)) => asker.answer(answer).await,
            (_, answer) => answer.map(drop),
        },
        Err(error) => Err(error),
    };
    if let Err(error) = answered {
        tracing::error!(%error, "service {} failed at a message", S::NAME);
    }
    tally.count();
    Ok(())
}

/// Looks again and again how many messages wait, for ever.
async fn look(site: &Site, channel: &GroupName, tally: &Tally) {
    let mut looks = ticks(LOOK);
    loop {
        looks.tick().await;
        if let Ok(numbers) = site.layer().channel_statistics(channel).await {
            tally.set_waiting(numbers.pending);
        }
    }
}

/// What `work` comes to; an error if it panicked, after which what it worked on may be half done.
async fn unwound<T>(work: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| panicked(&*panic))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(format!("it panicked: {}", words.unwrap_or("no words")))
}

/// Runs services beside the requests of this process, where there is no arbiter to start theirs;
/// one that dies is made again. They end when draining begins.
pub(crate) fn run_here(site: &Site, declared: &[Declared]) {
    for one in declared {
        for _ in 0..one.count() {
            site.lifecycle().spawn(again_and_again(site.clone(), *one));
        }
    }
}

async fn again_and_again(site: Site, declared: Declared) {
    let (mut pause, name) = (*AGAIN.start(), declared.name());
    loop {
        let begun = Instant::now();
        let Err(error) = declared.live(site.clone(), Arc::default()).await else { return };
        if begun.elapsed() > *AGAIN.end() {
            pause = *AGAIN.start();
        }
        tracing::error!(%error, ?pause, "service {name} died");
        tokio::select! {
            () = site.lifecycle().draining() => return,
            () = sleep(pause) => pause = (pause * 2).min(*AGAIN.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{LOCK_LASTS, hold};
    use crate::error::{Error, Result};

    /// How long after `said` the holder ends that has heard "it is yours" up to then, once it hears
    /// `then`.
    async fn ends_after<F>(said: Duration, then: impl Fn() -> F) -> Duration
    where
        F: Future<Output = Result<bool>>,
    {
        let (begun, last) = (Instant::now(), Cell::new(Instant::now()));
        hold(begun, || async {
            if begun.elapsed() < said {
                last.set(Instant::now());
                return Ok(true);
            }
            then().await
        })
        .await;
        last.get().elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_say_that_he_is_at_work_ends_before_another_may_begin() {
        let silence = || std::future::pending();
        let slow_error = || async {
            sleep(Duration::from_secs(5)).await;
            Err(Error::new("away"))
        };
        for said in [0, 3, 4].map(Duration::from_secs) {
            for after in [
                ends_after(said, silence).await,
                ends_after(said, slow_error).await,
                ends_after(said, || async { Err(Error::new("away")) }).await,
            ] {
                let range = LOCK_LASTS - Duration::from_secs(2)..LOCK_LASTS;
                assert!(range.contains(&after), "{said:?}: {after:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_silence_ends_nobody_and_a_lost_lock_ends_its_holder_at_once() {
        let away = Cell::new(0);
        let begun = Instant::now();
        hold(begun, || async {
            away.set(away.get() + 1);
            match away.get() {
                41.. => Ok(false),
                count if count % 4 == 0 => Ok(true),
                _ => Err(Error::new("away")),
            }
        })
        .await;
        assert!(begun.elapsed() > 2 * LOCK_LASTS, "{:?}", begun.elapsed());
        let lost = ends_after(Duration::from_secs(3), || async { Ok(false) }).await;
        assert!(lost <= Duration::from_secs(1), "{lost:?}");
    }
}
