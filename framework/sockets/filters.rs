//! Which events a route is for, beyond their name.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::Event;

/// Names and values that filters found in an event.
pub(super) type Captures = Vec<(String, String)>;

type Test = Arc<dyn Fn(&Event, &mut Captures) -> bool + Send + Sync>;

/// Whether an event is for a route; see [`EventRoute::filter`](super::EventRoute::filter).
#[derive(Clone)]
pub struct Filter(Test);

impl Filter {
    /// Events for which `test` is true.
    pub fn new(test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |event, _| test(event)))
    }

    pub(super) fn fits(&self, event: &Event, captures: &mut Captures) -> bool {
        (self.0)(event, captures)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

/// Events of a socket whose path has a match of the regular expression `pattern`; what its named
/// groups matched is found again with [`Event::captured`].
///
/// ```
/// use hulse::prelude::*;
/// use hulse::sockets::filters;
///
/// async fn join(event: Event) -> Result<()> {
///     event.reply.join(format!("room-{}", event.captured("room").unwrap_or_default())).await
/// }
///
/// let routing = Routing::new([
///     route("websocket.connect", join).filter(filters::path(r"^/chat/(?P<room>\d+)/$")),
/// ]);
/// ```
///
/// # Panics
/// `pattern` is no regular expression.
#[must_use]
pub fn path(pattern: &str) -> Filter {
    matching(pattern, |event| event.reply.request().ok().map(|request| request.path().to_owned()))
}

/// Events whose message, as text, has a match of the regular expression `pattern`.
///
/// # Panics
/// `pattern` is no regular expression.
#[must_use]
pub fn text(pattern: &str) -> Filter {
    matching(pattern, |event| event.message.text().map(ToOwned::to_owned))
}

/// Messages of a group whose name has a match of the regular expression `pattern`.
///
/// # Panics
/// `pattern` is no regular expression.
#[must_use]
pub fn group(pattern: &str) -> Filter {
    matching(pattern, |event| event.group.clone())
}

/// Events whose message is a JSON object that has `value` at `field`; dots lead inside:
/// `json("user.name", "ann")`.
#[must_use]
pub fn json(field: &str, value: impl Into<Value>) -> Filter {
    let (field, value) = (field.to_owned(), value.into());
    Filter(Arc::new(move |event, _| event.field(&field) == Some(&value)))
}

/// Events whose message is a JSON object that has `field`; dots lead inside.
#[must_use]
pub fn has(field: &str) -> Filter {
    let field = field.to_owned();
    Filter(Arc::new(move |event, _| event.field(&field).is_some()))
}

/// Events whose message is a JSON object with a text at `field` in which the regular expression
/// `pattern` has a match.
///
/// # Panics
/// `pattern` is no regular expression.
#[must_use]
pub fn json_matches(field: &str, pattern: &str) -> Filter {
    let field = field.to_owned();
    matching(pattern, move |event| event.field(&field)?.as_str().map(ToOwned::to_owned))
}

fn matching(
    pattern: &str,
    of: impl Fn(&Event) -> Option<String> + Send + Sync + 'static,
) -> Filter {
    let pattern = compiled(pattern);
    Filter(Arc::new(move |event, captures| {
        let Some(text) = of(event) else { return false };
        let Some(found) = pattern.captures(&text) else { return false };
        for name in pattern.capture_names().flatten() {
            if let Some(value) = found.name(name) {
                captures.push((name.to_owned(), value.as_str().to_owned()));
            }
        }
        true
    }))
}

/// A malformed pattern is the programmer's error and stops the program at start.
#[expect(clippy::panic, reason = "a malformed filter cannot be served")]
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|malformed| panic!("filter {pattern:?}: {malformed}"))
}
