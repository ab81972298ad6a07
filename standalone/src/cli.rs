//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use service::{telemetry, units};

use crate::data_dir::DataDir;

/// A self-hosted, real-time backend for the events of Apache Spark applications
#[derive(Debug, Parser)]
#[command(name = "emberlog", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeOptions,
    #[command(flatten)]
    pub telemetry: telemetry::Options,
}

impl Cli {
    /// The command; without one, the server.
    pub fn into_parts(self) -> (telemetry::Options, Command) {
        (self.telemetry, self.command.unwrap_or(Command::Serve(self.serve)))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (also without a command)
    Serve(ServeOptions),
    /// Check the store and print its digest, while a server runs or not
    Check(CheckOptions),
    /// Make the store anew, while a server serves the old one or not
    Rebuild(RebuildOptions),
    /// Dead letters: what was accepted but is no event
    #[command(subcommand)]
    Dlq(DlqCommand),
}

#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Where to listen: ingest, reads, health and metrics
    #[arg(long, env = "EMBERLOG_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub listen: String,
    /// Where health and metrics listen instead
    #[arg(long, env = "EMBERLOG_ADMIN_LISTEN", value_name = "HOST:PORT")]
    pub admin_listen: Option<String>,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// A run without a sign of life for so long is lost
    #[arg(long, env = "EMBERLOG_LOST_AFTER", default_value = "2m", value_parser = units::duration)]
    pub lost_after: Duration,
    #[command(flatten)]
    pub ingest: IngestOptions,
    #[command(flatten)]
    pub storage: StorageOptions,
    /// Connections at once; those above it wait
    #[arg(long, env = "EMBERLOG_MAX_CONNECTIONS", default_value_t = 16_384)]
    pub max_connections: usize,
    /// How long requests may go on after SIGTERM
    #[arg(long, env = "EMBERLOG_SHUTDOWN_GRACE", default_value = "20s", value_parser = units::duration)]
    pub shutdown_grace: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ingest")]
pub struct IngestOptions {
    /// The largest request body, as sent
    #[arg(long, env = "EMBERLOG_MAX_BODY", value_name = "SIZE", default_value = "32MiB", value_parser = units::size)]
    pub max_body: usize,
    /// The largest request body, decompressed
    #[arg(long, env = "EMBERLOG_MAX_DECOMPRESSED", value_name = "SIZE", default_value = "256MiB", value_parser = units::size)]
    pub max_decompressed: usize,
    /// Bytes of all requests in memory; over it they are answered 503
    #[arg(long, env = "EMBERLOG_MAX_IN_FLIGHT", value_name = "SIZE", default_value = "1GiB", value_parser = units::size)]
    pub max_in_flight: usize,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageOptions {
    /// Keep at most so much of the journal, compressed [default: all]
    #[arg(long, env = "EMBERLOG_JOURNAL_RETENTION_SIZE", value_name = "SIZE", value_parser = units::size)]
    pub journal_retention_size: Option<usize>,
    /// Keep the journal at most so long [default: for ever]
    #[arg(long, env = "EMBERLOG_JOURNAL_RETENTION_AGE", value_name = "DURATION", value_parser = units::duration)]
    pub journal_retention_age: Option<Duration>,
    /// Memory for decompressed blocks of the store
    #[arg(long, env = "EMBERLOG_BLOCK_CACHE", value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub block_cache: usize,
    /// Size of one memtable of the store; up to three are in memory
    #[arg(long, env = "EMBERLOG_MEMTABLE", value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub memtable: usize,
}

impl StorageOptions {
    pub fn store(&self) -> store::Options {
        store::Options { block_cache: self.block_cache, memtable: self.memtable }
    }
}

#[derive(Debug, Clone, Args)]
pub struct CheckOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Replay the journal: for a store that is lost or doubted
    Journal,
    /// Copy the events of the served store: for a new format or a new derived record
    Store,
}

#[derive(Debug, Clone, Args)]
pub struct RebuildOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    /// What to make the new store from
    #[arg(long, value_enum)]
    pub from: Source,
    /// Go on although the journal no longer holds all that the store does
    #[arg(long)]
    pub accept_loss: bool,
    /// Give up what an interrupted rebuild has made
    #[arg(long)]
    pub restart: bool,
    /// Remove the old store once the new one is served
    #[arg(long)]
    pub drop_old: bool,
    /// How long to wait until a running server has taken the new store over
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = units::duration)]
    pub patience: Duration,
}

#[derive(Debug, Clone, Subcommand)]
pub enum DlqCommand {
    /// One line for each dead letter, oldest first
    List(DlqListOptions),
    /// What is known of one dead letter, then its bytes
    Show(DlqShowOptions),
    /// Send dead letters to a server again
    Replay(DlqReplayOptions),
}

#[derive(Debug, Clone, Args)]
pub struct DlqListOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DlqShowOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    /// The number that `list` prints first
    pub id: u64,
    /// Print only the bytes, for example to mend them
    #[arg(long)]
    pub raw: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DlqReplayOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    /// The numbers that `list` prints first
    #[arg(required_unless_present = "all")]
    pub ids: Vec<u64>,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["ids", "with"])]
    pub all: bool,
    /// Send these bytes instead, for example mended ones
    #[arg(long, value_name = "FILE")]
    pub with: Option<std::path::PathBuf>,
    /// The server to send to
    #[arg(long, env = "EMBERLOG_URL", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    pub url: String,
}
