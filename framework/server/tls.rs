//! TLS: certificate and key from files, read by each worker when it starts, so that a reload
//! brings new ones.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

use crate::conf::Settings;
use crate::error::{Error, Kind, Result};

/// HTTP/2, as the two sides call it. RFC 9113 §3.1.
pub(super) const H2: &[u8] = b"h2";

/// What encrypts the connections, if the settings name a certificate.
pub(super) fn config(settings: &Settings) -> Result<Option<Arc<ServerConfig>>> {
    let server = &settings.server;
    if server.tls_cert.as_os_str().is_empty() {
        return Ok(None);
    }
    let cert = settings.resolve(&server.tls_cert);
    let key = settings.resolve(&server.tls_key);
    let certificates = certificates(&cert)?;
    let private =
        PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable("key", &key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| unusable("certificate", &cert, &error))?
        .with_no_client_auth()
        .with_single_cert(certificates, private);
    let mut config = config.map_err(|error| unusable("certificate", &cert, &error))?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unusable("certificate", path, &error))?;
    if certificates.is_empty() {
        return Err(unusable("certificate", path, &"there is none in it"));
    }
    Ok(certificates)
}

fn unusable(what: &str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    let words = format!("reading the TLS {what} {}: {why}", path.display());
    Error::of(Kind::Settings, words.replace('\n', " "))
}
