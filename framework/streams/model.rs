//! Rows that browsers follow: what a commit did to them, told to who may see them.
//!
//! Flow: [`Project::live`] connects receivers to a model's saves and deletes → each notes how the
//! row was and is, inside the transaction → after the commit what is left of it becomes one message
//! per group (`touched`) → [`LiveModel::stream`] lets browsers join, each in the first [`Audience`]
//! that may.
//!
//! Invariants:
//! - How a row was and is, is read from the database, locked, before and after it is written: what
//!   is told does not depend on what the saver believed, on more digits than are stored or on rows
//!   that he had loaded.
//! - An audience hears of rows and fields that are its own, and of nothing else: a row that leaves
//!   it is deleted there, a change of other fields is none.
//! - A rollback, of a savepoint too, is heard by nobody.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_query::Value as Key;
use serde_json::{Value, json};

use super::touched::{Seen, Touch, Touched};
use super::{Stream, StreamRoute, stream};
use crate::apps::Project;
use crate::channels::GroupName;
use crate::error::Result;
use crate::http::{Request, permission_denied};
use crate::models::{
    Field, FieldList, Fields, Lock, Model, PostDelete, PostSave, PreDelete, PreSave, QuerySet,
};
use crate::site::Site;

/// Longest name of a [`LiveModel`] and of an [`Audience`], bytes: both are in the group's name.
const NAME_BYTES_MAX: usize = 28;

type May = Arc<dyn Fn(Request, String) -> BoxFuture<'static, Result<bool>> + Send + Sync>;
type Of<M, T> = Arc<dyn Fn(&M) -> T + Send + Sync>;
type Rows<M> = Arc<dyn Fn(&str) -> QuerySet<M> + Send + Sync>;

/// Rows of `M` that browsers follow: creating, updating and deleting them reaches everybody who has
/// joined their stream, as one message per commit.
///
/// The message of a stream is `{"model": "blog.Post", "changes": [{"change": "create", "key": 5,
/// "row": {..}}, ..]}`; `change` is `create`, `update` (both with the fields of the audience) or
/// `delete` (without `row`). A row that moves to another stream, or that its audience may not see
/// any more, is deleted here and created there. A commit that changed more than a message holds is
/// `{"model": .., "reset": true}`: join again, for a new snapshot.
///
/// Each save of such a row reads it three times more: before, to know where it was (not of a new
/// row); behind it, to know how it is stored; and after its message, to know that no other was
/// quicker. Messages are sent after their commits, each by the process that committed: of two
/// transactions that change one row right after each other, the message of the second may come
/// first. Whoever finds the row otherwise than he has told it tells it again, so the last message
/// about a row is how it is stored. Take `create` and `update` as "put this here", `delete` as
/// "have it no more": each may come twice. If a message cannot be sent, its saver gets the error,
/// and it is not told again.
///
/// What saves no rows one by one (`QuerySet::update`, `bulk_create`, SQL) is not heard of, as with
/// signals.
///
/// ```
/// use hulse::contrib::auth::User;
/// use hulse::http::Request;
/// use hulse::streams::{Audience, LiveModel, Streams};
/// use hulse::urls::Urls;
/// use hulse::Project;
///
/// fn members() -> LiveModel<User> {
///     LiveModel::new("members", |user: &User| user.is_staff.to_string())
///         .audience(
///             Audience::<User>::new("staff", |u| (u.id(), u.username(), u.email()))
///                 .only(|request: Request, _stream| async move {
///                     Ok(request.user().await?.is_staff)
///                 }),
///         )
///         .audience(
///             Audience::<User>::new("all", |u| (u.id(), u.username()))
///                 .rows(|user| user.is_active),
///         )
/// }
///
/// let streams = Streams::new([members().stream("members/<slug:staff>")]).at("stream/");
/// let project = Project::new("site", ".").live(members()).urls(Urls::new([streams]));
/// ```
#[must_use]
pub struct LiveModel<M> {
    name: String,
    pub(super) key: Of<M, String>,
    pub(super) audiences: Vec<Audience<M>>,
    rows: Option<Rows<M>>,
}

