//! Times of the three sides and what they say of each other.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Done;

/// Between two sides: whatever the one before has left to be done, as sqlx's pool does, is done.
const PAUSE: Duration = Duration::from_micros(500);

/// What one side took for one round.
#[derive(Clone, Copy)]
struct Took {
    elapsed: Duration,
    /// Of this process, all threads: what neighbours do counts less.
    cpu: Duration,
}

/// The rounds of one piece of work.
pub(crate) struct Table {
    name: &'static str,
    /// How often a round does it.
    times: u32,
    /// For each round: sqlx's pool, sqlx on a connection of its own, Hulse.
    rounds: Vec<[Took; 3]>,
}

impl Table {
    pub(crate) fn new(name: &'static str, times: u32) -> Self {
        Self { name, times, rounds: Vec::new() }
    }

    pub(crate) fn head(database: &str) {
        println!("{database:<30} {:^32} {:^15} {:^15}", "wall", "to a pool", "to a connection");
        println!(
            "{:<30} {:>10} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7}",
            "", "pool", "connection", "Hulse", "wall", "CPU", "wall", "CPU"
        );
    }

    /// All sides once, each time another first.
    pub(crate) async fn round(
        &mut self,
        pool: impl Future<Output = Done>,
        own: impl Future<Output = Done>,
        hulse: impl Future<Output = Done>,
    ) -> Done {
        let round = match self.rounds.len() % 3 {
            0 => {
                let pool = timed(pool).await?;
                let own = timed(own).await?;
                [pool, own, timed(hulse).await?]
            }
            1 => {
                let hulse = timed(hulse).await?;
                let pool = timed(pool).await?;
                [pool, timed(own).await?, hulse]
            }
            _ => {
                let own = timed(own).await?;
                let hulse = timed(hulse).await?;
                [timed(pool).await?, own, hulse]
            }
        };
        self.rounds.push(round);
        Ok(())
    }

    pub(crate) fn print(&self) {
        let time = |side: usize| {
            let times = self.rounds.iter().map(|round| round[side].elapsed.as_secs_f64());
            Duration::from_secs_f64(median(times) / f64::from(self.times))
        };
        let ratio = |other: usize, of: fn(&Took) -> Duration| {
            let seconds = |took: &Took| of(took).as_secs_f64();
            median(self.rounds.iter().map(|round| seconds(&round[2]) / seconds(&round[other])))
        };
        println!(
            "  {:<28} {:>10.1?} {:>10.1?} {:>10.1?} {:>7.2} {:>7.2} {:>7.2} {:>7.2}",
            self.name,
            time(0),
            time(1),
            time(2),
            ratio(0, |took| took.elapsed),
            ratio(0, |took| took.cpu),
            ratio(1, |took| took.elapsed),
            ratio(1, |took| took.cpu),
        );
    }
}

async fn timed(work: impl Future<Output = Done>) -> Done<Took> {
    tokio::time::sleep(PAUSE).await;
    let (started, cpu) = (Instant::now(), cpu());
    work.await?;
    Ok(Took { elapsed: started.elapsed(), cpu: self::cpu().saturating_sub(cpu) })
}

fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or_default(),
        u32::try_from(spent.tv_nsec).unwrap_or_default(),
    )
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
