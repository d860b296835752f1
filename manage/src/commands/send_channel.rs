//! `manage send-channel`: sends a message to the reader of a named channel of the running site.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hulse::channels::{GroupName, Message};
use hulse::{Result, server};

use crate::commands::send_group::message;
use crate::context::Context;
use crate::output::{tell, tell_bytes};

/// Sends a message to whoever reads a named channel of the running site next.
#[derive(Debug, Args)]
pub(crate) struct SendChannel {
    /// Name of the channel.
    channel: String,
    /// The text, usually JSON; `-` reads it from stdin.
    #[arg(allow_hyphen_values = true)]
    message: String,
    /// Sends it that much later; it waits in the running site.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "ask")]
    after: Option<Duration>,
    /// Waits so long for the handler's answer, and prints it.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    ask: Option<Duration>,
}

impl SendChannel {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let channel = GroupName::new(&self.channel)?;
        let settings = context.settings()?;
        let message = message(self.message, settings.channels.message_bytes_max)?;
        context.block_on(async {
            let layer = server::running_layer(&settings).await?;
            match (self.after, self.ask) {
                (Some(delay), _) => layer.send_after(&channel, delay, message).await?,
                (None, None) => layer.send(&channel, message).await?,
                (None, Some(wait)) => match layer.ask(&channel, message, wait).await? {
                    Message::Text(text) => tell(format!("{text}\n")),
                    Message::Binary(bytes) => tell_bytes(&bytes),
                },
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
