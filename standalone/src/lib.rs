//! Emberlog in one process: collector, embedded journal, materializer and API, and the command-line tools.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod cli;
mod data_dir;
mod dlq;
mod progress;
mod rebuild;
mod serve;
mod welcome;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (telemetry, command) = cli::Cli::parse().into_parts();
    let logging = service::telemetry::init(&telemetry);
    let result = logging.map_err(anyhow::Error::from).and_then(|()| match command {
        cli::Command::Serve(options) => serve::run(&options),
        cli::Command::Check(options) => check::run(&options),
        cli::Command::Rebuild(options) => rebuild::run(&options),
        cli::Command::Dlq(command) => dlq::run(&command),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("emberlog: {error:#}");
            ExitCode::FAILURE
        }
    }
}
