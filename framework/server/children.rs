//! Starting a child process and hearing of it.
//!
//! Invariant: all children of a generation run the same program, also those that replace dead ones,
//! whatever has become of its file meanwhile.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Pair;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::conf::{SERVICE_VARIABLES, setting_variables};
use crate::error::{Error, Kind, Result};
use crate::server::arbiter::Event;
use crate::server::control::{self, Counts, Leave, Order, Start};

/// This program, also after a rebuild has replaced its file.
pub(super) const RUNNING: &str = "/proc/self/exe";

/// After a child's end, how long its last reports may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves visitors.
    Worker,
    /// Keeps the groups.
    Store,
    /// Is one of the site's services.
    Service,
    /// Runs a build, in development, and ends it with the arbiter.
    Builder,
    /// An arbiter that takes over from this one.
    Successor,
}

impl Role {
    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Store => "store",
            Self::Service => "service",
            Self::Builder => "builder",
            Self::Successor => "successor",
        }
    }
}

/// What children are started from.
#[derive(Clone, Debug, Default)]
pub(super) enum Program {
    /// The one that runs.
    #[default]
    Running,
    /// One that was opened; its file may be replaced since.
    Opened(Arc<File>),
}

impl Program {
    /// The one that lies now where the one that runs was started from. `name` is the name it was
    /// started by: a link to the newest release is followed anew.
    pub(super) fn on_disk(name: Option<&OsString>) -> Result<Self> {
        let path = Self::path_on_disk(name)?;
        let doing = || format!("opening the program {}", path.display());
        let file =
            File::open(&path).map_err(|error| Error::because(Kind::Server, doing(), error))?;
        Ok(Self::Opened(Arc::new(file)))
    }

    /// Its file, or where it was.
    pub(super) fn path_on_disk(name: Option<&OsString>) -> Result<PathBuf> {
        let named = name.map(Path::new).filter(|name| name.components().count() > 1);
        match named {
            Some(path) => Ok(path.to_owned()),
            None => {
                let path = std::env::current_exe()?.to_string_lossy().into_owned();
                // Linux says so of one whose file was replaced.
                Ok(path.trim_end_matches(" (deleted)").into())
            }
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Running => RUNNING.into(),
            // Looked up in the child, before the descriptor is closed there.
            Self::Opened(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
        }
    }
}

/// Makes children and waits for each in a task of its own.
#[derive(Debug)]
pub(super) struct Nursery {
    /// The command line of this process, its name first: a successor's.
    arguments: Vec<OsString>,
    /// What a child's begins with, behind the name.
    command: Vec<OsString>,
    /// Variables that are settings. A child has its own ways to these.
    settings: Vec<String>,
    events: mpsc::Sender<Event>,
    /// One a child; it ends with the child.
    tasks: JoinSet<()>,
    last_id: u64,
}

/// What a child is started as.
#[derive(Debug)]
pub(super) struct Birth<'a> {
    pub(super) role: Role,
    /// What the log calls it.
    pub(super) title: Arc<str>,
    pub(super) program: &'a Program,
    pub(super) generation: u64,
    pub(super) requests_max: u64,
    /// How long it may say nothing until it is ready.
    pub(super) start_wait: Duration,
}

/// A living child. Dropping this lets it live.
#[derive(Debug)]
pub(super) struct Running {
    /// What it is called in events. Never used twice, unlike a process id.
    pub(super) id: u64,
    /// What the log calls it.
    pub(super) title: Arc<str>,
    pub(super) process: u32,
    pub(super) started: Instant,
    /// When it last said anything.
    pub(super) heard: Instant,
    pub(super) is_ready: bool,
    pub(super) generation: u64,
    /// A worker's seat on the board.
    pub(super) seat: usize,
    pub(super) counts: Counts,
    /// After so many requests it is replaced.
    pub(super) requests_max: u64,
    /// How long it may say nothing until it is ready.
    pub(super) start_wait: Duration,
    /// Why it cannot start, as it said.
    pub(super) complaint: Option<String>,
    /// Dropping it tells the child that the arbiter is gone.
    control: OwnedWriteHalf,
    kill: CancellationToken,
}

impl Nursery {
    pub(super) fn new(
        arguments: Vec<OsString>,
        command: Vec<OsString>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let settings = setting_variables();
        Self { arguments, command, settings, events, tasks: JoinSet::new(), last_id: 0 }
    }

