//! The page a developer sees: what went wrong, on which request, with which settings.

use std::fmt::Write;

use http::StatusCode;

use crate::error::Error;
use crate::http::{Request, pairs};
use crate::template::escaped;
use crate::urls::{Matched, Resolver};

/// What a value whose name tells of a secret is shown as.
const MASK: &str = "********************";
/// Words in a name that make its value a secret: Django's list, and what carries a login.
const SECRETS: [&str; 14] = [
    "api",
    "apikey",
    "auth",
    "authorization",
    "csrftoken",
    "key",
    "pass",
    "passwd",
    "password",
    "secret",
    "sessionid",
    "signature",
    "token",
    "csrfmiddlewaretoken",
];
const STYLE: &str = include_str!("debug_page.css");

/// The page as HTML, in one file: of its own it has no script and loads nothing.
pub(super) fn html(request: &Request, status: StatusCode, error: &Error) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    let title = format!("{} {reason}", status.as_u16());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"none\">\
         <title>{title} at {path}</title><style nonce=\"{nonce}\">{STYLE}</style></head><body>\
         <header><p class=\"status\">{title}</p><h1>{message}</h1>\
         <p class=\"where\"><b>{method}</b> {target}</p></header><main>",
        path = escaped(request.path()),
        nonce = request.csp_nonce().unwrap_or_default(),
        message = escaped(&headline(request, status, error)),
        method = escaped(request.method().as_str()),
        target = escaped(request.path()),
    );
    if let Some(hint) = hint(request, status, error) {
        put(&mut page, format_args!("<p class=\"hint\">{}</p>", escaped(&hint)));
    }
    causes(&mut page, error);
    if status == StatusCode::NOT_FOUND {
        tried(&mut page, request);
    }
    table(&mut page, "Request", &about(request));
    table(&mut page, "Query", &query(request));
    table(&mut page, "Headers", &headers(request));
    table(&mut page, "Settings", &settings(request));
    page.push_str(
        "</main><footer>You see this page because <code>debug</code> is on. Outside debug \
         visitors see a plain page that tells nothing.</footer></body></html>\n",
    );
    page
}

/// The same for a terminal.
pub(super) fn text(request: &Request, status: StatusCode, error: &Error) -> String {
    let mut text =
        format!("{} {}\n\n{}\n", status.as_u16(), request.path(), headline(request, status, error));
    if let Some(hint) = hint(request, status, error) {
        put(&mut text, format_args!("\n{hint}\n"));
    }
    for cause in chain(error) {
        put(&mut text, format_args!("because: {cause}\n"));
    }
    if status == StatusCode::NOT_FOUND
        && request.extension::<Matched>().is_none()
        && let Some(resolver) = request.site().kept::<Resolver>()
    {
        text.push_str("\nTried, in this order:\n");
        for line in resolver.lines() {
            put(&mut text, format_args!("  /{}\n", line.route()));
        }
    }
    text
}

/// Writing to a `String` cannot fail.
fn put(page: &mut String, words: std::fmt::Arguments<'_>) {
    page.write_fmt(words).expect("a String takes everything");
}

fn headline(request: &Request, status: StatusCode, error: &Error) -> String {
    let words = error.to_string();
    if status == StatusCode::NOT_FOUND && request.extension::<Matched>().is_none() {
        return format!("No URL matches {}", request.path());
    }
    if words.is_empty() { status.canonical_reason().unwrap_or("Error").to_owned() } else { words }
}

/// What to do about it, where that is known.
fn hint(request: &Request, status: StatusCode, error: &Error) -> Option<String> {
    let words = error.to_string();
    let missing_table = words.contains("no such table")
        || (words.contains("relation \"") && words.contains("does not exist"));
    if missing_table {
        return Some("The table is not there yet: run `manage migrate`.".to_owned());
    }
    if error.is_no_reverse_match() {
        return Some("`manage routes` lists every URL with its name.".to_owned());
    }
    if words.contains("CSRF") {
        let hint = "The form has to carry the token: put {{ csrf_input }} inside it and render it \
                    with the request. A script sends the cookie's value as the header X-CSRFToken.";
        return Some(hint.to_owned());
    }
    if words.starts_with("invalid host") {
        return Some("Set allowed_hosts in settings.toml.".to_owned());
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return Some(format!("The view does not answer {}.", request.method()));
    }
    None
}

fn chain(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut source = error.source().map(|source| source as &dyn std::error::Error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes
}

fn causes(page: &mut String, error: &Error) {
    let causes = chain(error);
    if causes.is_empty() {
        return;
    }
    page.push_str("<section><h2>Because</h2><ol>");
    for cause in causes {
        put(page, format_args!("<li><pre>{}</pre></li>", escaped(&cause)));
    }
    page.push_str("</ol></section>");
}

/// The URL table, if the path is not in it; else the line whose view says it found nothing.
fn tried(page: &mut String, request: &Request) {
    if let Some(matched) = request.extension::<Matched>() {
        let line = matched.line();
        let row = [("Route".to_owned(), format!("/{}", line.route()))];
        return table(page, "The view that answered", &row);
    }
    let Some(resolver) = request.site().kept::<Resolver>() else { return };
    let rows: Vec<_> = resolver
        .lines()
        .iter()
        .map(|line| (format!("/{}", line.route()), line.name().unwrap_or("").to_owned()))
        .collect();
    if rows.is_empty() {
        page.push_str(
            "<p class=\"hint\">The project has no URLs yet: give it some with \
                       <code>Project::urls</code>.</p>",
        );
        return;
    }
    table(page, "Tried, in this order", &rows);
}

fn table(page: &mut String, title: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    put(page, format_args!("<section><h2>{title}</h2><table>"));
    for (name, value) in rows {
        put(
            page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                escaped(name),
                escaped(value)
            ),
        );
    }
    page.push_str("</table></section>");
}

fn about(request: &Request) -> Vec<(String, String)> {
    let mut rows = vec![
        ("URL".to_owned(), {
            format!("{}://{}{}", request.scheme(), request.host(), request.path())
        }),
        ("Method".to_owned(), request.method().to_string()),
    ];
    if let Some(matched) = request.extension::<Matched>() {
        rows.push(("Route".to_owned(), format!("/{}", matched.line().route())));
        let captured = matched.captured().iter();
        rows.extend(captured.map(|(name, text)| (format!("<{name}>"), text.to_owned())));
    }
    if let Some(id) = request.extension::<super::RequestId>() {
        rows.push(("Id in the log".to_owned(), id.0.to_string()));
    }
    rows
}

fn query(request: &Request) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or("");
    let pairs = pairs(query.as_bytes());
    pairs.map(|(name, value)| (name.to_string(), unless_secret(&name, &value))).collect()
}

fn headers(request: &Request) -> Vec<(String, String)> {
    let headers = request.headers().iter().map(|(name, value)| {
        let shown = unless_secret(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        (name.to_string(), shown)
    });
    headers.collect()
}

fn settings(request: &Request) -> Vec<(String, String)> {
    let report = request.settings().report();
    let lines = report.lines().filter_map(|line| line.split_once(" = "));
    lines.map(|(name, value)| (name.to_owned(), unless_secret(name, value))).collect()
}

fn unless_secret(name: &str, value: &str) -> String {
    // Of `auth.login_url` only the last part is the name.
    let name = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    let mut words = name.split(|char: char| !char.is_ascii_alphanumeric());
    let is_secret = name == "cookie" || words.any(|word| SECRETS.contains(&word));
    if is_secret { MASK.to_owned() } else { value.to_owned() }
}
