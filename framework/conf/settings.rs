//! The framework's own settings, section by section, with their defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::conf::frozen::Written;
use crate::conf::mail::Mail;
use crate::conf::sections::{ReadSections, Section};
use crate::conf::security::Security;
use crate::conf::server::{Log, Server};
use crate::conf::tree::Origin;

/// All settings of a site. Made by [`load`](super::load); a test may build one with
/// `..Default::default()`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder relative paths in settings start from: that of `settings.toml`.
    #[serde(skip)]
    pub base: PathBuf,
    /// The file they were read from, if there was one.
    #[serde(skip)]
    pub file: Option<Arc<Path>>,
    /// Where each setting that is not a default was written.
    #[serde(skip)]
    pub(super) origins: Arc<BTreeMap<String, Origin>>,
    /// The apps' sections.
    #[serde(skip)]
    pub(super) sections: ReadSections,
    /// What was written, before it had types.
    #[serde(skip)]
    pub(super) written: Written,
    /// Shows helpful error pages, serves to localhost. Never on a public server.
    pub debug: bool,
    /// Signs sessions and tokens. Required unless `debug`. Also `SECRET_KEY` in the environment.
    pub secret_key: Secret,
    /// Earlier keys that still verify.
    pub secret_key_fallbacks: Vec<Secret>,
    /// Host names this site answers to; `.example.com` means it and its subdomains, `*` any.
    /// In debug an empty list means localhost.
    pub allowed_hosts: Vec<String>,
    /// Findings of `manage check` that are known and meant, by their ids: `security.W021`.
    pub silenced_system_checks: Vec<String>,
    /// The zone whose clocks and calendar tell the day and hour of a moment, by its IANA name:
    /// `Europe/Berlin`. Moments themselves are kept in UTC.
    #[serde(deserialize_with = "time_zone")]
    pub time_zone: Tz,
    /// `[database]`
    pub database: Databases,
    /// `[http]`
    pub http: Http,
    /// `[static]`
    #[serde(rename = "static")]
    pub static_files: StaticFiles,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[csrf]`
    pub csrf: Csrf,
    /// `[security]`
    pub security: Security,
    /// `[auth]`
    pub auth: Auth,
    /// `[mail]`
    pub mail: Mail,
    /// `[channels]`
    pub channels: Channels,
    /// `[server]`
    pub server: Server,
    /// `[log]`
    pub log: Log,
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| {
        de::Error::custom(format!("{name:?} is no time zone; one is called Europe/Berlin or UTC"))
    })
}

/// A value that never shows itself: `Debug` prints stars.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; keep it out of logs and pages.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "********" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "********" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // In words of its own: serde's would show the value.
        let text = String::deserialize(deserializer);
        text.map(Self).map_err(|_| de::Error::custom("expected text in quotes"))
    }
}

/// The URL of a data store: shown without the user and password that may be in it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// Takes `url` as it is; the server looks whether it makes sense.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// All of it; keep it out of logs and pages.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password may hold anything: what stands before the last `@` may belong to it.
        match self.0.rsplit_once('@') {
            None => f.write_str(&self.0),
            Some((before, rest)) => {
                let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
                write!(f, "{scheme}://********@{rest}")
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // In words of its own: serde's would show the value.
        let text = String::deserialize(deserializer);
        text.map(Self).map_err(|_| de::Error::custom("expected text in quotes"))
    }
}

/// Where rows are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Databases {
    /// `sqlite://db.sqlite3` (relative to the settings' folder), `sqlite:///absolute/path`,
    /// `postgres://user:password@host:port/name`. Also `DATABASE_URL` in the environment.
    pub url: Secret,
    /// Most connections a process keeps open (SQLite: readers; there is always one writer more).
    pub connections_max: u32,
    /// How long a statement waits for a connection or for SQLite's write lock, seconds.
    pub wait_seconds: u64,
    /// What reading a relation row by row does, `one`, `log`, `peers` or `raise`; unless said,
    /// `log` with `debug` and else `one`.
    pub fetch_mode: Option<FetchMode>,
}

impl Default for Databases {
    fn default() -> Self {
        Self {
            url: Secret::new("sqlite://db.sqlite3"),
            connections_max: 5,
            wait_seconds: 30,
            fetch_mode: None,
        }
    }
}

/// What reading a relation or a deferred field does that is not loaded, of a row that was read
/// along with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FetchMode {
    /// It asks for the one row's.
    One,
    /// The same, with a warning for each of them when a second row asks.
    Log,
    /// It asks for that of all the rows at once.
    Peers,
    /// It is an error; of a row that was read alone too.
    Raise,
}

