//! A mail as a site writes it.

/// A mail: text, and if there is one the same as HTML, for `site.send_mail(message)`.
///
/// ```
/// # async fn tell(site: &hulse::Site) -> hulse::Result<()> {
/// use hulse::mail::Message;
///
/// let message = Message::new("Welcome", "Nice to have you.")
///     .html("<p>Nice to have you.</p>")
///     .to("Ann <ann@example.com>");
/// site.send_mail(message).await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// Whom it comes from; unless said, the setting `mail.from`.
    pub from: Option<String>,
    /// Whom it goes to: `ann@example.com`, `Ann <ann@example.com>`.
    pub to: Vec<String>,
    /// Who else gets it.
    pub cc: Vec<String>,
    /// Who gets it without the others knowing.
    pub bcc: Vec<String>,
    /// Whom an answer goes to.
    pub reply_to: Vec<String>,
    /// Headers besides, by name.
    pub headers: Vec<(String, String)>,
    /// Files that come along.
    pub attachments: Vec<Attachment>,
}

/// A file that comes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// What it is: `application/pdf`.
    pub content_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Message {
    /// A mail to nobody yet.
    pub fn new(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { subject: subject.into(), text: text.into(), ..Self::default() }
    }

    /// With the same as HTML.
    #[must_use]
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    /// From somebody else than `mail.from`.
    #[must_use]
    pub fn from(mut self, address: impl Into<String>) -> Self {
        self.from = Some(address.into());
        self
    }

    /// To one more.
    #[must_use]
    pub fn to(mut self, address: impl Into<String>) -> Self {
        self.to.push(address.into());
        self
    }

    /// With a file.
    #[must_use]
    pub fn attach(
        mut self,
        name: impl Into<String>,
        content_type: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        let (name, content_type, bytes) = (name.into(), content_type.into(), bytes.into());
        self.attachments.push(Attachment { name, content_type, bytes });
        self
    }
}
