//! `site.send_mail(..)`: sending, with respect for transactions.

use super::compose::compose;
use super::message::Message;
use super::post::Post;
use crate::error::Result;
use crate::site::Site;

impl Site {
    /// Sends a mail; inside [`atomic`](Self::atomic) once the transaction has committed, and not
    /// at all if it is rolled back.
    ///
    /// # Errors
    /// It cannot be written (`is_mail`: no address, or a line end in a header), told at once also
    /// inside a transaction; or it cannot be sent.
    pub async fn send_mail(&self, message: Message) -> Result<()> {
        let composed = compose(&self.settings().mail, &message)?;
        self.on_commit(move |site| async move { Post::of(&site).send(message, composed).await })
            .await
    }

    /// As [`send_mail`](Self::send_mail), but nobody waits for the server: who asks cannot tell by
    /// the time it takes whether there was a mail. That it cannot be sent is only logged.
    ///
    /// # Errors
    /// It cannot be written (`is_mail`).
    pub async fn send_mail_soon(&self, message: Message) -> Result<()> {
        let composed = compose(&self.settings().mail, &message)?;
        self.on_commit_robust(move |site| async move {
            let post = Post::of(&site);
            if !post.is_slow() {
                return post.send(message, composed).await;
            }
            let Ok(place) = std::sync::Arc::clone(&post.waiting).try_acquire_owned() else {
                tracing::error!("a mail is dropped: as many as may be are on their way already");
                return Ok(());
            };
            site.lifecycle().spawn(async move {
                let _until_it_is_sent = place;
                if let Err(error) = post.send(message, composed).await {
                    tracing::error!(%error, "a mail was not sent");
                }
            });
            Ok(())
        })
        .await
    }

    /// Sends a mail to the site's admins (`mail.admins`); without any, nothing.
    ///
    /// # Errors
    /// As [`send_mail`](Self::send_mail).
    pub async fn mail_admins(&self, subject: &str, text: &str) -> Result<()> {
        let to = self.settings().mail.admins.clone();
        self.mail_ours(to, subject, text).await
    }

    /// Sends a mail to the site's managers (`mail.managers`); without any, nothing.
    ///
    /// # Errors
    /// As [`send_mail`](Self::send_mail).
    pub async fn mail_managers(&self, subject: &str, text: &str) -> Result<()> {
        let to = self.settings().mail.managers.clone();
        self.mail_ours(to, subject, text).await
    }

    /// The mails that were sent, if `mail.backend` is `memory`, as in tests; the last 1000.
    #[must_use]
    pub fn outbox(&self) -> Vec<Message> {
        Post::of(self).sent()
    }

    async fn mail_ours(&self, to: Vec<String>, subject: &str, text: &str) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        let settings = &self.settings().mail;
        let subject = format!("{}{subject}", settings.subject_prefix);
        let from = settings.server_from.clone();
        let message = Message { to, ..Message::new(subject, text).from(from) };
        self.send_mail(message).await
    }
}
