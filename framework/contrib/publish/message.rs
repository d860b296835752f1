//! What a request asks to be sent: read and checked whole before anything is.

use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Publish, Token};
use crate::channels::{GroupName, Message};
use crate::conf::Settings;

/// Longest key of a message, bytes.
const KEY_BYTES_MAX: usize = 200;

/// Why a request is refused: the status, and the words for its sender.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

/// One message as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    group: String,
    /// Text, sent as it is.
    message: Option<String>,
    /// Any JSON, sent as it is written.
    #[serde(default, deserialize_with = "some_json")]
    data: Option<Box<RawValue>>,
    /// Names the message: one that comes again is not published again.
    key: Option<String>,
}

/// `null` is a value too.
fn some_json<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// One message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) group: GroupName,
    pub(super) message: Message,
    /// Names it among the messages of all senders.
    pub(super) key: Option<String>,
}

/// A request's messages, and whether they came as a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) is_list: bool,
    pub(super) messages: Vec<Outgoing>,
}

/// Reads the body of `sender`.
pub(super) fn read(
    body: &[u8],
    sender: &Token,
    publish: &Publish,
    settings: &Settings,
) -> Result<Batch, Refused> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let written: Vec<Written> = if is_list {
        serde_json::from_slice(body).map_err(|error| malformed(&error))?
    } else {
        vec![serde_json::from_slice(body).map_err(|error| malformed(&error))?]
    };
    if written.is_empty() || written.len() > publish.batch_max {
        let words = format!("a list has 1 to {} messages", publish.batch_max);
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, words));
    }
    let bytes_max = settings.channels.message_bytes_max;
    let mut messages = Vec::with_capacity(written.len());
    for (index, written) in written.into_iter().enumerate() {
        let checked = check(written, sender, bytes_max);
        messages.push(checked.map_err(|Refused(status, words)| {
            Refused(status, if is_list { format!("message {index}: {words}") } else { words })
        })?);
    }
    Ok(Batch { is_list, messages })
}

fn check(written: Written, sender: &Token, bytes_max: usize) -> Result<Outgoing, Refused> {
    let unprocessable = |words: String| Refused(StatusCode::UNPROCESSABLE_ENTITY, words);
    let Written { group, message, data, key } = written;
    let group = GroupName::new(&group).map_err(|error| unprocessable(error.to_string()))?;
    let text = match (message, data) {
        (Some(message), None) => message,
        (None, Some(data)) => data.get().to_owned(),
        _ => return Err(unprocessable("either message or data is to be sent".to_owned())),
    };
    if !sender.may_send_to(&group) {
        let words = format!("this token may not send to group {group}");
        return Err(Refused(StatusCode::FORBIDDEN, words));
    }
    if text.len() > bytes_max {
        let words = format!("a message of {} bytes: at most {bytes_max} are carried", text.len());
        return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    if key.as_ref().is_some_and(|key| !(1..=KEY_BYTES_MAX).contains(&key.len())) {
        return Err(unprocessable(format!("a key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    let key = key.map(|key| named(sender, &key));
    Ok(Outgoing { group, message: text.into(), key })
}

/// A sender's key is nobody else's. Hashed, so that it is of one length.
fn named(sender: &Token, key: &str) -> String {
    let digest = Sha256::new().chain_update(&sender.name).chain_update([0]).chain_update(key);
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn malformed(error: &serde_json::Error) -> Refused {
    Refused(StatusCode::UNPROCESSABLE_ENTITY, format!("malformed: {error}"))
}
