//! Values that have the right type and still cannot work.

use hulse_greenlet::GREENLETS_MAX;
use regex::Regex;

use crate::conf::settings::Settings;
use crate::error::{Error, Kind, Result};

/// Most worker processes; far above the cores of any machine.
const WORKERS_MAX: usize = 1024;

/// Looks at the settings as a whole.
pub(super) fn check(settings: &Settings) -> Result<()> {
    if settings.secret_key.is_empty() && !settings.debug {
        return Err(Error::of(
            Kind::Settings,
            "SECRET_KEY is not set: set it in the environment, or secret_key in settings.toml \
             (`openssl rand -hex 32` makes one); only debug = true works without",
        ));
    }
    let server = &settings.server;
    if server.bind.is_empty() {
        return wrong(settings, "server.bind", "names no address");
    }
    if server.workers > WORKERS_MAX {
        return wrong(settings, "server.workers", &format!("is more than {WORKERS_MAX}"));
    }
    let (cert, key) = (server.tls_cert.as_os_str(), server.tls_key.as_os_str());
    if cert.is_empty() != key.is_empty() {
        let (given, missing) = if key.is_empty() {
            ("server.tls_cert", "server.tls_key")
        } else {
            ("server.tls_key", "server.tls_cert")
        };
        return wrong(settings, given, &format!("wants {missing} beside it"));
    }
    if server.reload && !settings.debug {
        return wrong(settings, "server.reload", "is for development: it wants debug = true");
    }
    if server.greenlets > GREENLETS_MAX {
        return wrong(settings, "server.greenlets", &format!("is more than {GREENLETS_MAX}"));
    }
    if let Some((key, _)) = above_zero(settings).iter().find(|(_, value)| *value == 0) {
        return wrong(settings, key, "must be more than 0");
    }
    let capacities = &settings.channels.capacities.0;
    if let Some((pattern, _)) = capacities.iter().find(|(_, capacity)| *capacity == 0) {
        return wrong(settings, &format!("channels.capacities.{pattern}"), "must be more than 0");
    }
    check_sessions(settings)?;
    let url = &settings.static_files.url;
    if !(url.len() > 1 && url.starts_with('/') && url.ends_with('/')) {
        return wrong(settings, "static.url", "must begin and end with a slash");
    }
    for expression in &settings.security.redirect_exempt {
        if Regex::new(expression).is_err() {
            let words = format!("has {expression:?}, which is no regular expression");
            return wrong(settings, "security.redirect_exempt", &words);
        }
    }
    if !["text", "json"].contains(&settings.log.format.as_str()) {
        return wrong(settings, "log.format", "is neither text nor json");
    }
    Ok(())
}

/// What 0 is no number of.
fn above_zero(settings: &Settings) -> [(&'static str, u64); 18] {
    let server = &settings.server;
    [
        ("server.timeout", server.timeout),
        ("server.start_timeout", server.start_timeout),
        ("server.thread_workers", server.thread_workers as u64),
        ("server.connections_max", server.connections_max as u64),
        ("server.requests_max", server.requests_max as u64),
        ("server.header_timeout", server.header_timeout),
        ("server.handshake_timeout", server.handshake_timeout),
        ("server.body_timeout", server.body_timeout),
        ("server.body_rate_min", server.body_rate_min),
        ("server.keep_alive", server.keep_alive),
        ("server.write_timeout", server.write_timeout),
        ("server.ping_interval", server.ping_interval),
        ("http.form_memory_max", settings.http.form_memory_max),
        ("http.form_disk_max", settings.http.form_disk_max),
        ("http.form_timeout", settings.http.form_timeout),
        ("database.connections_max", settings.database.connections_max.into()),
        ("channels.capacity", settings.channels.capacity as u64),
        ("sessions.cookie_age", settings.sessions.cookie_age.try_into().unwrap_or(0)),
    ]
}

fn check_sessions(settings: &Settings) -> Result<()> {
    let sessions = &settings.sessions;
    if !sessions.cookie_path.starts_with('/') {
        return wrong(settings, "sessions.cookie_path", "must begin with a slash");
    }
    let is_of_host = sessions.cookie_path == "/" && sessions.cookie_domain.is_empty();
    if sessions.cookie_name.starts_with("__Host-") && !is_of_host {
        let words = "begins with __Host-, which browsers take for the path / and no domain only";
        return wrong(settings, "sessions.cookie_name", words);
    }
    if sessions.absolute_age < 0 {
        return wrong(settings, "sessions.absolute_age", "is below 0");
    }
    Ok(())
}

fn wrong(settings: &Settings, key: &str, words: &str) -> Result<()> {
    let message = match settings.origin(key) {
        Some(origin) => format!("{origin}: {key} {words}"),
        None => format!("{key} {words}"),
    };
    Err(Error::of(Kind::Settings, message))
}
