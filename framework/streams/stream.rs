//! What a handler answers: which group a name stands for, and what comes with it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::channels::{GroupName, Message, Policy, Position, Presence};
use crate::error::Result;
use crate::http::Request;
use crate::middleware::Throttle;

/// Messages of a group's history a newcomer may be given.
const HISTORY_MAX: usize = 1000;

pub(super) type OnSend = Arc<dyn Fn(Sender, Value) -> BoxFuture<'static, Result<()>> + Send + Sync>;
pub(super) type Snapshot = Box<dyn FnOnce() -> BoxFuture<'static, Result<Value>> + Send>;

/// What a name stands for, for the one who asks: a group, and what comes with joining it.
///
/// ```
/// use hulse::http::{Request, permission_denied};
/// use hulse::streams::{Stream, Streams, stream};
/// use hulse::urls::Urls;
/// use serde_json::json;
///
/// async fn room(request: Request, id: i64) -> hulse::Result<Stream> {
///     let user = request.user().await?;
///     if user.is_anonymous() {
///         return Err(permission_denied("only for members"));
///     }
///     Ok(Stream::group(format!("room-{id}"))
///         .history(50)
///         .presence(user.username.as_str(), json!({ "name": user.username }))
///         .on_send(|sender, data| async move { sender.publish(data).await.map(drop) }))
/// }
///
/// let urls = Urls::new([Streams::new([stream("chat/<int:id>", room)]).at("stream/")]);
/// ```
#[must_use]
pub struct Stream {
    pub(super) group: String,
    pub(super) policy: Policy,
    pub(super) history: usize,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) presence: Option<(String, Value)>,
    pub(super) on_send: Option<OnSend>,
    pub(super) throttle: Option<Throttle>,
}

impl Stream {
    /// The messages of this group, from the moment of joining; nobody may send. Who may join may
    /// also read what the group still has: a client that names an earlier place, true or made up,
    /// is given what came after it. What somebody must not read belongs in another group.
    pub fn group(name: impl Into<String>) -> Self {
        Self {
            group: name.into(),
            policy: Policy::default(),
            history: 0,
            snapshot: None,
            presence: None,
            on_send: None,
            throttle: None,
        }
    }

    /// Who joins and does not come back from a known place is given the group's latest messages
    /// first: at most so many, and 1000, as far as the layer keeps them.
    pub fn history(mut self, messages: usize) -> Self {
        self.history = messages.min(HISTORY_MAX);
        self
    }

    /// Who joins and does not come back from a known place is given what `make` returns, as
    /// `snapshot` of the `joined` frame. It runs when the client is in the group already: what
    /// happens meanwhile follows, so a change may be in both, and none is in neither.
    pub fn snapshot<F, Fut>(mut self, make: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Value>> + Send + 'static,
    {
        self.snapshot = Some(Box::new(move || Box::pin(make())));
        self
    }

    /// Who joins is present as `key` (1 to 200 bytes: a user's id, for example), with `data` for
    /// the others to see. However many connections have a key, the others hear of it once. Who
    /// polls is present until 30 seconds after the last answer.
    pub fn presence(mut self, key: impl Into<String>, data: impl Into<Value>) -> Self {
        self.presence = Some((key.into(), data.into()));
        self
    }

    /// What happens to what this client sends. An error refuses it, and its status says why (403:
    /// `denied`, 400: `bad`); without a handler every send is denied.
    pub fn on_send<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Sender, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.on_send = Some(Arc::new(move |sender, data| Box::pin(handler(sender, data))));
        self
    }

    /// How often somebody may send, whichever way and in whichever worker; what comes sooner is
    /// refused (`too_many`, with when to come again). Joining is throttled by the line of the URL
    /// table.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// What happens when the client is too slow for the group; without a word it is disconnected,
    /// and comes back to where it was.
    pub fn slow(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Somebody's presence as the layer keeps it.
pub(super) fn presence(key: &str, data: &Value) -> Presence {
    let who = json!({ "key": key, "data": data });
    Presence {
        key: key.to_owned(),
        joined: json!({ "joined": who }).into(),
        left: json!({ "left": who }).into(),
    }
}

/// Who sends, in [`Stream::on_send`]. Derefs to the [`Request`] of the connection, with the user
/// and session of this moment, and so to the site.
#[derive(Clone, Debug)]
pub struct Sender {
    pub(super) request: Request,
    pub(super) group: GroupName,
    pub(super) key: Option<String>,
    pub(super) done: Arc<Mutex<Done>>,
}

/// What was published in a call.
#[derive(Debug, Default)]
pub(super) struct Done {
    messages: usize,
    last: Option<Position>,
}

impl Sender {
    /// Sends `message` to the stream's group: its place in the order, which the sender is told. If
    /// the same send was published before (the client did not hear of it), nothing is sent, and the
    /// place is that of then. It is sent now, also inside
    /// [`Site::atomic`](crate::site::Site::atomic): publish after the commit, or what is undone has
    /// been said.
    ///
    /// # Errors
    /// As [`Group::send`](crate::site::Group::send).
    pub async fn publish(&self, message: impl Into<Message> + Send) -> Result<Position> {
        let number = {
            let mut done = self.done();
            done.messages += 1;
            done.messages
        };
        let (layer, message) = (self.request.layer(), message.into());
        let position = match &self.key {
            Some(key) => layer.publish_once(&self.group, &format!("{key}.{number}"), message).await,
            None => layer.publish(&self.group, message).await,
        }?;
        self.done().last = Some(position);
        Ok(position)
    }

    /// What names this send for ever: the same if the client sends it again because it has not
    /// heard, different for every other client. For a unique column, when it is kept; `None` if
    /// the client gave no key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The last place that was published to.
    pub(super) fn last(&self) -> Option<Position> {
        self.done().last
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Sender {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

#[cfg(test)]
mod tests {
    use super::{HISTORY_MAX, Stream};

    #[test]
    fn a_newcomer_is_given_a_thousand_messages_at_most() {
        assert_eq!(Stream::group("a").history, 0);
        assert_eq!(Stream::group("a").history(7).history, 7);
        assert_eq!(Stream::group("a").history(usize::MAX).history, HISTORY_MAX);
    }
}
