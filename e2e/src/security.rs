//! Tokens and certificates for a deployment, as an operator makes them.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::client::Client;
use crate::process::said;
use crate::server::command;

/// Makes a token with `emberlog token new` and adds it to a file.
///
/// # Panics
/// If that fails.
pub fn new_token(file: &Path, name: &str, scope: &str) -> String {
    let mut command = command(&["token", "new", "--name", name, "--scope", scope, "--tokens"]);
    let output = command.arg(file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A private authority, and a certificate of it in files for a server.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    /// Its own certificate is `ca.pem` in the folder.
    pub fn new(dir: &Path) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), dir: dir.to_owned() };
        authority.issue();
        authority
    }

    /// Another certificate and key, in the place of those before.
    pub fn issue(&self) {
        let mut params = CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned)).unwrap();
        params.distinguished_name.push(DnType::CommonName, "a server");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.dir.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(self.dir.join("tls.key"), key.serialize_pem()).unwrap();
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.join("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("tls.key")
    }

    pub fn own_certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }
}

/// The certificate of the authority of a server with these flags.
pub(crate) fn authority_of(flags: &[&str]) -> Option<PathBuf> {
    let certificate = flags.iter().skip_while(|flag| **flag != "--tls-cert").nth(1)?;
    Some(Path::new(certificate).with_file_name("ca.pem"))
}

/// A client that trusts it.
pub(crate) fn trusting(client: Client, authority: Option<&Path>) -> Client {
    match authority {
        Some(authority) => client.trusting(authority),
        None => client,
    }
}
