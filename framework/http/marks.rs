//! On whose word a connection is let in that outlives its request: marks, by which it is found when
//! that is taken back.
//!
//! Flow: an app says with a [`Marker`] whose word a request bears → who keeps a connection calls
//! [`mark`] before anybody is asked anything → the app dismisses by the same mark
//! ([`Layer::dismiss`](crate::channels::Layer::dismiss)).
//!
//! Invariant: a request that bears nobody's word costs nothing here.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Request, permission_denied};
use crate::channels::{Connection, Mark, Marked};
use crate::error::Result;

/// Says on whose word a request is: its session, its user.
#[derive(Clone)]
pub struct Marker {
    bears: fn(&Request) -> bool,
    marks: Arc<Find>,
}

type Find = dyn Fn(Request, Reading) -> BoxFuture<'static, Result<Vec<Mark>>> + Send + Sync;

/// How a marker is to read what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As it is stored now, and as whoever asks the request from now on will read it. What was
    /// read of the request before and is true no more is an error.
    First,
    /// As it is stored now.
    Anew,
}

/// All markers of a site; the handler leaves them with it.
#[derive(Clone, Debug, Default)]
pub struct Markers(Arc<[Marker]>);

impl Marker {
    /// `marks` says whose word it is; it is asked if `bears` says that there may be any, from what
    /// the request itself holds.
    pub fn new<F, Fut>(bears: fn(&Request) -> bool, marks: F) -> Self
    where
        F: Fn(Request, Reading) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Mark>>> + Send + 'static,
    {
        let marks: Arc<Find> = Arc::new(move |request, how| Box::pin(marks(request, how)));
        Self { bears, marks }
    }
}

impl FromIterator<Marker> for Markers {
    fn from_iter<I: IntoIterator<Item = Marker>>(markers: I) -> Self {
        Self(markers.into_iter().collect())
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker").finish_non_exhaustive()
    }
}

/// Marks `connection` as one on the word that `request` bears. What is dismissed from the beginning
/// of this call on is found.
///
/// # Errors
/// The store or the database cannot be reached, or what was read of the request before is true no
/// more.
pub(crate) async fn mark(request: &Request, connection: &Connection) -> Result<()> {
    let Some(markers) = request.site().kept::<Markers>() else { return Ok(()) };
    if !markers.0.iter().any(|marker| (marker.bears)(request)) {
        return Ok(());
    }
    let seen = connection.watch().await?;
    let marks = find(&markers, request, Reading::First).await?;
    connection.mark(&marks, &seen);
    if connection.is_closed() {
        return Err(permission_denied("what it was opened for has ended"));
    }
    Ok(())
}

/// Marks `connection`, which another process has had so far and says what it is marked with.
///
/// # Errors
/// As [`mark`]; it was on a word that does not stand any more.
pub(crate) async fn mark_again(
    request: &Request,
    connection: &Connection,
    before: &Marked,
) -> Result<()> {
    if before.marks.is_empty() {
        return Ok(());
    }
    connection.watch().await?;
    // Whoever is marked on the other side is dismissed there until this side has looked.
    connection.mark(&before.marks, &before.seen);
    if connection.is_closed() || !is_still(request, connection).await? {
        return Err(permission_denied("what it was opened for has ended"));
    }
    Ok(())
}

/// Whether `request`, read anew, bears the word of those `connection` is marked with.
///
/// # Errors
/// The database cannot be reached.
pub(crate) async fn is_still(request: &Request, connection: &Connection) -> Result<bool> {
    let Some(markers) = request.site().kept::<Markers>() else { return Ok(true) };
    let marks = find(&markers, request, Reading::Anew).await?;
    Ok(connection.marks().iter().all(|mark| marks.contains(mark)))
}

async fn find(markers: &Markers, request: &Request, how: Reading) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for marker in markers.0.iter().filter(|marker| (marker.bears)(request)) {
        marks.extend((marker.marks)(request.clone(), how).await?);
    }
    Ok(marks)
}
