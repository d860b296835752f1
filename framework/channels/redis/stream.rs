//! A connection to Redis, with or without TLS.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::address::{Host, Trust};

/// How long a connection may take, TLS included.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What a link reads and writes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) async fn connect(host: &Host, tls: Option<&Trust>) -> io::Result<Box<dyn Stream>> {
    let connecting = async {
        let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match tls {
            None => Box::new(stream) as Box<dyn Stream>,
            Some(trust) => Box::new(tls::connect(host, trust, stream).await?),
        })
    };
    tokio::time::timeout(CONNECT_MAX, connecting).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 5 seconds"))
    })
}

mod tls {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::{Host, TlsConnector, Trust};

    pub(super) async fn connect(
        host: &Host,
        trust: &Trust,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(trust)? {
            // One that cannot be read is no reason to doubt the others.
            let _unreadable = roots.add(certificate);
        }
        if roots.is_empty() {
            return Err(io::Error::other("no certificate authority is known: name one with ?ca="));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.name.clone()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn certificates(trust: &Trust) -> io::Result<Vec<CertificateDer<'static>>> {
        let path = match trust {
            Trust::System => return Ok(rustls_native_certs::load_native_certs().certs),
            Trust::File(path) => path,
        };
        let unreadable = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("reading the certificates in {}: {error}", path.display()))
        };
        read(path).map_err(|error| unreadable(&error))
    }

    fn read(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
        let text = std::fs::read(path)?;
        CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

use tokio_rustls::TlsConnector;
