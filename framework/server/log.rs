//! Where the log goes.

use tracing_subscriber::EnvFilter;

use crate::conf;
use crate::error::{Error, Kind, Result};

/// Sends the log of this process to stderr, as the settings say. The first call counts.
///
/// # Errors
/// `log.level` is no filter.
pub fn start_log(settings: &conf::Log) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| Error::because(Kind::Settings, "reading log.level", error))?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call finds the first one's subscriber in place: a test, or a command that calls
    // another.
    let _already = if settings.format == "json" { base.json().try_init() } else { base.try_init() };
    Ok(())
}
