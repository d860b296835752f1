//! What the environment says for `createsuperuser`.

use crate::conf::environment::Environment;
use crate::conf::settings::Secret;
use crate::error::Result;

/// A superuser described by environment variables, Django's names.
#[derive(Clone, Debug, Default)]
pub struct Superuser {
    /// `DJANGO_SUPERUSER_USERNAME`
    pub username: Option<String>,
    /// `DJANGO_SUPERUSER_EMAIL`
    pub email: Option<String>,
    /// `DJANGO_SUPERUSER_PASSWORD`
    pub password: Option<Secret>,
}

impl Superuser {
    /// Reads the variables.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub fn from_environment() -> Result<Self> {
        let environment = Environment::read();
        let read = |name| environment.get(name).map(|value| value.map(str::to_owned));
        Ok(Self {
            username: read("DJANGO_SUPERUSER_USERNAME")?,
            email: read("DJANGO_SUPERUSER_EMAIL")?,
            password: read("DJANGO_SUPERUSER_PASSWORD")?.map(Secret::new),
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
