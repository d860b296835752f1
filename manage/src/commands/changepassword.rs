//! `manage changepassword`: gives a user a new password.

use std::process::ExitCode;

use clap::Args;
use hulse::conf::login_name;
use hulse::contrib::auth::User;
use hulse::contrib::auth::models::normalize_username;
use hulse::{Error, Result, Site};

use crate::context::Context;
use crate::output::tell;
use crate::prompt;

/// How often a password may be typed wrong.
const TRIES_MAX: u32 = 3;

/// Gives a user a new password. All their sessions end with it.
#[derive(Debug, Args)]
pub(crate) struct Changepassword {
    /// The user's name; else that of whoever is at the terminal.
    username: Option<String>,
}

impl Changepassword {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let Some(username) = self.username.or_else(login_name) else {
            return Err(Error::new("Name the user whose password is to change."));
        };
        let username = normalize_username(&username);
        context.with_site(async |site| {
            let found = User::objects().filter(|u| u.username().eq(&username)).first(site).await?;
            let Some(user) = found else {
                return Err(Error::new(format!("user '{username}' does not exist")));
            };
            change(user, site).await
        })
    }
}

async fn change(mut user: User, site: &Site) -> Result<ExitCode> {
    let username = user.username.clone();
    if !prompt::is_interactive() {
        return Err(Error::new("A password is typed at a terminal, and this is none."));
    }
    tell(format!("Changing password for user '{username}'\n"));
    for _ in 0..TRIES_MAX {
        let Some(password) = prompt::ask_password().await? else { continue };
        if prompt::approve(site, &password, &user.about()) {
            user.set_password(site, &password).await?;
            user.save(site).await?;
            tell(format!("Password changed successfully for user '{username}'\n"));
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Error::new(format!(
        "Aborting password change for user '{username}' after {TRIES_MAX} attempts"
    )))
}