/// Subscribers that see the same: which rows, which fields of them, and who they are.
#[must_use]
pub struct Audience<M> {
    name: String,
    fields: Vec<&'static Field>,
    may: May,
    pub(super) rows: Of<M, bool>,
}

impl<M: Model> Audience<M> {
    /// Everybody, who sees these fields of all rows.
    ///
    /// # Panics
    /// The name is no group's name or longer than 28 bytes; a field is computed, another model's,
    /// secret or read later (`Deferred`).
    pub fn new<L: FieldList>(name: &str, fields: impl FnOnce(&M::Columns) -> L) -> Self {
        check_name(name);
        let fields = Fields::<M>::new(fields).own();
        let why = fields.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(why.is_empty(), "audience {name:?}: {why}");
        let fields = fields.unwrap_or_default();
        for field in &fields {
            assert!(!field.secret, "audience {name:?}: {} is secret", field.name);
            assert!(!field.deferred, "audience {name:?}: {} is read later", field.name);
        }
        Self {
            name: name.to_owned(),
            fields,
            may: Arc::new(|_, _| Box::pin(async { Ok(true) })),
            rows: Arc::new(|_| true),
        }
    }

    /// Only those of whom `may` says so: asked at every join, with what the stream's name captured
    /// (several values with `/` between).
    pub fn only<F, Fut>(mut self, may: F) -> Self
    where
        F: Fn(Request, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool>> + Send + 'static,
    {
        self.may = Arc::new(move |request, key| Box::pin(may(request, key)));
        self
    }

    /// Only rows of which `sees` says so.
    pub fn rows(mut self, sees: impl Fn(&M) -> bool + Send + Sync + 'static) -> Self {
        self.rows = Arc::new(sees);
        self
    }

    /// The row as this audience sees it.
    pub(super) fn shown(&self, row: &M) -> Result<Value> {
        let mut all = serde_json::to_value(row)?;
        let fields = self.fields.iter();
        let shown = fields
            .map(|field| (field.name.to_owned(), without_others(field, &mut all[field.name])));
        Ok(Value::Object(shown.collect()))
    }
}

/// A field's value; of another row that it refers to and that is loaded, only the key.
fn without_others(field: &'static Field, value: &mut Value) -> Value {
    let (mut value, mut field) = (value.take(), field);
    while let (Value::Object(row), Some(to)) = (&mut value, field.relation) {
        field = (to.to)().primary_key();
        value = row.remove(field.name).unwrap_or_default();
    }
    value
}

fn check_name(name: &str) {
    let is_name = GroupName::new(name).is_ok() && name.len() <= NAME_BYTES_MAX;
    assert!(is_name, "{name:?}: 1 to {NAME_BYTES_MAX} ASCII letters, digits, `.`, `_` and `-`");
}

impl<M: Model> LiveModel<M> {
    /// Rows told by this name, each in the stream that `key` says: the text that the stream's name
    /// captures (several with `/` between; nothing captured is the empty text).
    ///
    /// # Panics
    /// The name is no group's name or longer than 28 bytes.
    pub fn new(name: &str, key: impl Fn(&M) -> String + Send + Sync + 'static) -> Self {
        check_name(name);
        Self { name: name.to_owned(), key: Arc::new(key), audiences: Vec::new(), rows: None }
    }

    /// Subscribers are in the first audience that they may be in; in none, they are refused.
    ///
    /// # Panics
    /// There is one of this name.
    pub fn audience(mut self, audience: Audience<M>) -> Self {
        let is_there = self.audiences.iter().any(|known| known.name == audience.name);
        assert!(!is_there, "live model {:?} has two audiences {:?}", self.name, audience.name);
        self.audiences.push(audience);
        self
    }

    /// Who joins, and does not come back from a known place, is given these rows of the stream, as
    /// its audience sees them: `{"model": .., "rows": [..]}` as `snapshot`.
    pub fn snapshot(mut self, rows: impl Fn(&str) -> QuerySet<M> + Send + Sync + 'static) -> Self {
        self.rows = Some(Arc::new(rows));
        self
    }

