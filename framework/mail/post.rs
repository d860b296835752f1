//! Where mails go: one backend a site, as the settings say.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use lettre::Message as Composed;
use tokio::sync::Semaphore;

use super::message::Message;
use super::smtp::Server;
use crate::conf::MailBackend;
use crate::error::{Error, Kind, Result};
use crate::signing::random_string;
use crate::site::Site;

/// Most mails the outbox of a test keeps; then the oldest go.
const OUTBOX_MAX: usize = 1000;

/// Mails on their way that nobody waits for; beyond it one is dropped, with an error in the log.
const WAITING_MAX: usize = 100;

/// What a mail on the console ends with, as in Django.
const RULE: &str =
    "-------------------------------------------------------------------------------\n";

/// The site's way out. The site keeps it.
pub(super) struct Post {
    backend: Backend,
    /// One permit a mail that nobody waits for.
    pub(super) waiting: Arc<Semaphore>,
}

enum Backend {
    Smtp(Box<Server>),
    Console,
    File(PathBuf),
    Memory(Mutex<VecDeque<Message>>),
    Dummy,
}

impl Post {
    pub(super) fn of(site: &Site) -> Arc<Self> {
        site.keep(|site| {
            let settings = site.settings();
            let usual = if settings.debug { MailBackend::Console } else { MailBackend::Smtp };
            let backend = match settings.mail.backend.unwrap_or(usual) {
                MailBackend::Smtp => Backend::Smtp(Box::new(Server::new(settings))),
                MailBackend::Console => Backend::Console,
                MailBackend::File => Backend::File(settings.resolve(&settings.mail.folder)),
                MailBackend::Memory => Backend::Memory(Mutex::default()),
                MailBackend::Dummy => Backend::Dummy,
            };
            Self { backend, waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
        })
    }

    /// Whether sending takes a time that others could measure.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.backend, Backend::Smtp(_))
    }

    /// Sends a mail.
    pub(super) async fn send(&self, message: Message, composed: Composed) -> Result<()> {
        match &self.backend {
            Backend::Smtp(server) => server.send(composed).await,
            Backend::Console => off_the_runtime(move || print(&composed)).await,
            Backend::File(folder) => {
                let folder = folder.clone();
                off_the_runtime(move || write(&folder, &composed)).await
            }
            Backend::Memory(outbox) => {
                let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
                if outbox.len() == OUTBOX_MAX {
                    outbox.pop_front();
                }
                outbox.push_back(message);
                Ok(())
            }
            Backend::Dummy => Ok(()),
        }
    }

    /// What was sent, if this is a test's.
    pub(super) fn sent(&self) -> Vec<Message> {
        let Backend::Memory(outbox) = &self.backend else { return Vec::new() };
        outbox.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

async fn off_the_runtime(
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<()> {
    let done = tokio::task::spawn_blocking(work).await?;
    done.map_err(|error| {
        Error::because(Kind::Mail, "putting a mail where mail.backend says", error)
    })
}

/// To the standard output: for who develops the site, and reads it there.
fn print(composed: &Composed) -> std::io::Result<()> {
    let mut text = composed.formatted();
    text.extend_from_slice(b"\n");
    text.extend_from_slice(RULE.as_bytes());
    let mut out = std::io::stdout().lock();
    out.write_all(&text).and_then(|()| out.flush())
}

/// Into a file of its own, which nobody else may read.
fn write(folder: &Path, composed: &Composed) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let name = format!("{}-{}.eml", Utc::now().format("%Y%m%d-%H%M%S"), random_string(8));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
    file.write_all(&composed.formatted())
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}
