//! What is careless on a server that others can reach: `manage check --deploy`, with Django's ids.
//!
//! Django's that mean nothing here: W001, W003, W011, W012, W014, W015 (the pieces are always in
//! the stack), E026, W027 (settings are typed, the nonce is there),
//! E101, E102 (a refusal has a template, no view). W101 and W102 are none of Django's.

use std::collections::BTreeSet;

use super::Check;
use crate::conf::{MailBackend, Security, Settings};

/// Characters a secret key should have, and how many different ones (Django's `security.W009`).
const KEY_CHARS_MIN: usize = 50;
const KEY_UNLIKE_MIN: usize = 5;
/// How the keys begin that Django's `startproject` makes.
const KEY_INSECURE: &str = "django-insecure-";

/// What the framework's own settings leave open.
pub(super) fn check_settings(settings: &Settings) -> Vec<Check> {
    let mut found = check_headers(&settings.security);
    found.extend(check_https(&settings.security));
    found.extend(check_limits(settings));
    let mut warn = |id, words: &str, hint: &str| found.push(Check::warning(id, words).hint(hint));
    let key_hint = format!("take {KEY_CHARS_MIN} random characters: `openssl rand -hex 32`");
    if is_weak(settings.secret_key.expose()) {
        warn("security.W009", "secret_key is short or easily guessed", &key_hint);
    }
    if settings.secret_key_fallbacks.iter().any(|key| is_weak(key.expose())) {
        let words = "one of secret_key_fallbacks is short or easily guessed";
        warn("security.W025", words, "take it out: it still signs anybody in who guesses it");
    }
    if !settings.csrf.cookie_secure {
        let words = "csrf.cookie_secure is false: over http anybody on the way reads the CSRF \
                     cookie";
        warn("security.W016", words, "set csrf.cookie_secure = true");
    }
    if settings.debug {
        let words = "debug is true: error pages show code, settings and requests to everybody";
        warn("security.W018", words, "set debug = false");
    }
    if settings.allowed_hosts.is_empty() {
        let words = "allowed_hosts is empty: every request will be refused";
        let hint = "name the hosts this site answers to: allowed_hosts = [\"example.com\"]";
        warn("security.W020", words, hint);
    }
    if settings.mail.backend.is_some_and(|backend| backend != MailBackend::Smtp) {
        let words = "mail.backend is one for development: no mail leaves the site";
        let hint = "set mail.backend = \"smtp\", or leave it out";
        found.push(Check::error("mail.E001", words).hint(hint));
    }
    found
}

fn check_headers(security: &Security) -> Vec<Check> {
    let mut found = Vec::new();
    let mut warn = |id, words: &str, hint: &str| found.push(Check::warning(id, words).hint(hint));
    match security.x_frame_options.as_str() {
        "" => warn(
            "security.W002",
            "security.x_frame_options is empty: any site may put this one's pages in a frame and \
             have visitors click in it",
            "set security.x_frame_options = \"DENY\"",
        ),
        options if !options.eq_ignore_ascii_case("DENY") => warn(
            "security.W019",
            "security.x_frame_options is not DENY: pages may be put in a frame",
            "set it to \"DENY\", and say `xframe_options_sameorigin` on the lines that want it",
        ),
        _ => {}
    }
    if !security.content_type_nosniff {
        let words = "security.content_type_nosniff is false: browsers guess what a file is, and \
                     may run what was uploaded";
        warn("security.W006", words, "set security.content_type_nosniff = true");
    }
    if security.referrer_policy.is_empty() {
        let words = "security.referrer_policy is empty: other sites learn which pages link to them";
        warn("security.W022", words, "set security.referrer_policy = \"same-origin\"");
    }
    if security.csp.is_empty() {
        let words =
            "security.csp is empty: a script that somebody managed to write into a page runs";
        let hint = "leave the setting out: the default allows what comes from this site";
        warn("security.W101", words, hint);
    }
    found
}

fn check_https(security: &Security) -> Vec<Check> {
    let mut found = Vec::new();
    let mut warn = |id, words: &str, hint: &str| found.push(Check::warning(id, words).hint(hint));
    if !security.ssl_redirect {
        let words = "security.ssl_redirect is false: whoever comes over http stays there";
        let hint = "set security.ssl_redirect = true, or silence this if a proxy redirects";
        warn("security.W008", words, hint);
    }
    if security.hsts_seconds == 0 {
        let words = "security.hsts_seconds is 0: a visitor's first step each time may be http, \
                     where anybody on the way can answer";
        let hint = "set it to 3600 first, and to 31536000 (a year) once all works over https: \
                    browsers keep to it";
        warn("security.W004", words, hint);
        return found;
    }
    if !security.hsts_include_subdomains {
        let words = "security.hsts_include_subdomains is false: a host below this one can be \
                     forged over http and set cookies for this one";
        warn("security.W005", words, "set it to true if all of them speak https");
    }
    if !security.hsts_preload {
        let words = "security.hsts_preload is false: browsers cannot know before the first visit \
                     that this site is https only";
        let hint = "set it to true before you hand the domain in at hstspreload.org";
        warn("security.W021", words, hint);
    }
    found
}

fn check_limits(settings: &Settings) -> Vec<Check> {
    let (server, auth) = (&settings.server, &settings.auth);
    let sockets = "one visitor may take all the WebSockets, or all the time, of a worker";
    let limits = [
        ("server.message_rate", server.message_rate == 0, sockets),
        ("server.sockets_per_user", server.sockets_per_user == 0, sockets),
        ("server.sockets_per_address", server.sockets_per_address == 0, sockets),
        (
            "server.groups_per_socket",
            server.groups_per_socket == 0,
            "one WebSocket may join groups until the memory is full, where its client names them",
        ),
        (
            "auth.login_attempts",
            auth.login_attempts == 0,
            "anybody may try passwords as fast as they are hashed",
        ),
        (
            "auth.password_reset_mails",
            auth.password_reset_mails == 0,
            "anybody may fill somebody's letter box",
        ),
    ];
    let off = limits.into_iter().filter(|(_, is_off, _)| *is_off).map(|(name, _, what)| {
        let hint = "leave it out, or say how many are more than anybody needs";
        Check::warning("security.W102", format!("{name} is 0: {what}")).hint(hint)
    });
    off.collect()
}

fn is_weak(key: &str) -> bool {
    let unlike: BTreeSet<char> = key.chars().collect();
    key.chars().count() < KEY_CHARS_MIN
        || unlike.len() < KEY_UNLIKE_MIN
        || key.starts_with(KEY_INSECURE)
}
