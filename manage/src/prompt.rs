//! Questions to the person at the terminal, off the runtime's thread: they take their time.

use std::io::{IsTerminal, stdin};

use hulse::contrib::auth::validate_password;
use hulse::{Error, Result, Site};

use crate::output::{complain, tell};

/// Whether there is a person to ask.
pub(crate) fn is_interactive() -> bool {
    stdin().is_terminal()
}

/// Asks for a line; nobody there is an error.
pub(crate) async fn ask(question: String) -> Result<String> {
    let read = tokio::task::spawn_blocking(move || {
        tell(question);
        let mut line = String::new();
        stdin().read_line(&mut line).map(|bytes| (bytes > 0).then_some(line))
    });
    match read.await?? {
        Some(line) => Ok(line.trim().to_owned()),
        None => Err(Error::new("Operation cancelled.")),
    }
}

/// Asks for a text that is not shown.
async fn ask_secret(question: &'static str) -> Result<String> {
    Ok(tokio::task::spawn_blocking(move || rpassword::prompt_password(question)).await??)
}

/// A password typed twice, or what was wrong with it, told already.
pub(crate) async fn ask_password() -> Result<Option<String>> {
    let first = ask_secret("Password: ").await?;
    let second = ask_secret("Password (again): ").await?;
    if first != second {
        complain("Error: Your passwords didn't match.");
        return Ok(None);
    }
    if first.trim().is_empty() {
        complain("Error: Blank passwords aren't allowed.");
        return Ok(None);
    }
    Ok(Some(first))
}

/// Tells what is wrong with `password`; whether nothing is.
pub(crate) fn approve(site: &Site, password: &str, about: &[(&str, &str)]) -> bool {
    let faults = validate_password(&site.settings().auth, password, about);
    for fault in &faults {
        complain(fault);
    }
    faults.is_empty()
}