/// Limits and habits of requests (Django's names and numbers).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// A URL without its final slash is redirected to the one that has it, if that one exists.
    pub append_slash: bool,
    /// Longest body of any request, bytes. Beyond it nothing is read.
    pub body_bytes_max: u64,
    /// Longest body outside file uploads, bytes.
    pub data_upload_max_memory_size: usize,
    /// Most fields in one form.
    pub data_upload_max_number_fields: usize,
    /// Most files in one form.
    pub data_upload_max_number_files: usize,
    /// Most of a form's files that is kept in memory, bytes; more goes to a file.
    pub file_upload_max_memory_size: usize,
    /// Where that is made; empty is the system's folder for such files.
    pub file_upload_temp_dir: PathBuf,
    /// Bytes of all forms that one process holds in memory while they are read, and of their files
    /// as long as a view has them; what comes beyond is told 503. The first 16 KiB of each form do
    /// not count, but have as much room of their own. One address (as for
    /// `server.sockets_per_address`) has an eighth, or what one form may take if that is more.
    /// Other bodies (`Json`, `Bytes`) are bounded by `data_upload_max_memory_size` each, not
    /// together.
    pub form_memory_max: u64,
    /// The same of files on the disk: of one process, so workers have as many times as much.
    pub form_disk_max: u64,
    /// Longest that reading a form may take, with its files, seconds; beyond it the answer is 408.
    pub form_timeout: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            append_slash: true,
            body_bytes_max: 104_857_600,
            data_upload_max_memory_size: 2_621_440,
            data_upload_max_number_fields: 1000,
            data_upload_max_number_files: 100,
            file_upload_max_memory_size: 2_621_440,
            file_upload_temp_dir: PathBuf::new(),
            form_memory_max: 268_435_456,
            form_disk_max: 10_737_418_240,
            form_timeout: 3600,
        }
    }
}

/// Static files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StaticFiles {
    /// URL prefix, with both slashes.
    pub url: String,
    /// Folders searched before the apps' own, relative to the settings' folder.
    pub dirs: Vec<PathBuf>,
}

impl Default for StaticFiles {
    fn default() -> Self {
        Self { url: "/static/".into(), dirs: vec!["static".into()] }
    }
}

/// Sessions and their cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting by itself")]
pub struct Sessions {
    /// Where sessions are kept.
    pub engine: SessionEngine,
    /// Lifetime of a session after it was last used, seconds (two weeks). When it was only read its
    /// end is put off once five minutes of it, or a tenth, have gone.
    pub cookie_age: i64,
    /// How old a session may get however much it is used, counted from the login, seconds; 0: as
    /// old as it likes.
    pub absolute_age: i64,
    /// The cookie ends with the browser.
    pub expire_at_browser_close: bool,
    /// Puts the end of a session off with every request that brings its cookie: a query or two
    /// each.
    pub save_every_request: bool,
    /// Name of the cookie.
    pub cookie_name: String,
    /// The domain whose hosts the browser sends the cookie to; empty: the one that set it.
    pub cookie_domain: String,
    /// The path below which the browser sends the cookie.
    pub cookie_path: String,
    /// Sends the cookie over https only.
    pub cookie_secure: bool,
    /// Keeps the cookie from scripts.
    pub cookie_httponly: bool,
    /// Which requests from other sites' pages the cookie goes with.
    pub cookie_samesite: SameSite,
}

/// Where sessions are kept. Django's names are taken too: `db`, `cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEngine {
    /// In a table: they survive everything.
    #[default]
    #[serde(alias = "db")]
    Database,
    /// In the data store: no query, and gone when the store forgets (`pulse://` does with its
    /// process, Redis with its memory, and both when they are full).
    #[serde(alias = "cache")]
    Cached,
    /// In the cookie itself, signed: nothing is kept. Everybody can read his own, it holds 3,800
    /// bytes, and a copy is good until it ends, also behind a logout.
    SignedCookies,
}

/// Which requests from other sites' pages a cookie goes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// Links that lead here.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All of them; over https only.
    None,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            engine: SessionEngine::default(),
            cookie_age: 1_209_600,
            absolute_age: 0,
            expire_at_browser_close: false,
            save_every_request: false,
            cookie_name: "sessionid".into(),
            cookie_domain: String::new(),
            cookie_path: "/".into(),
            cookie_secure: false,
            cookie_httponly: true,
            cookie_samesite: SameSite::default(),
        }
    }
}

/// Protection against cross-site request forgery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Csrf {
    /// Name of the cookie.
    pub cookie_name: String,
    /// Lifetime of the cookie, seconds (a year).
    pub cookie_age: i64,
    /// The domain whose hosts the browser sends the cookie to; empty: the one that set it. Over
    /// https, where a browser sends no `Origin`, a page of this host may post; of all hosts below
    /// it too, if it begins with a dot.
    pub cookie_domain: String,
    /// The path below which the browser sends the cookie.
    pub cookie_path: String,
    /// Sends the cookie over https only.
    pub cookie_secure: bool,
    /// Keeps the cookie from scripts, which then have to take the token out of the page.
    pub cookie_httponly: bool,
    /// The header in which scripts send the token.
    pub header_name: String,
    /// Origins beside the site's own that may post: `https://a.example`, `https://*.example`.
    pub trusted_origins: Vec<String>,
}

