//! The site: its workers publish when they are told to, and its sockets hear it.

use std::time::Duration;

use axum::extract::State;
use futures_util::future::join_all;
use hulse::channels::GroupName;
use hulse::http::Path;
use hulse::sockets::{Consumer, Socket, socket};
use hulse::urls::{Urls, path};
use hulse::{Project, Result, Site};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

/// Length of a message, bytes.
const TEXT_BYTES: usize = 64;
/// Turns of a timer before messages are sent by it.
const TRIES: usize = 25;

pub(crate) fn project() -> Project {
    Project::new("store", std::env::temp_dir()).urls(Urls::new([
        path("publish/<int:seconds>/<int:outstanding>/<int:groups>/", publish),
        path("pace/<int:seconds>/<int:rate>/<int:groups>/", pace),
        socket("ws/<int:group>/", || Listener),
    ]))
}

/// Nanoseconds of a clock that all processes of a machine share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// When it was to be sent, and spaces.
fn text(due: u64) -> String {
    format!("{due:<TEXT_BYTES$}")
}

pub(crate) fn name(group: usize) -> String {
    format!("g{group}")
}

fn names(groups: usize) -> Vec<GroupName> {
    (0..groups).map(|group| GroupName::new(&name(group)).expect("a good name")).collect()
}

/// Publishes as fast as it goes, so many at a time; how many, and by whom.
async fn publish(
    State(site): State<Site>,
    Path((seconds, outstanding, groups)): Path<(u64, usize, usize)>,
) -> Result<String> {
    let (names, end) = (names(groups), Instant::now() + Duration::from_secs(seconds));
    let publishing = (0..outstanding).map(async |first| {
        let mut count = 0;
        while Instant::now() < end {
            let group = &names[(first + count * outstanding) % names.len()];
            site.layer().publish(group, "x".repeat(TEXT_BYTES).into()).await?;
            count += 1;
        }
        Result::Ok(count)
    });
    let counts: Result<Vec<usize>> = join_all(publishing).await.into_iter().collect();
    Ok(said(counts?.iter().sum()))
}

/// Publishes so many a second. A message is as old as it would be had it left in time: whatever
/// holds its sender up counts, also what held up the one before.
async fn pace(
    State(site): State<Site>,
    Path((seconds, rate, groups)): Path<(u64, usize, usize)>,
) -> Result<String> {
    let names = names(groups);
    let pause = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1);
    let total = rate * usize::try_from(seconds).unwrap_or(1);
    // A timer counts whole milliseconds of its own, so it is late by the same each time: what is
    // later than the best of some turns is a delay.
    let (begun, clock) = (Instant::now(), now());
    let (mut due, mut late) = (begun, Duration::MAX);
    for _ in 0..TRIES {
        due += pause;
        sleep_until(due).await;
        late = late.min(due.elapsed());
    }
    due += pause;
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or_default();
    let mut stamp = clock + nanos(due - begun + late);
    for count in 0..total {
        sleep_until(due).await;
        site.layer().publish(&names[count % names.len()], text(stamp).into()).await?;
        due += pause;
        stamp += nanos(pause);
    }
    Ok(said(total))
}

fn said(count: usize) -> String {
    format!("{} {count}\n", std::process::id())
}

struct Listener;

impl Consumer for Listener {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let group: usize = socket.path()?;
        socket.accept().await?;
        socket.join(&name(group)).await
    }
}
