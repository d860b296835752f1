//! `manage runserver`: the site while one writes it.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use hulse::conf::{Origin, Override, Settings};
use hulse::db::Database;
use hulse::migrations;
use hulse::server::{self, Options, Say};
use hulse::{Error, Result};

use crate::commands::pulse::{ChildRole, arguments, child};
use crate::context::Context;
use crate::output::{complain, murmur, tell};

/// Where it listens, if nothing is said.
const PORT: &str = "8000";

/// The flag of what this command decides.
const NAME: &str = "runserver";

/// Serves the site for development: one worker, debug pages, a log of requests. What changes on
/// disk is built and reloaded, and open pages are refreshed.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct Runserver {
    /// PORT, or ADDRESS:PORT; 0 as the address is all interfaces. Else 127.0.0.1:8000.
    addrport: Option<String>,
    /// Uses an IPv6 address.
    #[arg(short = '6', long = "ipv6")]
    ipv6: bool,
    /// Neither watches nor rebuilds, and leaves pages alone.
    #[arg(long)]
    noreload: bool,
    /// Starts without looking for mistakes in the project.
    #[arg(long)]
    skip_checks: bool,
    /// Takes over from the arbiter that has started this process.
    #[arg(long, hide = true)]
    successor: bool,
    /// What this process is, when the arbiter starts it.
    #[arg(long, hide = true)]
    child: Option<ChildRole>,
}

impl Runserver {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(role) = self.child {
            return Ok(child(context, role));
        }
        let flags = self.overrides(context)?;
        let settings = context.settings_with(flags.clone())?;
        if let Some(origin) = debug_refused(context)? {
            tell(format!("{origin}: debug = false does not count here: pages show mistakes.\n"));
        }
        if settings.server.reload {
            tell("Watching for file changes\n");
        }
        if !self.skip_checks {
            check(context, &settings);
        }
        context.block_on(tell_unapplied(context, &settings))?;
        let options = Options {
            // It was said; the pages that want the tables will say it too.
            allow_unmigrated: true,
            is_successor: self.successor,
            arguments: arguments(),
            command: vec!["runserver".into()],
            say: Say::new(murmur),
            ..Options::default()
        };
        let load = || context.settings_with(flags.clone());
        let served = server::pulse(context.project(), &load, options, &mut listening);
        Ok(match served {
            Ok(()) => ExitCode::SUCCESS,
            // As Django's ends that cannot have its port.
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::FAILURE
            }
        })
    }

    /// What it is to be, whatever the settings say.
    fn overrides(&self, context: &Context) -> Result<Vec<Override>> {
        let bind = bind(self.addrport.as_deref(), self.ipv6)?;
        if !is_loopback(&bind)
            && let Some(origin) = debug_refused(context)?
        {
            let words = format!(
                "{origin}: debug = false, and runserver would show settings, code and mistakes to \
                 whoever reaches {bind}: there it wants debug = true, or 127.0.0.1 as the address"
            );
            return Err(Error::usage(words));
        }
        let mut flags = vec![
            Override::new("debug", NAME, "true"),
            Override::new("server.workers", NAME, "1"),
            Override::list("server.bind", NAME, &[bind]),
            Override::new("server.reload", NAME, (!self.noreload).to_string()),
            Override::new("log.access", NAME, "true"),
            // What a site is given to be operated with.
            Override::new("server.user", NAME, ""),
            Override::new("server.group", NAME, ""),
            Override::new("server.metrics_bind", NAME, ""),
        ];
        // It lives inside the worker, and what open pages are told comes from outside.
        if context.settings_with(flags.clone())?.server.data_store.expose() == "memory://" {
            flags.push(Override::new("server.data_store", NAME, "pulse://"));
        }
        Ok(flags)
    }
}

/// Where the settings say `debug = false`, if they do.
fn debug_refused(context: &Context) -> Result<Option<Origin>> {
    let settings = context.settings_with(vec![
        // Else they are refused without these.
        Override::new("secret_key", NAME, "any"),
        Override::new("server.reload", NAME, "false"),
    ])?;
    let origin = settings.origin("debug").filter(|_| !settings.debug);
    Ok(origin.cloned())
}

/// Whether only this machine reaches it.
fn is_loopback(bind: &str) -> bool {
    let host = bind.rsplit_once(':').map_or(bind, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// The address in the server's words.
fn bind(addrport: Option<&str>, ipv6: bool) -> Result<String> {
    let given = addrport.unwrap_or(PORT);
    let (host, port) = given.rsplit_once(':').unwrap_or(("", given));
    if port.parse::<u16>().is_err() {
        let words = format!("{given:?} is not a valid port number or address:port pair");
        return Err(Error::usage(words));
    }
    let host = match (host, ipv6) {
        ("", false) => "127.0.0.1",
        ("", true) => "[::1]",
        ("0", false) => "0.0.0.0",
        ("0", true) => "[::]",
        (host, _) => host,
    };
    Ok(format!("{host}:{port}"))
}

/// Says what is wrong with the project. It is served all the same: that is how one mends it.
fn check(context: &Context, settings: &Settings) {
    let mut found = context.project().check(settings);
    found.retain(|check| !check.is_silenced(settings));
    for check in &found {
        tell(format!("{check}\n"));
    }
    match found.len() {
        0 => tell("System check identified no issues.\n"),
        1 => tell("System check identified 1 issue.\n"),
        count => tell(format!("System check identified {count} issues.\n")),
    }
}

async fn tell_unapplied(context: &Context, settings: &Settings) -> Result<()> {
    let database = Database::connect(&settings.database, &settings.base).await?;
    let unapplied = migrations::unapplied(&database, &context.project().migrations()?).await;
    database.close().await;
    let unapplied = unapplied?;
    if let Some(first) = unapplied.first() {
        tell(format!(
            "You have {} unapplied migration(s), {first} first. Run `manage migrate` to apply \
             them.\n",
            unapplied.len()
        ));
    }
    Ok(())
}

/// Says where the site can be reached.
fn listening(url: &str) {
    tell(format!("Starting development server at {url}/\nQuit the server with CONTROL-C.\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addrport: Option<&str>, ipv6: bool, expected: &str) {
        assert_eq!(bind(addrport, ipv6).unwrap(), expected);
    }

    #[test]
    fn only_this_machine_reaches_a_loopback_address() {
        for own in ["127.0.0.1:8000", "[::1]:8000", "localhost:8000", "127.1.2.3:0"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["0.0.0.0:8000", "[::]:8000", "192.168.1.2:80", "dev.example:80"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn addresses_are_written_as_django_takes_them() {
        check(None, false, "127.0.0.1:8000");
        check(None, true, "[::1]:8000");
        check(Some("7000"), false, "127.0.0.1:7000");
        check(Some("7000"), true, "[::1]:7000");
        check(Some("0:7000"), false, "0.0.0.0:7000");
        check(Some("0:7000"), true, "[::]:7000");
        check(Some("localhost:7000"), false, "localhost:7000");
        check(Some("[2001:db8::1]:7000"), false, "[2001:db8::1]:7000");
        for wrong in ["", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "7000:x"] {
            assert!(bind(Some(wrong), false).unwrap_err().to_string().contains("address:port"));
        }
    }
}
