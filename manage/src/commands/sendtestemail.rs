//! `manage sendtestemail`: shows whether mail leaves the site.

use std::process::ExitCode;

use clap::Args;
use hulse::mail::Message;
use hulse::{Error, Result};

use crate::context::Context;

/// What every such mail says.
const TEXT: &str = "If you're reading this, it was successful.";

/// Sends a test mail to the addresses, or to those of the settings.
#[derive(Debug, Args)]
pub(crate) struct Sendtestemail {
    /// Addresses.
    email: Vec<String>,
    /// Sends one to `mail.managers`.
    #[arg(long)]
    managers: bool,
    /// Sends one to `mail.admins`.
    #[arg(long)]
    admins: bool,
}

impl Sendtestemail {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.email.is_empty() && !self.managers && !self.admins {
            let words = "You must specify some email recipients, or pass the --managers or \
                         --admins options.";
            return Err(Error::new(words));
        }
        context.with_site(async |site| {
            let subject = format!("Test email on {}", chrono::Utc::now().format("%Y-%m-%d %H:%M"));
            if !self.email.is_empty() {
                let message = Message { to: self.email.clone(), ..Message::new(&subject, TEXT) };
                site.send_mail(message).await?;
            }
            if self.managers {
                site.mail_managers(&subject, TEXT).await?;
            }
            if self.admins {
                site.mail_admins(&subject, TEXT).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
