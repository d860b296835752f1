//! The table.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::models::Model;
use crate::site::Site;

/// A session: its random key, what the site remembers as JSON, and when it ends.
#[derive(Clone, Debug, Model)]
pub struct Session {
    /// The id in the cookie: 128 random bits as 22 characters.
    #[field(primary_key, max_length = 40)]
    pub session_key: String,
    /// A JSON object.
    #[field(text)]
    pub session_data: String,
    /// From then on it counts as gone; `clearsessions` deletes it.
    #[field(index)]
    pub expire_date: DateTime<Utc>,
    /// Whose it is: the user's key, once somebody has signed in.
    #[field(max_length = 40, index)]
    pub owner: Option<String>,
}

/// Deletes the sessions that have ended; returns how many those were.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn clear_expired(site: &Site) -> Result<u64> {
    let ended = Session::objects().filter(|s| s.expire_date().lte(Utc::now()));
    Ok(ended.delete(site).await?.total)
}
