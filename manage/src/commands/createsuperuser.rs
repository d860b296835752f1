//! `manage createsuperuser`: makes a user who may do everything.

use std::process::ExitCode;

use clap::Args;
use hulse::conf::{Secret, Superuser, login_name};
use hulse::contrib::auth::User;
use hulse::contrib::auth::models::{normalize_username, username_fault};
use hulse::models::validators;
use hulse::{Error, Result, Site};

use crate::context::Context;
use crate::output::{complain, tell};
use crate::prompt;

/// The exit code when it did not come to a user, Django's.
const REFUSED: u8 = 1;

/// Makes a user who may do everything.
#[derive(Debug, Args)]
pub(crate) struct Createsuperuser {
    /// The name to sign in with; else `HULSE_SUPERUSER_USERNAME`.
    #[arg(long)]
    username: Option<String>,
    /// The address; else `HULSE_SUPERUSER_EMAIL`.
    #[arg(long)]
    email: Option<String>,
    /// Asks nothing. The password is `HULSE_SUPERUSER_PASSWORD`; without one nobody can sign in
    /// until `changepassword`.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
}

impl Createsuperuser {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let known = Superuser::from_environment()?;
        if !self.noinput && !prompt::is_interactive() {
            return Err(Error::new(
                "Superuser creation skipped due to not running in a TTY. Use --noinput with \
                 --username and --email.",
            ));
        }
        context.with_site(async |site| {
            let wanted = if self.noinput {
                self.told(known, site).await
            } else {
                self.asked(known, site).await
            };
            match wanted? {
                Ok(wanted) => {
                    let password = wanted.password.as_ref().map(Secret::expose);
                    let Wanted { username, email, .. } = &wanted;
                    match User::create_superuser(site, username, email, password).await {
                        Ok(_) => {
                            tell("Superuser created successfully.\n");
                            Ok(ExitCode::SUCCESS)
                        }
                        // Somebody else was quicker.
                        Err(error) if error.is_unique_violation() => {
                            complain(TAKEN);
                            Ok(ExitCode::from(REFUSED))
                        }
                        Err(error) => Err(error),
                    }
                }
                Err(why) => {
                    complain(&why);
                    Ok(ExitCode::from(REFUSED))
                }
            }
        })
    }

    /// From the command line and the environment; the inner error is what to tell.
    async fn told(&self, known: Superuser, site: &Site) -> Result<Result<Wanted, String>> {
        let Some(username) = self.username.clone().or(known.username) else {
            return Ok(Err("You must use --username with --noinput.".to_owned()));
        };
        let Some(email) = self.email.clone().or(known.email) else {
            return Ok(Err("You must use --email with --noinput.".to_owned()));
        };
        if let Some(fault) = name_fault(&username, site).await? {
            return Ok(Err(fault));
        }
        Ok(email_fault(&email)
            .map_or(Ok(Wanted { username, email, password: known.password }), Err))
    }

    /// From the person at the terminal.
    async fn asked(&self, known: Superuser, site: &Site) -> Result<Result<Wanted, String>> {
        let username = match self.username.clone() {
            Some(username) => match name_fault(&username, site).await? {
                Some(fault) => return Ok(Err(fault)),
                None => username,
            },
            None => ask_username(site).await?,
        };
        let email = match self.email.clone() {
            Some(email) => email,
            None => ask_email().await?,
        };
        if let Some(fault) = email_fault(&email) {
            return Ok(Err(fault));
        }
        let password = match known.password {
            Some(password) => password,
            None => ask_password(site, &username, &email).await?,
        };
        Ok(Ok(Wanted { username, email, password: Some(password) }))
    }
}

/// What is said of a name that another user has.
const TAKEN: &str = "Error: That username is already taken.";

struct Wanted {
    username: String,
    email: String,
    password: Option<Secret>,
}

/// Why there can be no user of this name.
async fn name_fault(username: &str, site: &Site) -> Result<Option<String>> {
    let username = normalize_username(username);
    if username.is_empty() {
        return Ok(Some("Username cannot be blank.".to_owned()));
    }
    if let Some(fault) = username_fault(&username) {
        return Ok(Some(fault));
    }
    let taken = User::objects().filter(|u| u.username().eq(&username)).exists(site).await?;
    Ok(taken.then(|| TAKEN.to_owned()))
}

/// Why this can be nobody's address; none at all is allowed.
fn email_fault(email: &str) -> Option<String> {
    let fault = validators::email(email).err().filter(|_| !email.is_empty());
    fault.map(|words| format!("Error: {words}"))
}

async fn ask_username(site: &Site) -> Result<String> {
    let proposed = match login_name() {
        Some(name) if name_fault(&name, site).await?.is_none() => Some(name),
        _ => None,
    };
    let hint = proposed.as_ref().map(|name| format!(" (leave blank to use '{name}')"));
    loop {
        let typed =
            prompt::ask(format!("Username{}: ", hint.as_deref().unwrap_or_default())).await?;
        let username = match (&proposed, typed.is_empty()) {
            (Some(name), true) => name.clone(),
            _ => typed,
        };
        match name_fault(&username, site).await? {
            None => return Ok(username),
            Some(fault) => complain(&fault),
        }
    }
}

async fn ask_email() -> Result<String> {
    loop {
        let email = prompt::ask("Email address: ".to_owned()).await?;
        match email_fault(&email) {
            None => return Ok(email),
            Some(fault) => complain(&fault),
        }
    }
}

async fn ask_password(site: &Site, username: &str, email: &str) -> Result<Secret> {
    loop {
        let Some(password) = prompt::ask_password().await? else { continue };
        if !prompt::approve(site, &password, &[("username", username), ("email address", email)]) {
            let question = "Bypass password validation and create user anyway? [y/N]: ";
            if !prompt::ask(question.to_owned()).await?.eq_ignore_ascii_case("y") {
                continue;
            }
        }
        return Ok(Secret::new(password));
    }
}
