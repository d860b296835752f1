//! The life of a service: it is made, does one thing after the other, and is put away.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::mailbox::{channel_name, read, written};
use super::{Declared, Service, Tally};
use crate::channels::{GroupName, Lock, Received};
use crate::error::{Error, Result};
use crate::site::Site;

/// How long the lock of one that is alone lasts without a word of its holder, and how often that
/// says one.
const LOCK_LASTS: Duration = Duration::from_secs(9);
const LOCK_BEAT: Duration = Duration::from_secs(3);

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
    let Some(lock) = turn(&site, S::NAME).await else { return Ok(()) };
    tracing::info!("service {} is at work", S::NAME);
    let done = tokio::select! {
        done = work::<S>(&site, &tally) => done,
        error = hold(&lock) => Err(error),
    };
    // That it is free by itself later is as good.
    let _later = lock.release().await;
    done
}

/// Waits for the lock; `None` once draining begins.
async fn turn(site: &Site, name: &str) -> Option<Lock> {
    let lock = format!("service.{name}");
    loop {
        match site.values().lock(&lock, LOCK_LASTS).await {
            Ok(Some(lock)) => return Some(lock),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "service {name} cannot ask whether it is alone"),
        }
        tokio::select! {
            () = site.lifecycle().draining() => return None,
            () = sleep(STANDBY) => {}
        }
    }
}

/// Holds the lock; ends with why it does not any more.
async fn hold(lock: &Lock) -> Error {
    let mut until = Instant::now() + LOCK_LASTS;
    loop {
        sleep(LOCK_BEAT).await;
        let asked = Instant::now();
        match lock.extend(LOCK_LASTS).await {
            Ok(true) => until = asked + LOCK_LASTS,
            Ok(false) => return Error::new("another one may be at work: its lock is gone"),
            Err(error) if asked + LOCK_BEAT >= until => {
                return error.context("another one may be at work");
            }
            Err(error) => tracing::warn!(%error, "cannot hold a service's lock, trying again"),
        }
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
