//! How to open a database's own command line.

use std::ffi::OsString;
use std::path::Path;

use crate::conf::{Databases, Secret};
use crate::db::pools::unknown_scheme;
use crate::error::Result;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::error::{Error, Kind};

/// A program of the database's and what to start it with.
#[derive(Clone, Debug)]
pub struct Shell {
    /// `sqlite3`, `psql` or `mariadb`.
    pub program: &'static str,
    /// What it is started with: the file, or where the server is, without the password.
    pub arguments: Vec<OsString>,
    /// The password and the name of the variable it is passed in: everybody on a machine can read
    /// a command line, but only its owner a process's environment.
    pub password: Option<(&'static str, Secret)>,
}

impl Shell {
    /// The one for the database `settings.url`.
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn of(settings: &Databases, base: &Path) -> Result<Self> {
        let url = settings.url.expose();
        match url.split(':').next().unwrap_or_default() {
            #[cfg(feature = "sqlite")]
            "sqlite" => {
                let file = super::sqlite::file(url, base)?;
                Ok(Self { program: "sqlite3", arguments: vec![file.into()], password: None })
            }
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                let (argument, password) = without_password(url)?;
                let password = password.map(|password| ("PGPASSWORD", password));
                Ok(Self { program: "psql", arguments: vec![argument.into()], password })
            }
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => {
                let (arguments, password) = super::mysql::shell_arguments(url)?;
                let password = password.map(|password| ("MYSQL_PWD", password));
                let arguments = arguments.into_iter().map(OsString::from).collect();
                Ok(Self { program: "mariadb", arguments, password })
            }
            _ => Err(unknown_scheme()),
        }
    }
}

/// Takes the password out of `postgres://user:password@host/name`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn without_password(url: &str) -> Result<(String, Option<Secret>)> {
    let wrong = || Error::of(Kind::Settings, "`database.url` cannot be read");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let Some((user, place)) = host.rsplit_once('@') else { return Ok((url.to_owned(), None)) };
    let Some((name, password)) = user.split_once(':') else { return Ok((url.to_owned(), None)) };
    let password = percent_encoding::percent_decode_str(password);
    let password = password.decode_utf8().map_err(|_| wrong())?;
    Ok((format!("{scheme}://{name}@{place}{path}"), Some(Secret::new(password))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(feature = "postgres", feature = "mysql"))]
    #[test]
    fn the_password_is_taken_out_of_a_url() {
        let check = |url: &str, expected: &str, password: Option<&str>| {
            let (url, taken) = without_password(url).unwrap();
            assert_eq!(url, expected);
            assert_eq!(taken.as_ref().map(Secret::expose), password);
        };
        check("postgres://ann:p%40ss@db:5/x?a=b", "postgres://ann@db:5/x?a=b", Some("p@ss"));
        check("postgres://ann@db/x", "postgres://ann@db/x", None);
        check("postgres://db/x", "postgres://db/x", None);
        check("postgres://ann:secret@db", "postgres://ann@db", Some("secret"));
    }
}
