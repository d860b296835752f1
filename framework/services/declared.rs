//! Which services a site has, and how many of each.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::mailbox::channel_name;
use super::{Service, Tally, run};
use crate::error::{Error, Result};
use crate::site::Site;

/// Most instances of one service: it is a process each.
const INSTANCES_MAX: usize = 64;

type Live = fn(Site, Arc<Tally>, bool) -> BoxFuture<'static, Result<()>>;

/// A service of a site, as [`service`] names it.
#[derive(Clone, Copy)]
pub struct Declared {
    name: &'static str,
    instances: usize,
    is_alone: bool,
    live: Live,
}

/// The service `S`, in one process.
#[must_use]
pub fn service<S: Service>() -> Declared {
    let live: Live = |site, tally, is_alone| Box::pin(run::live::<S>(site, tally, is_alone));
    Declared { name: S::NAME, instances: 1, is_alone: false, live }
}

impl Declared {
    /// So many of it in this site, each in a process of its own; a message comes to whichever is
    /// free first.
    ///
    /// # Panics
    /// It is none, or more than 64.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        assert!(
            (1..=INSTANCES_MAX).contains(&instances),
            "service {}: {instances} instances, 1 to {INSTANCES_MAX} are possible",
            self.name
        );
        self.instances = instances;
        self
    }

    /// Only one of all, also of several machines around one Redis, is at work; the others stand by
    /// and one of them goes on when it ends, within some six seconds if its machine goes without a
    /// word.
    ///
    /// It is a lock with a time in the data store, which its holder extends each second and gives
    /// up as gone a second before it is, when that cannot be reached
    /// ([`Values::lock`](crate::channels::Values::lock)), so it holds as long as that remembers:
    /// with one that has forgotten it (restarted without its disk), or when the holder was frozen
    /// for longer than the lock lasts, two can be at work for some seconds, until the first one
    /// notices. Where that must never be, what it writes to has to refuse the older one.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn count(&self) -> usize {
        self.instances
    }

    /// Runs it to its end: `Ok` once draining begins.
    pub(crate) async fn live(self, site: Site, tally: Arc<Tally>) -> Result<()> {
        (self.live)(site, tally, self.is_alone).await
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, instances, is_alone, .. } = self;
        write!(f, "service {name} ({instances} instances, alone: {is_alone})")
    }
}

/// The services a site knows, kept with it.
#[derive(Debug)]
pub(crate) struct Declarations(Vec<&'static str>);

impl Declarations {
    pub(crate) fn new(declared: &[Declared]) -> Self {
        Self(declared.iter().map(|one| one.name).collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

/// All of `declared`, checked.
///
/// # Errors
/// Two have one name, or one is no name.
pub(crate) fn all_of(declared: Vec<Declared>) -> Result<Vec<Declared>> {
    for (index, one) in declared.iter().enumerate() {
        channel_name(one.name)?;
        if declared[..index].iter().any(|other| other.name == one.name) {
            return Err(Error::usage(format!("two services are called {:?}", one.name)));
        }
    }
    Ok(declared)
}
