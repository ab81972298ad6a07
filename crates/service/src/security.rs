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

    pub fn url(&self, listener: &TcpListener) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        // A bound socket has an address.
        listener.local_addr().map(|address| format!("{scheme}://{address}")).unwrap_or_default()
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
