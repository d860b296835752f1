//! A mail server, by way of `lettre`.
//!
//! Invariant: the encryption that was asked for is there before a name, a password or a mail is
//! said; a server that does not offer it, or answers anything but its start, gets nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Composed, Tokio1Executor};
use tokio::sync::OnceCell;

use crate::conf::{Mail, MailSecurity, Settings};
use crate::error::{Error, Kind, Result};

/// The server of the settings.
pub(super) struct Server {
    settings: Mail,
    authority: Option<PathBuf>,
    /// Made at the first mail: reading the system's authorities takes a while. It opens a
    /// connection for each mail and closes it behind it.
    transport: OnceCell<AsyncSmtpTransport<Tokio1Executor>>,
}

impl Server {
    pub(super) fn new(settings: &Settings) -> Self {
        let ca = &settings.mail.ca;
        let authority = (!ca.as_os_str().is_empty()).then(|| settings.resolve(ca));
        Self { settings: settings.mail.clone(), authority, transport: OnceCell::new() }
    }

    pub(super) async fn send(&self, composed: Composed) -> Result<()> {
        let transport = self.transport.get_or_try_init(|| self.connect()).await?;
        let Mail { host, port, timeout, .. } = &self.settings;
        // The whole conversation, not only each word of it.
        let patience = Duration::from_secs(timeout.saturating_mul(3));
        let doing = || format!("sending a mail to {host}:{port}");
        match tokio::time::timeout(patience, transport.send(composed)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Error::because(Kind::Mail, doing(), error)),
            Err(_) => Err(Error::of(Kind::Mail, format!("{}: no answer in time", doing()))),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
        let (settings, authority) = (self.settings.clone(), self.authority.clone());
        tokio::task::spawn_blocking(move || transport(&settings, authority.as_deref())).await?
    }
}

fn transport(
    settings: &Mail,
    authority: Option<&Path>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let tls = match settings.security {
        MailSecurity::None => Tls::None,
        MailSecurity::Starttls => Tls::Required(parameters(&settings.host, authority)?),
        MailSecurity::Tls => Tls::Wrapper(parameters(&settings.host, authority)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
        .port(settings.port)
        .timeout(Some(Duration::from_secs(settings.timeout)))
        .tls(tls);
    if !settings.username.is_empty() {
        let (name, password) = (settings.username.clone(), settings.password.expose().to_owned());
        builder = builder.credentials(Credentials::new(name, password));
    }
    Ok(builder.build())
}

fn parameters(host: &str, authority: Option<&Path>) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = authority {
        let doing = || format!("reading mail.ca, {}", path.display());
        let pem = std::fs::read(path).map_err(|error| Error::from(error).context(doing()))?;
        let known = Certificate::from_pem(&pem)
            .map_err(|error| Error::because(Kind::Mail, doing(), error))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(known);
    }
    builder
        .build_rustls()
        .map_err(|error| Error::because(Kind::Mail, "preparing TLS for mail", error))
}
