//! Throttles that know users.

use std::borrow::Cow;
use std::time::Duration;

use crate::http::Request;
use crate::middleware::{Throttle, address_of};

impl Throttle {
    /// Each user by himself, wherever he is; who is not signed in by his address. It reads the
    /// session and the user, as a view that asks does.
    #[must_use]
    pub fn per_user(name: impl Into<Cow<'static, str>>, max: u32, window: Duration) -> Self {
        Self::by(name, max, window, async |request: Request| {
            let who = request.user().await?;
            Ok(match who.user() {
                Some(user) => Some(format!("user {}", user.id)),
                None => address_of(&request).map(|address| format!("address {address}")),
            })
        })
    }
}
