//! The URLs, to be included where the site wants them: `include("accounts/", auth::urls())`.

use super::{password_change, password_reset, session_list, views};
use crate::http::{get, post};
use crate::urls::{Urls, path};

/// Signing in and out, changing and resetting the password; Django's routes, by Django's names. And
/// `session_list`, where somebody sees where they are signed in, and ends it there.
#[must_use]
pub fn urls() -> Urls {
    let reset = get(password_reset::show).post(password_reset::submit);
    let confirm = get(password_reset::confirm).post(password_reset::set_password);
    let change = get(password_change::show).post(password_change::submit);
    let open = [
        path("login/", get(views::show).post(views::submit)).name("login"),
        path("password_reset/", reset).name("password_reset"),
        path("password_reset/done/", get(password_reset::done)).name("password_reset_done"),
        path("reset/<str:uidb64>/<str:token>/", confirm).name("password_reset_confirm"),
        path("reset/done/", get(password_reset::complete)).name("password_reset_complete"),
    ];
    let own = [
        path("logout/", post(views::leave)).name("logout"),
        path("sessions/", get(session_list::show).post(session_list::revoke))
            .name("session_list")
            .login_required(),
        path("password_change/", change).name("password_change").login_required(),
        path("password_change/done/", get(password_change::done))
            .name("password_change_done")
            .login_required(),
    ];
    Urls::new(open.map(|line| line.login_not_required()).into_iter().chain(own))
}
