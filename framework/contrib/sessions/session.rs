//! A visitor's session.

use std::fmt;
use std::ops::Deref;

use tower_sessions::Session as Lazy;
use tower_sessions::session::Error;

use super::mark_of;
use crate::channels::Dismissal;
use crate::site::Site;

/// What the site remembers about a visitor: it derefs to [`tower_sessions::Session`], whose reads
/// and writes are lazy.
#[derive(Clone)]
pub struct Session {
    site: Site,
    lazy: Lazy,
}

impl Session {
    pub(super) fn new(site: Site, lazy: Lazy) -> Self {
        Self { site, lazy }
    }

    /// Ends the session: all it remembers is gone, its id worth nothing, and every connection that
    /// was opened in it is closed, in all processes, when this returns. What comes next begins a
    /// new one.
    ///
    /// # Errors
    /// The database cannot be reached. If the data store cannot, which the log says, connections of
    /// other processes are closed when it is back.
    pub async fn flush(&self) -> Result<(), Error> {
        let mark = mark_of(&self.lazy).await?;
        self.lazy.flush().await?;
        if let Some(mark) = mark {
            dismiss(&self.site, &Dismissal::close(mark)).await;
        }
        Ok(())
    }
}

/// Dismisses connections; the log says if not all could be told.
pub(crate) async fn dismiss(site: &Site, dismissal: &Dismissal) {
    if let Err(error) = site.layer().dismiss(dismissal).await {
        tracing::error!(%error, "open connections elsewhere are not closed yet");
    }
}

impl Deref for Session {
    type Target = Lazy;

    fn deref(&self) -> &Lazy {
        &self.lazy
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lazy.fmt(f)
    }
}