impl Default for Csrf {
    fn default() -> Self {
        Self {
            cookie_name: "csrftoken".into(),
            cookie_age: 31_449_600,
            cookie_domain: String::new(),
            cookie_path: "/".into(),
            cookie_secure: false,
            cookie_httponly: false,
            header_name: "X-CSRFToken".into(),
            trusted_origins: Vec::new(),
        }
    }
}

/// Accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Every view needs a login, but those that say `login_not_required` (the login page does).
    /// Static files, a 404 and the redirect to a missing slash do not.
    pub login_required: bool,
    /// Where a page that needs a login sends the visitor: a URL, or the name of one.
    pub login_url: String,
    /// Where a login without `next` leads.
    pub login_redirect_url: String,
    /// Where a logout leads; empty shows the "logged out" page.
    pub logout_redirect_url: String,
    /// Fewest characters of a password.
    pub password_min_length: usize,
    /// Least score of a password, 1 to 4 by zxcvbn, whose feature it wants; 0 asks for none.
    pub password_score_min: u8,
    /// How long the link of a password reset is good for, seconds (three days).
    pub password_reset_timeout: u64,
    /// Letters with such a link to one address within an hour; ten times as many asked for from one
    /// network address (as for `server.sockets_per_address`). Who asks beyond that gets the same
    /// answer, and nobody a letter; the log says so once. 0: as many as anybody likes.
    pub password_reset_mails: u32,
    /// argon2id memory, KiB (OWASP's minimum: 19456).
    pub argon2_memory_kib: u32,
    /// argon2id passes.
    pub argon2_passes: u32,
    /// Hashes computed at once in one process; 0: its share in the cores, one or two.
    pub hashing_threads: usize,
    /// Hashes that may wait for a thread; beyond it a login answers 503.
    pub hashing_queue: usize,
    /// Attempts to sign in to one account from one address within an hour, before each further one
    /// costs a wait; ten times as many from one address, and to one account from addresses it does
    /// not know. 0: as many as anybody likes.
    pub login_attempts: u32,
    /// Longest such wait, seconds.
    pub login_wait_max: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            login_required: false,
            login_url: "/accounts/login/".into(),
            login_redirect_url: "/".into(),
            logout_redirect_url: "/".into(),
            password_min_length: 8,
            password_score_min: 0,
            password_reset_timeout: 259_200,
            password_reset_mails: 3,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            hashing_threads: 0,
            hashing_queue: 64,
            login_attempts: 10,
            login_wait_max: 900,
        }
    }
}

/// Groups and their history.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// Largest message, bytes.
    pub message_bytes_max: usize,
    /// Messages a group keeps for those who lag or come back.
    pub history_messages: usize,
    /// Bytes a group keeps for those who lag or come back.
    pub history_bytes: usize,
    /// How long a group keeps a message, seconds.
    pub history_seconds: u64,
    /// How long somebody still counts as present in a group after their last connection there has
    /// ended, seconds: who reloads a page within it neither leaves nor joins.
    pub presence_grace_seconds: u64,
    /// Unread messages a channel holds.
    pub capacity: usize,
    /// Other capacities by patterns of names, in which `*` stands for any characters and `?` for
    /// one: `{ "tiny*" = 1, "emails" = 1000 }`. The first that fits counts.
    pub capacities: Capacities,
    /// Delayed messages in all channels.
    pub delayed_messages: usize,
    /// An unread message is dropped after this, seconds.
    pub expiry_seconds: u64,
    /// How long a sender waits for an unreachable store, seconds.
    pub send_wait_seconds: u64,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            message_bytes_max: 1_048_576,
            history_messages: 4096,
            history_bytes: 4_194_304,
            history_seconds: 300,
            presence_grace_seconds: 0,
            capacity: 100,
            capacities: Capacities::default(),
            delayed_messages: 10_000,
            expiry_seconds: 60,
            send_wait_seconds: 5,
        }
    }
}

/// Patterns and what they stand for, in the order they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacities(pub Vec<(String, usize)>);

impl Serialize for Capacities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, capacity)| (pattern, capacity)))
    }
}

impl<'de> Deserialize<'de> for Capacities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> de::Visitor<'de> for InOrder {
            type Value = Capacities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of patterns and numbers")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Capacities, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = map.next_entry()? {
                    patterns.push(pattern);
                }
                Ok(Capacities(patterns))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Settings {
    /// `path` as it is if absolute, else below [`base`](Self::base).
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The fetch mode of queries that do not say one.
    #[must_use]
    pub fn fetch_mode(&self) -> FetchMode {
        let usual = if self.debug { FetchMode::Log } else { FetchMode::One };
        self.database.fetch_mode.unwrap_or(usual)
    }

    /// An app's own section; its defaults if the app has not registered it.
    #[must_use]
    pub fn section<S: Section>(&self) -> Arc<S> {
        self.sections.get().unwrap_or_default()
    }

    /// Replaces an app's own section: for tests of what a setting changes.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn set_section<S: Section>(&mut self, section: S) -> crate::error::Result<()> {
        self.sections.set(section)
    }

    /// Where the setting `key` (`server.workers`) was written; `None` for a default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }
}
