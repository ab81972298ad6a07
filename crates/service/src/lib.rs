//! What every binary shares: logs, the HTTP server and its limits, errors as answers, health, metrics and an orderly end.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod health;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod shutdown;
pub mod telemetry;
pub mod units;

use std::io;

pub use health::Health;
pub use problem::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot listen on {address}: the address is in use, maybe by another Emberlog. Find the process with \
         `ss -ltnp 'sport = :{port}'` or `lsof -i :{port}`, or choose another address with {flag}, such as `{flag} {other}`"
    )]
    AddressInUse { address: String, port: u16, flag: &'static str, other: String },
    #[error(
        "cannot listen on {address}: {source}. Choose another address with {flag}, such as `{flag} 127.0.0.1:5000`"
    )]
    Listen { address: String, flag: &'static str, source: io::Error },
    #[error("not a log filter: {0}. Use a level (`info`) or levels of parts (`info,collector=debug`)")]
    LogFilter(String),
    #[error("logging was set up before")]
    LogTwice,
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("cannot register a metric: {0}")]
    Metric(#[from] prometheus::Error),
}
