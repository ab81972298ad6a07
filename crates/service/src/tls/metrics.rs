//! What is counted and logged of TLS.

use std::net::SocketAddr;

use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};

use crate::Error;
use crate::sampler::Sampler;

/// Why a connection did not become one with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// HTTP without TLS.
    PlainHttp,
    /// Neither TLS nor HTTP.
    NotTls,
    /// The client broke it off, for instance because it does not trust the certificate.
    Alert,
    /// No common version, cipher or protocol.
    Incompatible,
    /// It took too long.
    Timeout,
    /// The connection ended.
    Closed,
}

impl Failure {
    const ALL: [Self; 6] =
        [Self::PlainHttp, Self::NotTls, Self::Alert, Self::Incompatible, Self::Timeout, Self::Closed];

    fn reason(self) -> &'static str {
        match self {
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::Alert => "alert",
            Self::Incompatible => "incompatible",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
        }
    }

    pub fn of(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>()) {
            None => Self::Closed,
            Some(rustls::Error::AlertReceived(_)) => Self::Alert,
            Some(rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. }) => Self::NotTls,
            Some(_) => Self::Incompatible,
        }
    }
}

#[derive(Debug)]
pub struct Metrics {
    failures: IntCounterVec,
    pub broken: IntGauge,
    pub not_after: Gauge,
    samplers: [Sampler; Failure::ALL.len()],
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let failures = IntCounterVec::new(
            Opts::new("emberlog_tls_handshake_failures_total", "Connections that TLS did not come about on, by reason"),
            &["reason"],
        )?;
        for failure in Failure::ALL {
            failures.with_label_values(&[failure.reason()]);
        }
        let broken = IntGauge::new(
            "emberlog_tls_files_broken",
            "1 while the certificate or its key cannot be used, and those read before stay in force",
        )?;
        let not_after = Gauge::new(
            "emberlog_tls_certificate_not_after_seconds",
            "When the certificate in force expires, since the Unix epoch",
        )?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(broken.clone()))?;
        registry.register(Box::new(not_after.clone()))?;
        Ok(Self { failures, broken, not_after, samplers: Default::default() })
    }

    pub fn failed(&self, failure: Failure, remote: SocketAddr, detail: &str) {
        self.failures.with_label_values(&[failure.reason()]).inc();
        if let Some(count) = self.samplers[failure as usize].offer() {
            tracing::warn!(reason = failure.reason(), source = %remote, count, detail, "no TLS connection came about");
        }
    }
}
