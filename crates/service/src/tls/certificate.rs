//! A certificate and its key, from PEM to what handshakes need.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::{Error, files};

pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// Since the Unix epoch.
    pub not_after: Duration,
}

impl Identity {
    pub fn of([certificate, key]: &[PathBuf; 2], [chain, secret]: &files::Contents<2>) -> Result<Self, Error> {
        let chain = read_chain(certificate, &chain.bytes)?;
        secret.warn_if_open_to_all(key, "whoever has the key can pass for this server");
        let not_after = chain.first().map(|leaf| expiry(certificate, leaf)).transpose()?.unwrap_or_default();
        let private = read_key(key, &secret.bytes)?;
        let wrong = |error: rustls::Error| {
            let problem = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("it does not belong to the key in {}", key.display())
                }
                error => error.to_string(),
            };
            Error::Tls { path: certificate.clone(), problem }
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), not_after })
    }
}

fn read_chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |problem: String| Error::Tls { path: path.to_owned(), problem };
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| wrong(said(&error)))?;
    match chain.is_empty() {
        true => Err(wrong("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned())),
        false => Ok(chain),
    }
}

fn read_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => {
                "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----) that is not encrypted".to_owned()
            }
            error => said(&error),
        };
        Error::Tls { path: path.to_owned(), problem }
    })
}

/// Without the text that is wrong: it may be part of a key.
fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section of PEM has no end (-----END ...-----)".to_owned(),
        pem::Error::Base64Decode(_) => "a section of PEM is no valid Base64".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

fn expiry(path: &Path, leaf: &CertificateDer<'_>) -> Result<Duration, Error> {
    let certificate = Certificate::from_der(leaf).map_err(|error| Error::Tls {
        path: path.to_owned(),
        problem: format!("its first certificate is damaged: {error}"),
    })?;
    Ok(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}
