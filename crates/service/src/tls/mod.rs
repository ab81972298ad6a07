//! TLS for every listener of the process, by one certificate that is read again when it changes.

mod certificate;
mod metrics;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use prometheus::Registry;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{Error, files};
use certificate::Identity;
pub use metrics::Failure;
use metrics::Metrics;

/// Clones share the certificate. Handshakes take the one that is in force when they begin.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: RwLock<Arc<ServerConfig>>,
    metrics: Metrics,
}

impl Tls {
    /// Reads the certificate and its key, and from then on takes their changes in until `shutdown`.
    pub async fn start(
        certificate: &Path,
        key: &Path,
        registry: &Registry,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let paths = [certificate.to_owned(), key.to_owned()];
        let read = files::read(&paths).await?;
        let identity = Identity::of(&paths, &read)?;
        let metrics = Metrics::register(registry)?;
        let tls = Self(Arc::new(Shared { config: RwLock::new(identity.config.clone()), metrics }));
        tls.take(identity);
        let (following, watched) = (tls.clone(), paths.clone());
        let changed = move |read| following.changed(&paths, read);
        tokio::spawn(files::follow(watched, read, changed, shutdown));
        Ok(tls)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.config.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(crate) fn failed(&self, failure: Failure, remote: std::net::SocketAddr, detail: &str) {
        self.0.metrics.failed(failure, remote, detail);
    }

    fn changed(&self, paths: &[PathBuf; 2], read: Result<files::Contents<2>, Error>) {
        let identity = read.and_then(|read| Identity::of(paths, &read));
        self.0.metrics.broken.set(identity.is_err().into());
        match identity {
            Ok(identity) => self.take(identity),
            Err(error) => tracing::error!(
                "the certificate or its key changed and cannot be used; those read before stay in force: {error}"
            ),
        }
    }

    fn take(&self, identity: Identity) {
        let Identity { config, not_after } = identity;
        self.0.metrics.not_after.set(not_after.as_secs_f64());
        let ends = SystemTime::UNIX_EPOCH + not_after;
        let not_after = humantime::format_rfc3339_seconds(ends);
        match SystemTime::now() < ends {
            true => tracing::info!(%not_after, "certificate in force"),
            false => tracing::warn!(%not_after, "the certificate has expired: clients will refuse it"),
        }
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}
