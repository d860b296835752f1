//! What the environment says for `createsuperuser`.

use crate::conf::environment::Environment;
use crate::conf::settings::Secret;
use crate::error::Result;

/// A superuser described by environment variables; Django's names, which begin with `DJANGO`
/// instead of `HULSE`, are understood too.
#[derive(Clone, Debug, Default)]
pub struct Superuser {
    /// `HULSE_SUPERUSER_USERNAME`
    pub username: Option<String>,
    /// `HULSE_SUPERUSER_EMAIL`
    pub email: Option<String>,
    /// `HULSE_SUPERUSER_PASSWORD`
    pub password: Option<Secret>,
}

impl Superuser {
    /// Reads the variables.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub fn from_environment() -> Result<Self> {
        let environment = Environment::read();
        let read = |field| -> Result<Option<String>> {
            let ours = environment.get(&format!("HULSE_SUPERUSER_{field}"))?;
            let known = match ours {
                Some(value) => Some(value),
                None => environment.get(&format!("DJANGO_SUPERUSER_{field}"))?,
            };
            Ok(known.map(str::to_owned))
        };
        Ok(Self {
            username: read("USERNAME")?,
            email: read("EMAIL")?,
            password: read("PASSWORD")?.map(Secret::new),
        })
    }
}

/// The name the person at the terminal is signed in with, if it is known.
#[must_use]
pub fn login_name() -> Option<String> {
    let environment = Environment::read();
    let names = ["LOGNAME", "USER", "LNAME", "USERNAME"];
    names.iter().find_map(|name| environment.get(name).ok().flatten().map(str::to_owned))
}
