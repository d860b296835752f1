//! `manage send-group`: sends a message to a group of the running site.

use std::io::Read;
use std::process::ExitCode;

use clap::Args;
use hulse::channels::{GroupName, Message};
use hulse::{Error, Result, server};

use crate::context::Context;
use crate::output::tell;

/// Sends a message to everybody in a group of the running site, and prints its position.
#[derive(Debug, Args)]
pub(crate) struct SendGroup {
    /// Name of the group.
    group: String,
    /// The text, usually JSON; `-` reads it from stdin.
    #[arg(allow_hyphen_values = true)]
    message: String,
}

impl SendGroup {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let group = GroupName::new(&self.group)?;
        let settings = context.settings()?;
        let message = message(self.message, settings.channels.message_bytes_max)?;
        context.block_on(async {
            let layer = server::running_layer(&settings).await?;
            let position = layer.publish(&group, message).await?;
            tell(format!("{position}\n"));
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The message a command was given, or what stdin holds, without the newline at its end. Bytes that
/// are no text are sent as bytes.
pub(crate) fn message(word: String, bytes_max: usize) -> Result<Message> {
    if word != "-" {
        return Ok(word.into());
    }
    let mut bytes = Vec::new();
    // The newline and one more: what is longer is refused by the layer, in its own words.
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(3);
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from(error).context("reading the message from stdin"))?;
    Ok(match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.ends_with('\n') {
                text.pop();
            }
            text.into()
        }
        Err(bytes) => bytes.into_bytes().into(),
    })
}
