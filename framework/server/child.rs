//! What every child does alike: it takes its start from stdin, says how it is, hears its orders.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::apps::Project;
use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::control::{self, Counts, Groups, Leave, Order, PROTOCOL, Report, Start, Voice};
use crate::server::figures::Snapshot;
use crate::server::in_force::InForce;
use crate::server::{log, log_file};

/// How long a child outlives its arbiter at most: what is begun may finish, but the site may be
/// started again meanwhile.
pub(super) const ORPHAN_SECONDS_MAX: u64 = 3;

/// Orders that may wait; the arbiter has at most a few under way.
const ORDERS_MAX: usize = 32;

/// How often a child says that it lives, at least.
const BEAT_MAX: Duration = Duration::from_secs(1);

/// The exit code of a child that had to end itself.
const ORPHANED: i32 = 1;

/// The child's end of the control socket.
pub(super) struct Control {
    socket: Arc<UnixStream>,
    voice: Voice,
    orders: mpsc::Receiver<Heard>,
    /// What it says beside that it lives.
    counts: Box<dyn Fn() -> Counts + Send>,
    /// And for the metrics, if anybody asks for them.
    figures: Option<Box<dyn Fn() -> Snapshot + Send>>,
    /// How often it says that it lives.
    beat: Duration,
}

/// What a child hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// Finish and end; over the descriptor another worker goes on with what can move.
    Drain(Leave, Option<OwnedFd>),
    /// Go on with what comes over this.
    TakeIn(OwnedFd),
    /// Tell which groups have members.
    Groups(u64),
    /// The arbiter is gone; finish soon.
    Orphaned,
}

/// What a child begins with.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) control: Control,
    pub(super) start: Start,
    /// Those in force in its release.
    pub(super) settings: Settings,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Takes the control socket from stdin, and the start with settings and sockets from there.
pub(super) fn begin(project: &Project) -> Result<Begun> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    let socket = Arc::new(UnixStream::from(stdin));
    // A program that a view starts must not find the control socket on its stdin.
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    // A child that was stopped wakes up to see that the arbiter is gone.
    rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?;
    let (start, sockets) = control::receive_start(&socket)
        .map_err(|error| error.context("this process is started by pulse, not by hand"))?;
    let (heard, orders) = mpsc::channel(ORDERS_MAX);
    let listening = Arc::clone(&socket);
    thread::Builder::new().name("control".into()).spawn(move || listen(&listening, &heard))?;
    let (voice, counts) = (Voice::default(), Box::new(Counts::default));
    let mut control = Control { socket, voice, orders, counts, figures: None, beat: BEAT_MAX };
    if start.protocol != PROTOCOL {
        let words = "this program speaks to its arbiter in another way than the one that runs: \
                     stop the site and start it again";
        let error = Error::of(Kind::Server, words);
        control.failed(&error);
        return Err(error);
    }
    let mut sockets = sockets.into_iter();
    let settings = settings(project, sockets.next());
    let settings = settings.inspect_err(|error| control.failed(error))?;
    control.beat = Duration::from_secs(settings.server.timeout).div_f32(4.0).min(BEAT_MAX);
    Ok(Begun { control, start, settings, sockets: sockets.collect() })
}

/// The settings in force; the log goes where they say.
fn settings(project: &Project, handed: Option<OwnedFd>) -> Result<Settings> {
    let handed = handed.ok_or_else(|| Error::of(Kind::Server, "the child got no settings"))?;
    let settings = InForce::read(handed, &project.sections())?;
    log::start_log(&settings.log)?;
    Ok(settings)
}

/// Passes orders on. It is a thread, so that also a child whose runtime hangs ends with its
/// arbiter.
#[expect(clippy::exit, reason = "the runtime may hang; nobody is left who could kill the process")]
fn listen(socket: &UnixStream, heard: &mpsc::Sender<Heard>) {
    while let Some((order, beside)) = control::receive_order(socket) {
        let order = match order {
            Order::Drain(leave) => Heard::Drain(leave, beside),
            Order::Groups(id) => Heard::Groups(id),
            Order::Reopen => {
                log_file::reopen();
                continue;
            }
            Order::TakeIn => match beside {
                Some(line) => Heard::TakeIn(line),
                None => continue,
            },
        };
        let _told_already = heard.try_send(order);
    }
    let _told_already = heard.try_send(Heard::Orphaned);
    thread::sleep(Duration::from_secs(ORPHAN_SECONDS_MAX));
    std::process::exit(ORPHANED);
}

impl Control {
    /// From now on it says these with every beat.
    pub(super) fn count_with(&mut self, counts: impl Fn() -> Counts + Send + 'static) {
        self.counts = Box::new(counts);
    }

    /// From now on it tells these too.
    pub(super) fn figure_with(&mut self, figures: impl Fn() -> Snapshot + Send + 'static) {
        self.figures = Some(Box::new(figures));
    }

    /// Says what it says with every beat.
    pub(super) fn beat(&self) {
        self.report(&Report::Alive((self.counts)()));
        if let Some(figures) = &self.figures {
            self.report(&Report::Figures(figures()));
        }
    }

    pub(super) fn ready(&self) {
        self.report(&Report::Ready);
    }

    fn report(&self, report: &Report) {
        self.voice.report(&self.socket, report);
    }

    /// Answers what [`Heard::Groups`] asked.
    pub(super) fn groups(&self, id: u64, members: Vec<(String, u64)>) {
        self.report(&Report::Groups(Groups::new(id, members)));
    }

    /// Tells why it cannot start.
    pub(super) fn failed(&self, error: &Error) {
        self.report(&Report::Failed(error.to_string()));
    }

    /// Does `work`, which may take longer than a start may take in silence.
    pub(super) async fn while_working<T>(&self, work: impl Future<Output = T>) -> T {
        let mut beat = interval(self.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beat.tick() => self.report(&Report::Alive(Counts::default())),
            }
        }
    }

    /// Says "alive" every beat and ends with what is heard.
    pub(super) async fn heard(&mut self) -> Heard {
        let mut beat = interval(self.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => self.beat(),
                heard = self.orders.recv() => return heard.unwrap_or(Heard::Orphaned),
            }
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A current-thread runtime whose blocking pool has `blocking` threads.
pub(super) fn runtime(blocking: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking)
        .build()
        .map_err(|error| Error::because(Kind::Server, "starting the runtime", error))
}
