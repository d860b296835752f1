//! From a [`Message`] to the bytes of RFC 5322. Pure.

use lettre::Message as Composed;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Mailbox, MultiPart, SinglePart};

use super::message::{Attachment, Message};
use crate::conf;
use crate::error::{Error, Kind, Result};
use crate::signing::random_string;

/// Most addresses a mail goes to; servers must take as many (RFC 5321 section 4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;

/// Most bytes of text, HTML and attachments, before they are encoded; common servers take 25 MiB
/// encoded.
const BYTES_MAX: usize = 18 * 1024 * 1024;

/// Writes a mail out.
pub(super) fn compose(settings: &conf::Mail, message: &Message) -> Result<Composed> {
    check(message)?;
    let from = message.from.as_ref().unwrap_or(&settings.from);
    let from = mailbox("From", from)?;
    let id = format!("<{}@{}>", random_string(25), from.email.domain());
    let mut composed = Composed::builder()
        .subject(message.subject.as_str())
        .from(from)
        .message_id(Some(id))
        .date_now();
    for address in &message.to {
        composed = composed.to(mailbox("To", address)?);
    }
    for address in &message.cc {
        composed = composed.cc(mailbox("Cc", address)?);
    }
    for address in &message.bcc {
        composed = composed.bcc(mailbox("Bcc", address)?);
    }
    for address in &message.reply_to {
        composed = composed.reply_to(mailbox("Reply-To", address)?);
    }
    for (name, value) in &message.headers {
        let known = HeaderName::new_from_ascii(name.clone())
            .map_err(|_| wrong(format!("{name:?} is no name of a mail's header")))?;
        composed = composed.raw_header(HeaderValue::new(known, value.clone()));
    }
    let plain = SinglePart::plain(message.text.clone());
    let written = match (&message.html, &message.attachments[..]) {
        (None, []) => composed.singlepart(plain),
        (Some(html), []) => composed.multipart(alternative(plain, html)),
        (html, files) => {
            let mixed = MultiPart::mixed();
            let mixed = match html {
                None => mixed.singlepart(plain),
                Some(html) => mixed.multipart(alternative(plain, html)),
            };
            composed.multipart(files.iter().try_fold(mixed, attached)?)
        }
    };
    written.map_err(|error| Error::because(Kind::Mail, "writing a mail", error))
}

fn alternative(plain: SinglePart, html: &str) -> MultiPart {
    MultiPart::alternative().singlepart(plain).singlepart(SinglePart::html(html.to_owned()))
}

fn attached(mixed: MultiPart, file: &Attachment) -> Result<MultiPart> {
    let Attachment { name, content_type, bytes } = file;
    let kind = ContentType::parse(content_type)
        .map_err(|_| wrong(format!("{content_type:?}, of the attachment {name:?}, is no type")))?;
    Ok(mixed.singlepart(Part::new(name.clone()).body(bytes.clone(), kind)))
}

/// What can be told wrong before anything is written.
fn check(message: &Message) -> Result<()> {
    let lists = [&message.to, &message.cc, &message.bcc];
    let recipients: usize = lists.iter().map(|list| list.len()).sum();
    if recipients == 0 {
        return Err(wrong("it goes to nobody"));
    }
    if recipients > RECIPIENTS_MAX {
        return Err(wrong(format!("it goes to more than {RECIPIENTS_MAX} addresses")));
    }
    let attached = message.attachments.iter().map(|file| file.bytes.len());
    let html = message.html.as_ref().map_or(0, String::len);
    if message.text.len() + html + attached.sum::<usize>() > BYTES_MAX {
        return Err(wrong(format!("it is larger than {BYTES_MAX} bytes")));
    }
    let addresses = lists.into_iter().chain([&message.reply_to]).flatten();
    let headers = message.headers.iter().flat_map(|(name, value)| [name, value]);
    let files = message.attachments.iter().flat_map(|file| [&file.name, &file.content_type]);
    let one_line = [&message.subject].into_iter().chain(&message.from);
    let all = one_line.chain(addresses).chain(headers).chain(files);
    match all.into_iter().find(|text| text.contains(['\r', '\n', '\0'])) {
        Some(text) => Err(wrong(format!("the header {text:?} has a line end in it"))),
        None => Ok(()),
    }
}

fn mailbox(header: &str, address: &str) -> Result<Mailbox> {
    address.parse().map_err(|_| wrong(format!("{header}: {address:?} is no address of mail")))
}

fn wrong(words: impl std::fmt::Display) -> Error {
    Error::of(Kind::Mail, format!("a mail cannot be written: {words}"))
}
