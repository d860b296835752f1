//! The page on which somebody sees where they are signed in, and ends it there.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::login::logout;
use super::open_sessions::{open_sessions, revoke_other_sessions, revoke_session};
use super::views::{not_cached, sibling};
use crate::context;
use crate::contrib::sessions::{self, OpenSession};
use crate::error::Result;
use crate::forms::TextForm;
use crate::http::{Request, Response, redirect, render};

/// Parts of what browsers call themselves, and who that is; the first that fits, as most of them
/// name the others too.
const BROWSERS: [(&str, &str); 6] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// A session as the page shows it.
#[derive(Serialize)]
struct Shown {
    handle: String,
    device: String,
    address: String,
    since: String,
    used: String,
    is_current: bool,
}

/// The list.
pub(super) async fn show(request: Request) -> Result<Response> {
    let (now, zone) = (Utc::now(), request.settings().time_zone);
    let opened = open_sessions(&request).await?;
    let sessions: Vec<Shown> = opened.into_iter().map(|one| shown(one, now, zone)).collect();
    let is_listed = sessions::is_listed(&request);
    let change_url = sibling(&request, "password_change", &[])?;
    let context = context! { sessions, is_listed, change_url };
    render(&request, "registration/session_list.html", context).await.map(not_cached)
}

/// Ends one of them, or all others.
pub(super) async fn revoke(request: Request, TextForm(data): TextForm) -> Result<Response> {
    let own = sessions::handle_of(request.session());
    match data.get("handle") {
        Some(handle) if Some(handle) == own.as_deref() => logout(&request).await?,
        Some(handle) => drop(revoke_session(&request, handle).await?),
        None if data.get("others").is_some() => drop(revoke_other_sessions(&request).await?),
        None => {}
    }
    redirect(&request, &sibling(&request, "session_list", &[])?)
}

fn shown(session: OpenSession, now: DateTime<Utc>, zone: Tz) -> Shown {
    let OpenSession { handle, begun, last_used, address, agent, is_current } = session;
    let day = |moment: DateTime<Utc>| moment.with_timezone(&zone).format("%-d %B %Y").to_string();
    Shown {
        handle,
        device: device(&agent),
        address,
        since: begun.map(day).unwrap_or_default(),
        used: last_used.map(|last| ago((now - last).num_minutes())).unwrap_or_default(),
        is_current,
    }
}

/// What a person would call the browser.
fn device(agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Another program".to_owned(),
    }
}

/// As precise as it is known.
fn ago(minutes: i64) -> String {
    let of = |count: i64, unit: &str| match count {
        1 => format!("1 {unit} ago"),
        count => format!("{count} {unit}s ago"),
    };
    match minutes {
        ..=5 => "just now".to_owned(),
        6..=59 => of(minutes, "minute"),
        60..=1439 => of(minutes / 60, "hour"),
        _ => of(minutes / 1440, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::{ago, device};

    #[test]
    fn browsers_are_called_what_people_call_them() {
        let check = |agent: &str, name: &str| assert_eq!(device(agent), name, "{agent}");
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        let apple = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15";
        let chrome = "Chrome/140.0 Safari/537.36";
        check("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0", "Firefox on Linux");
        let edge = format!("Mozilla/5.0 (Windows NT 10.0) {webkit} {chrome} Edg/140.0");
        check(&edge, "Edge on Windows");
        check(&format!("Mozilla/5.0 (Linux; Android 15) {webkit} {chrome}"), "Chrome on Android");
        let phone = format!("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) {apple}");
        check(&phone, "Safari on iPhone");
        check(&format!("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) {apple}"), "Safari on Mac");
        check("curl/8.0", "Another program");
        check("", "Another program");
    }

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        for (minutes, words) in [
            (-1, "just now"),
            (5, "just now"),
            (6, "6 minutes ago"),
            (60, "1 hour ago"),
            (1439, "23 hours ago"),
            (1440, "1 day ago"),
            (10_000, "6 days ago"),
        ] {
            assert_eq!(ago(minutes), words);
        }
    }
}
