//! Where the Redis servers are: `redis://user:password@host:port,host:port/db?prefix=site`.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Kind, Result};

/// Port of a host that names none.
const PORT: u16 = 6379;
/// Most servers; far above what anybody shards over.
const HOSTS_MAX: usize = 64;
/// What all keys and channels begin with, unless the URL says otherwise.
const PREFIX: &str = "hulse";
/// Of all that is kept and said in Redis: another one does not see what it could not read.
const FORMAT: u32 = 2;
/// Longest prefix, bytes.
const PREFIX_BYTES_MAX: usize = 100;

/// All that a URL says. Neither `Debug` nor any error of it shows user or password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// One shard each, in the order of the URL.
    pub(super) hosts: Vec<Host>,
    pub(super) database: u32,
    pub(super) prefix: String,
    pub(super) login: Option<Login>,
    pub(super) tls: Option<Trust>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// A name or address, an IPv6 one without its brackets.
    pub(super) name: String,
    pub(super) port: u16,
}

/// Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those the machine believes.
    System,
    /// Those in this PEM file (`?ca=`).
    File(PathBuf),
}

impl Address {
    /// # Errors
    /// The URL has another form (`Kind::Usage`). The error does not repeat it: it may hold a
    /// password.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("has no scheme"))?;
        let is_tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(bad("begins with neither redis:// nor rediss://")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (Some(Login::parse(login)?), hosts),
            None => (None, rest),
        };
        let hosts: Vec<Host> = hosts.split(',').map(Host::parse).collect::<Result<_>>()?;
        if hosts.len() > HOSTS_MAX {
            return Err(bad(&format!("names more than {HOSTS_MAX} hosts")));
        }
        if let Some(twice) = hosts.iter().enumerate().find(|(i, host)| hosts[..*i].contains(host)) {
            return Err(bad(&format!("names {} twice", twice.1)));
        }
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| bad("has a database that is no number"))?,
        };
        let mut address = Self { hosts, database, prefix: PREFIX.to_owned(), login, tls: None };
        address.tls = is_tls.then_some(Trust::System);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            address.set(pair)?;
        }
        Ok(address)
    }

    fn set(&mut self, pair: &str) -> Result<()> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match key {
            "prefix" => {
                let is_good = (1..=PREFIX_BYTES_MAX).contains(&value.len())
                    && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b));
                if !is_good {
                    return Err(bad(&format!(
                        "has a bad prefix: 1 to {PREFIX_BYTES_MAX} ASCII letters, digits, `.`, \
                         `_`, `-` and `:`"
                    )));
                }
                self.prefix = value;
            }
            "ca" if self.tls.is_none() => return Err(bad("has ca= without rediss://")),
            "ca" => self.tls = Some(Trust::File(value.into())),
            _ => return Err(bad("has an unknown option: there are prefix and ca")),
        }
        Ok(())
    }

    /// What the keys of this database begin with.
    pub(super) fn key_prefix(&self) -> String {
        format!("{}:{FORMAT}:", self.prefix)
    }

    /// What channels begin with. Redis has one set of them for all its databases.
    pub(super) fn channel_prefix(&self) -> String {
        format!("{}:{FORMAT}:{}:", self.prefix, self.database)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.hosts)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self> {
        let (user, password) = text.split_once(':').ok_or_else(|| {
            bad("has a user without a password: write redis://user:password@host, or :password@")
        })?;
        // Redis' own name for who only gives a password.
        let user = if user.is_empty() { "default".to_owned() } else { decode(user)? };
        Ok(Self { user, password: decode(password)? })
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self> {
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, "")) => (name, None),
            Some((name, rest)) => (name, Some(rest.strip_prefix(':').unwrap_or("?"))),
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        // What is no name may be part of a password with an `@` or `/` in it: it is not repeated.
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(bad("has an empty or impossible host"));
        }
        let port = port.map_or(Ok(PORT), |port| {
            port.parse().map_err(|_| bad("has a port that is no number from 0 to 65535"))
        })?;
        Ok(Self { name: name.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| bad("has a part that is no UTF-8"))
}

fn bad(words: &str) -> Error {
    Error::of(Kind::Usage, format!("the data store's URL {words}"))
}