    /// A number never used for a child.
    pub(super) fn number(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The program as it lies on disk now.
    pub(super) fn program(&self) -> Result<Program> {
        Program::on_disk(self.arguments.first())
    }

    /// Starts a child. It must be called on the main thread: the signal at a parent's death is one
    /// at the death of the thread that made the child.
    pub(super) fn spawn(
        &mut self,
        birth: &Birth<'_>,
        start: &Start,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<Running> {
        let failed = |error| Error::because(Kind::Server, "starting a child process", error);
        let (ours, theirs) = Pair::pair().map_err(failed)?;
        control::send_start(&ours, start, sockets)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let mut command = Command::new(birth.program.path());
        if let Some(name) = self.arguments.first() {
            command.arg0(name);
        }
        let is_successor = birth.role == Role::Successor;
        for name in SERVICE_VARIABLES {
            // The line to the service manager is an arbiter's, its watchdog too.
            if !is_successor || name == "WATCHDOG_PID" || name.starts_with("LISTEN_") {
                command.env_remove(name);
            }
        }
        if is_successor {
            command.args(self.arguments.iter().skip(1)).arg("--successor");
        } else {
            // Neither its command line nor its environment tells a secret, also to what it starts.
            for name in &self.settings {
                command.env_remove(name);
            }
            command.args(&self.command).args(["--child", birth.role.word()]);
        }
        command.stdin(OwnedFd::from(theirs)).kill_on_drop(!is_successor);
        let child = command.spawn().map_err(failed)?;
        let (reading, control) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let now = Instant::now();
        let running = Running {
            id: self.number(),
            title: Arc::clone(&birth.title),
            process: child.id().unwrap_or_default(),
            started: now,
            heard: now,
            is_ready: false,
            generation: birth.generation,
            seat: start.seat,
            counts: Counts::default(),
            requests_max: birth.requests_max,
            start_wait: birth.start_wait,
            complaint: None,
            control,
            kill: CancellationToken::new(),
        };
        // Those that have ended leave nothing to hear.
        while self.tasks.try_join_next().is_some() {}
        let events = self.events.clone();
        self.tasks.spawn(watch(running.id, child, reading, running.kill.clone(), events));
        Ok(running)
    }
}

impl Running {
    /// Tells it to finish what it has begun, and why.
    pub(super) fn drain(&self, leave: Leave) {
        self.order(Order::Drain(leave));
    }

    /// Tells it that `next` goes on in its place, with its WebSockets as far as they can move.
    pub(super) fn make_way_for(&self, next: &Self) {
        match Pair::pair() {
            Ok((giving, taking)) => {
                next.order_with(Order::TakeIn, Some(taking.as_fd()));
                self.order_with(Order::Drain(Leave::Replaced), Some(giving.as_fd()));
            }
            Err(error) => {
                tracing::error!(%error, "no WebSocket can be handed over");
                self.drain(Leave::Replaced);
            }
        }
    }

    /// Gives an order; a child that does not take it is killed.
    pub(super) fn order(&self, order: Order) {
        self.order_with(order, None);
    }

    fn order_with(&self, order: Order, descriptor: Option<BorrowedFd<'_>>) {
        let bytes = order.encode();
        let socket: &UnixStream = self.control.as_ref();
        if control::send_beside(socket, &bytes, descriptor).ok() != Some(bytes.len()) {
            self.kill();
        }
    }

    /// Whether it has been told to end at once.
    pub(super) fn is_killed(&self) -> bool {
        self.kill.is_cancelled()
    }

    /// Ends it at once. Its end is heard as every other.
    pub(super) fn kill(&self) {
        self.kill.cancel();
    }
}

/// Passes on what the child says, and its end as the last thing.
async fn watch(
    id: u64,
    mut child: Child,
    mut control: OwnedReadHalf,
    kill: CancellationToken,
    events: mpsc::Sender<Event>,
) {
    let reports = async {
        while let Ok(Some(report)) = control::receive_report(&mut control).await {
            if events.send(Event::Said(id, report)).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(reports);
    let ended = ended(&mut child, &kill);
    tokio::pin!(ended);
    let status = tokio::select! {
        status = &mut ended => {
            let _heard_all = timeout(LAST_WORDS, reports).await;
            status
        }
        () = &mut reports => ended.await,
    };
    let _nobody_waits = events.send(Event::Exited(id, status)).await;
}

/// Waits for the child's end, and brings it about if asked to.
async fn ended(child: &mut Child, kill: &CancellationToken) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => status.ok(),
        () = kill.cancelled() => {
            // It may have ended in this moment.
            drop(child.start_kill());
            child.wait().await.ok()
        }
    }
}
