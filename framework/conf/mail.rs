//! `[mail]`: how mail leaves the site.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::conf::settings::Secret;

/// How mail leaves the site, and whose names are on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// `smtp`, `console`, `file`, `memory` (for tests) or `dummy`; unless said, `console` with
    /// `debug` and else `smtp`.
    pub backend: Option<MailBackend>,
    /// The server's host name; its certificate is checked against it.
    pub host: String,
    /// The server's port: 25, 587 with `starttls`, 465 with `tls`.
    pub port: u16,
    /// Who signs in at the server; empty for nobody.
    pub username: String,
    /// With what.
    pub password: Secret,
    /// `none`, `starttls` or `tls`. A connection that cannot be encrypted as said is given up.
    pub security: MailSecurity,
    /// PEM file with the authority of the server's certificate, instead of the system's.
    pub ca: PathBuf,
    /// How long the server may be silent, seconds.
    pub timeout: u64,
    /// Where the backend `file` puts mails, relative to the settings' folder.
    pub folder: PathBuf,
    /// Whom mails come from unless they say so: `"Example <hello@example.com>"`.
    pub from: String,
    /// Whom mails to admins and managers come from.
    pub server_from: String,
    /// In front of the subjects of those.
    pub subject_prefix: String,
    /// Who hears of errors: `["Ann <ann@example.com>"]`.
    pub admins: Vec<String>,
    /// Who hears of what `mail_managers` sends.
    pub managers: Vec<String>,
}

/// How mail leaves the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailBackend {
    /// To a server.
    Smtp,
    /// To the standard output.
    Console,
    /// Each into a file.
    File,
    /// Kept by the process, for tests.
    Memory,
    /// Nowhere.
    Dummy,
}

/// How the connection to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    /// Not at all: for a server on the same machine.
    None,
    /// After a plain greeting.
    Starttls,
    /// From the first byte.
    Tls,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            backend: None,
            host: "localhost".into(),
            port: 25,
            username: String::new(),
            password: Secret::default(),
            security: MailSecurity::None,
            ca: PathBuf::new(),
            timeout: 10,
            folder: "mail".into(),
            from: "webmaster@localhost".into(),
            server_from: "root@localhost".into(),
            subject_prefix: "[Hulse] ".into(),
            admins: Vec::new(),
            managers: Vec::new(),
        }
    }
}
