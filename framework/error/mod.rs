//! The one error type of the framework.
//!
//! Flow: a room makes an [`Error`] with its own constructor → `?` carries it up → `http` turns it
//! into a status, `manage` into a line and an exit code.
//!
//! Invariants:
//! - Opaque: callers ask questions (`is_does_not_exist`), they never match on a kind.
//! - Each room adds its constructors and questions in its own folder; this one knows only the
//!   kinds.
//! - A message is lower case, has no full stop, and says what was being done to what.

use std::error::Error as StdError;
use std::fmt;

/// What a fallible call of the framework returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the words for the person who has to mend it.
///
/// Every [`std::error::Error`] becomes one through `?`, so a view may use any crate's errors; such
/// an error answers 500. The type is no `std::error::Error` itself (that would forbid the blanket
/// conversion), but converts into `Box<dyn Error + Send + Sync>`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Which room an error comes from and what it means there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Some other crate's error, or the site's own words.
    Other,
    /// A setting is unknown, of the wrong type or missing.
    Settings,
    /// A command was called with something it cannot work with; the exit code is 2.
    Usage,
    /// The database could not be reached.
    DatabaseUnavailable,
    /// The database refused a statement.
    Database,
    /// A unique, foreign key, check or not-null constraint refused a row.
    Integrity,
    /// A database handle was used after its transaction ended.
    TransactionClosed,
    /// A transaction that must be the outermost one was opened inside another.
    NestedTransaction,
    /// The transaction is committed, but what should have followed it failed.
    AfterCommit,
    /// `get` found no row.
    DoesNotExist,
    /// `get` found more than one row.
    MultipleObjects,
    /// A required field is unset, or a value does not fit its field.
    Field,
    /// A row is not what is demanded of it; told field by field.
    Validation,
    /// There is no page of this number.
    EmptyPage,
    /// A row is still referred to by rows that protect it.
    Protected,
    /// A row is still referred to by rows that restrict it.
    Restricted,
    /// Migrations are in conflict, inconsistent, unknown or irreversible.
    Migration,
    /// A mail cannot be written or sent.
    Mail,
    /// A signed text is forged, or signed for another use.
    BadSignature,
    /// A signed text is older than it may be.
    SignatureExpired,
    /// A template is missing or wrong.
    Template,
    /// A URL name is unknown or its arguments do not fit.
    NoReverseMatch,
    /// An answer with this HTTP status, meant for the client.
    Status(u16),
    /// Somebody asks too often; how long to wait, seconds.
    TooMany(u32),
    /// A group or channel name breaks the rule.
    BadGroupName,
    /// A text is no position in a group's order.
    BadPosition,
    /// A message is larger than the layer takes.
    MessageTooLarge,
    /// A channel's queue is full.
    ChannelFull,
    /// The data store holds as many values as it may.
    StoreFull,
    /// A question got no answer.
    NoAnswer,
    /// The data store is away.
    LayerUnavailable,
    /// The socket is closed.
    SocketClosed,
    /// The server could not start or lost a part of itself.
    Server,
}

impl Error {
    /// An error in the site's own words; it answers 500.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(Kind::Other, message)
    }

    /// The same error with `doing` (for example "loading settings.toml") in front of its words.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// A command was called with something it cannot work with; `words` say with what.
    pub fn usage(words: impl Into<String>) -> Self {
        Self::of(Kind::Usage, words)
    }

    /// What a command that ends with this error exits with: 2 if it could not begin (usage,
    /// settings, an address, a database out of reach), 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            Kind::Usage | Kind::Settings | Kind::DatabaseUnavailable | Kind::Server => 2,
            _ => 1,
        }
    }

    pub(crate) fn of(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    pub(crate) fn because(
        kind: Kind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: Some(source.into()) }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The error underneath, if there is one.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

/// The message, then what lies underneath, joined by `: `.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut source: Option<&dyn StdError> = self.0.source.as_deref().map(|s| s as _);
        while let Some(error) = source {
            let words = error.to_string();
            if !self.0.message.contains(&words) {
                write!(f, ": {words}")?;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(Inner {
            kind: Kind::Other,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }))
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        error.to_string().into()
    }
}
