//! What every binary shares: logs, the HTTP server and its limits, tokens and TLS, errors as answers, health, metrics and an
//! orderly end.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
mod chain;
pub mod configuration;
mod files;
pub mod health;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod output;
pub mod problem;
mod sampler;
pub mod security;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod units;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

pub use chain::chain;
pub use configuration::Configuration;
pub use health::Health;
pub use problem::Problem;
pub use server::Server;

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
    #[error("cannot read {}: {source}", path.display())]
    ReadFile { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    WriteFile { path: PathBuf, source: io::Error },
    #[error("{} has more than {limit} bytes", path.display())]
    FileTooLarge { path: PathBuf, limit: u64 },
    #[error("{}, line {line}: {problem}", path.display())]
    TokensLine { path: PathBuf, line: usize, problem: auth::Problem },
    #[error("{} has more than {limit} tokens", path.display())]
    TooManyTokens { path: PathBuf, limit: usize },
    #[error(transparent)]
    Token(#[from] auth::Problem),
    #[error("the system gives no random numbers")]
    Random,
    #[error("{}: {problem}", path.display())]
    Tls { path: PathBuf, problem: String },
}

/// Runs a binary: sets its logger, and tells why it failed. `name` is the program's. That nobody reads what it writes to
/// [`output::Output`] is no failure.
pub fn run(name: &str, telemetry: &telemetry::Options, program: impl FnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    let result = telemetry::init(telemetry).map_err(anyhow::Error::from).and_then(|()| program());
    match output::until_closed(result) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Runs a future on a runtime of its own, to its end.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Runtime::new()?.block_on(future)
}
