//! The URLs, to be included where the site wants them: `include("accounts/", auth::urls())`.

use super::views;
use crate::http::{get, post};
use crate::urls::{Urls, path};

/// `login/` and `logout/`, by these names.
#[must_use]
pub fn urls() -> Urls {
    Urls::new([
        path("login/", get(views::show).post(views::submit)).name("login").login_not_required(),
        path("logout/", post(views::leave)).name("logout"),
    ])
}
