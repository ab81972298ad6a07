//! Emberlog in one process: collector, embedded journal, materializer and API, and the command-line tools.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod client;
mod data_dir;
mod dlq;
mod export;
mod import;
mod init;
mod serve;
mod ship;
mod token;
mod welcome;

use std::process::ExitCode;

use materializer::program;
use materializer::rebuild::Source;
use service::configuration::{self, Configuration};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (cli, configuration) = configuration::parse::<cli::Cli>(journal::kafka::masked);
    let (telemetry, command) = cli.into_parts();
    service::run("emberlog", &telemetry, || run(command, &configuration))
}

fn run(command: cli::Command, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    match command {
        cli::Command::Serve(options) => service::block_on(serve::run(&options, configuration)),
        cli::Command::Check(options) => {
            options.data_dir.must_exist()?;
            program::check(&options.data_dir.store(), options.json, "emberlog rebuild --from journal")
        }
        cli::Command::Rebuild(options) => rebuild(&options),
        cli::Command::Resume(options) => {
            options.data_dir.must_exist()?;
            program::resume(&options.data_dir.store(), &options.options)
        }
        cli::Command::Generations(options) => {
            options.data_dir.must_exist()?;
            program::generations(&options.data_dir.store(), &options.options)
        }
        cli::Command::Init(options) => init::run(&options),
        cli::Command::Dlq(command) => dlq::run(&command),
        cli::Command::Token(command) => token::run(&command),
        cli::Command::Import(options) => import::run(&options),
        cli::Command::Ship(options) => ship::run(&options),
        cli::Command::Export(options) => export::run(&options),
        cli::Command::Archive(options) => export::archive(&options),
    }
}

fn rebuild(options: &cli::RebuildOptions) -> anyhow::Result<ExitCode> {
    options.data_dir.must_exist()?;
    let mut subscriber = journal::local::open_reader(&options.data_dir.journal())?;
    let source = match options.from {
        cli::Source::Journal => Source::Journal,
        cli::Source::Store => Source::Store,
    };
    program::rebuild(&options.data_dir.store(), &mut subscriber, source, &options.options)
}