    /// The streams called `name`, to join: a line of [`Streams`](super::Streams).
    pub fn stream(&self, name: &str) -> StreamRoute {
        let live = self.clone();
        stream(name, move |request: Request, captured: Vec<String>| {
            let (live, key) = (live.clone(), captured.join("/"));
            async move { live.join(request, key).await }
        })
    }

    async fn join(self, request: Request, key: String) -> Result<Stream> {
        for audience in &self.audiences {
            if !(audience.may)(request.clone(), key.clone()).await? {
                continue;
            }
            let stream = Stream::group(self.group(audience, &key)?.as_str());
            let Some(rows) = &self.rows else { return Ok(stream) };
            let (rows, audience, site) = (rows(&key), audience.clone(), request.site().clone());
            return Ok(stream.snapshot(move || async move {
                let rows = rows.all(&site).await?;
                let seen = rows.iter().filter(|row| (audience.rows)(row));
                let seen = seen.map(|row| audience.shown(row)).collect::<Result<Vec<_>>>()?;
                Ok(json!({ "model": M::meta().label(), "rows": seen }))
            }));
        }
        Err(permission_denied("no audience of these rows"))
    }

    pub(super) fn group(&self, audience: &Audience<M>, key: &str) -> Result<GroupName> {
        GroupName::hashed(&format!("live-{}-{}", self.name, audience.name), key)
    }
}

impl Project {
    /// Lets browsers follow the rows of `M`; see [`LiveModel`].
    #[must_use]
    pub fn live<M: Model>(self, live: LiveModel<M>) -> Self {
        let live = Arc::new(live);
        let [before, after, doomed, gone] = [(); 4].map(|()| Arc::clone(&live));
        self.on(move |site: Site, event: Arc<PreSave<M>>| {
            let (live, row) = (Arc::clone(&before), event.row());
            async move { note_stored(&site, live, &row).await }
        })
        .on(move |site: Site, event: Arc<PostSave<M>>| {
            let (live, key) = (Arc::clone(&after), event.row.key());
            async move {
                let Some(key) = key else { return Ok(()) };
                let row = stored(&site, &key).await?;
                site.at_commit(Touched::new(
                    live,
                    Touch { key, was: Seen::Unknown, is: Seen::new(row) },
                ))
                .await
            }
        })
        .on(move |site: Site, event: Arc<PreDelete<M>>| {
            let (live, row) = (Arc::clone(&doomed), event.row.clone());
            async move { note_stored(&site, live, &row).await }
        })
        .on(move |site: Site, event: Arc<PostDelete<M>>| {
            let (live, key) = (Arc::clone(&gone), event.row.key());
            async move {
                let Some(key) = key else { return Ok(()) };
                site.at_commit(Touched::new(
                    live,
                    Touch { key, was: Seen::Unknown, is: Seen::Nothing },
                ))
                .await
            }
        })
    }
}

/// Notes how the row is stored that is about to be written.
async fn note_stored<M: Model>(site: &Site, live: Arc<LiveModel<M>>, row: &M) -> Result<()> {
    let Some(key) = row.key() else { return Ok(()) };
    let was = stored(site, &key).await?;
    site.at_commit(Touched::new(live, Touch { key, was: Seen::new(was), is: Seen::Unknown })).await
}

async fn stored<M: Model>(site: &Site, key: &Key) -> Result<Option<M>> {
    QuerySet::<M>::with_key(key.clone()).select_for_update(Lock::new()).first(site).await
}

impl<M> Clone for LiveModel<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            key: Arc::clone(&self.key),
            audiences: self.audiences.clone(),
            rows: self.rows.clone(),
        }
    }
}

impl<M> Clone for Audience<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            fields: self.fields.clone(),
            may: Arc::clone(&self.may),
            rows: Arc::clone(&self.rows),
        }
    }
}

impl<M> fmt::Debug for LiveModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audiences = self.audiences.iter().map(|audience| &audience.name);
        f.debug_tuple("LiveModel").field(&self.name).field(&audiences.collect::<Vec<_>>()).finish()
    }
}

impl<M> fmt::Debug for Audience<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.iter().map(|field| field.name);
        f.debug_tuple("Audience").field(&self.name).field(&fields.collect::<Vec<_>>()).finish()
    }
}
