//! Tokens and TLS of a process, by its flags.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::auth::Guard;
use crate::tls::Tls;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Security")]
#[group(skip)]
pub struct Flags {
    /// Refuse requests without one of the tokens in this file, which `emberlog token new` makes [default: let all through]
    #[arg(long, env = "EMBERLOG_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Speak TLS, with this certificate and those between it and its authority, in PEM
    #[arg(long, env = "EMBERLOG_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, env = "EMBERLOG_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// The same on every listener of the process.
#[derive(Debug)]
pub(crate) struct Security {
    pub guard: Arc<Guard>,
    pub tls: Option<Tls>,
}

impl Security {
    pub async fn start(flags: &Flags, registry: &Registry, shutdown: &CancellationToken) -> Result<Self, Error> {
        let guard = Guard::start(flags.tokens.as_deref(), registry, shutdown.clone()).await?;
        let tls = match (&flags.tls_cert, &flags.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::start(certificate, key, registry, shutdown.clone()).await?),
            _ => None,
        };
        Ok(Self { guard, tls })
    }

    /// Where others reach it: a socket on all interfaces by the name of this machine.
    pub fn url(&self, listener: &TcpListener) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        // A bound socket has an address.
        let Ok(address) = listener.local_addr() else { return String::new() };
        let machine = rustix::system::uname();
        match machine.nodename().to_str() {
            Ok(name) if address.ip().is_unspecified() && !name.is_empty() => {
                format!("{scheme}://{name}:{}", address.port())
            }
            _ => format!("{scheme}://{address}"),
        }
    }

    /// What is open to the network at this socket that should not be.
    pub fn exposure(&self, listener: &TcpListener) -> Option<&'static str> {
        if listener.local_addr().is_ok_and(|it| it.ip().is_loopback()) {
            return None;
        }
        match (self.guard.is_on(), self.tls.is_some()) {
            (false, _) => Some(
                "NO TOKENS: whoever reaches this address may read, send and delete everything. Start the server with \
                 --tokens FILE, made by `emberlog token new`, and with --tls-cert and --tls-key",
            ),
            (true, false) => Some(
                "NO TLS: tokens and events travel in clear, and whoever listens on the way can use them. Start the \
                 server with --tls-cert FILE and --tls-key FILE, unless something before it does TLS",
            ),
            (true, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Tokens;

    #[tokio::test]
    async fn what_is_open_to_a_network_is_told_and_what_is_not_is_not() {
        let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::new());
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let [certificate, key] = ["tls.crt", "tls.key"].map(|it| dir.path().join(it));
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let tls = Tls::start(&certificate, &key, &registry, CancellationToken::new()).await.unwrap();
        for (tokens, tls, says) in [
            (None, None, Some("NO TOKENS")),
            (None, Some(tls.clone()), Some("NO TOKENS")),
            (Some(Tokens::default()), None, Some("NO TLS")),
            (Some(Tokens::default()), Some(tls), None),
        ] {
            let guard = Guard::with(tokens, &Registry::new()).unwrap();
            let security = Security { guard, tls };
            for (address, is_open) in [("0.0.0.0:0", true), ("127.0.0.1:0", false), ("127.9.9.9:0", false)] {
                let listener = TcpListener::bind(address).await.unwrap();
                let said = security.exposure(&listener);
                assert_eq!(said.is_some(), is_open && says.is_some(), "{address} {says:?}");
                assert!(said.is_none_or(|it| it.starts_with(says.unwrap())), "{said:?}");
                let (url, is_tls) = (security.url(&listener), security.tls.is_some());
                assert!(url.starts_with(if is_tls { "https://" } else { "http://" }), "{url}");
                // No client can connect to that.
                assert!(!url.contains("0.0.0.0"), "{url}");
            }
        }
    }
}
