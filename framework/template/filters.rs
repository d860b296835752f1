//! Escaping and the filters Tera lacks, by Django's names.

#![expect(clippy::needless_pass_by_value, reason = "the shape Tera calls filters in")]

use std::io::{self, Write};

use chrono::{DateTime, NaiveDate};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tera::{Error, Kwargs, State, StringInput, Tera, TeraResult, Value};

/// What `urlencode` keeps: letters, digits and `_.-~/`.
const URL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// Escapes for HTML, as Django does.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // A String takes all.
    let _: Result<(), io::Error> = pieces(text, |piece| {
        out.push_str(piece);
        Ok(())
    });
    out
}

/// The same, in the shape Tera calls.
pub(super) fn escape(text: &str, out: &mut dyn Write) -> io::Result<()> {
    pieces(text, |piece| out.write_all(piece.as_bytes()))
}

/// Hands on the escaped text in pieces. What is escaped is ASCII, so it is looked for in bytes.
fn pieces<E>(text: &str, mut take: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| entity(byte).is_some()) {
        let (plain, tail) = rest.split_at(at);
        if !plain.is_empty() {
            take(plain)?;
        }
        take(entity(tail.as_bytes()[0]).unwrap_or_default())?;
        rest = &tail[1..];
    }
    if rest.is_empty() { Ok(()) } else { take(rest) }
}

fn entity(byte: u8) -> Option<&'static str> {
    Some(match byte {
        b'&' => "&amp;",
        b'<' => "&lt;",
        b'>' => "&gt;",
        b'"' => "&quot;",
        b'\'' => "&#x27;",
        _ => return None,
    })
}

pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("urlencode", urlencode);
    tera.register_filter("linebreaksbr", linebreaksbr);
    tera.register_filter("json_script", json_script);
    tera.register_filter("date", date);
    tera.register_filter("yesno", yesno);
}

fn urlencode(text: &str, _: Kwargs, _: &State<'_>) -> String {
    utf8_percent_encode(text, URL).to_string()
}

/// Escapes the text unless it is safe, then makes its line ends `<br>`.
fn linebreaksbr(text: StringInput<'_>, _: Kwargs, state: &State<'_>) -> TeraResult<Value> {
    let escaped = if text.is_safe() || !state.autoescaping_enabled() {
        text.as_str().to_owned()
    } else {
        state.escape(text.as_str())?
    };
    Ok(Value::safe_string(&escaped.replace("\r\n", "\n").replace(['\n', '\r'], "<br>")))
}

/// The value as JSON in a `<script>` that a page's own script reads by `id`.
fn json_script(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let json = serde_json::to_string(&value).map_err(|error| Error::message(error.to_string()))?;
    let json = json.replace('<', "\\u003C").replace('>', "\\u003E").replace('&', "\\u0026");
    let id = arguments.get::<&str>("id")?;
    let id = id.map_or_else(String::new, |id| format!("id=\"{}\" ", escaped(id)));
    Ok(Value::safe_string(&format!("<script {id}type=\"application/json\">{json}</script>")))
}

/// A time (RFC 3339, as models give it) or day in a `strftime` format: `| date(format="%d.%m.%Y")`.
fn date(text: &str, arguments: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let format = arguments.get::<&str>("format")?.unwrap_or("%b. %-d, %Y");
    let items = chrono::format::StrftimeItems::new(format)
        .parse()
        .map_err(|_| Error::message(format!("{format:?} is no date format")))?;
    let mut out = String::new();
    let written = if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        std::fmt::Write::write_fmt(
            &mut out,
            format_args!("{}", time.format_with_items(items.iter())),
        )
    } else if let Ok(day) = text.parse::<NaiveDate>() {
        std::fmt::Write::write_fmt(
            &mut out,
            format_args!("{}", day.format_with_items(items.iter())),
        )
    } else {
        return Err(Error::message(format!("{text:?} is no time and no day")));
    };
    written.map_err(|_| Error::message(format!("{format:?} does not fit {text:?}")))?;
    Ok(out)
}

/// `| yesno(yes="on", no="off")`
fn yesno(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<String> {
    let word = match value.is_truthy() {
        true => arguments.get::<&str>("yes")?.unwrap_or("yes"),
        false => arguments.get::<&str>("no")?.unwrap_or("no"),
    };
    Ok(word.to_owned())
}
