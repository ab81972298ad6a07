//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use journal::kafka;
use service::auth::Scope;
use service::{telemetry, units};

use crate::client;
use crate::data_dir::DataDir;
use crate::dlq::Id;
use crate::export;
use crate::import;
use crate::ship;

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
        (self.telemetry, self.command.unwrap_or(Command::Serve(Box::new(self.serve))))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (also without a command)
    Serve(Box<ServeOptions>),
    /// Check the store and print its digest, while a server runs or not
    Check(CheckOptions),
    /// Make the store anew, while a server serves the old one or not
    Rebuild(RebuildOptions),
    /// Lead a halted materializer out
    Resume(ResumeOptions),
    /// List the generations of the store that rebuilds have made, or remove old ones
    Generations(GenerationsOptions),
    /// Create the topics on Kafka, and check them
    Init(InitOptions),
    /// Dead letters: what was accepted but is no event
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Tokens for servers that are started with --tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Take in the event logs that Spark has written
    Import(Box<import::Options>),
    /// Follow the event logs of running applications, and send what is new
    Ship(ship::Options),
    /// Write a run as the event logs that Spark would have written
    Export(export::Options),
    /// Write finished runs to a folder or bucket that a Spark History Server reads
    Archive(export::ArchiveOptions),
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
    #[command(flatten)]
    pub reads: api::Flags,
    #[command(flatten)]
    pub ingest: collector::Flags,
    #[command(flatten)]
    pub store: materializer::Flags,
    #[command(flatten)]
    pub journal: JournalOptions,
    #[command(flatten)]
    pub server: service::server::Flags,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Journal")]
pub struct JournalOptions {
    /// Keep at most so much of the journal, compressed [default: all]
    #[arg(long, env = "EMBERLOG_JOURNAL_RETENTION_SIZE", value_name = "SIZE", value_parser = units::size)]
    pub journal_retention_size: Option<usize>,
    /// Keep the journal at most so long [default: for ever]
    #[arg(long, env = "EMBERLOG_JOURNAL_RETENTION_AGE", value_name = "DURATION", value_parser = units::duration)]
    pub journal_retention_age: Option<Duration>,
    /// Keep dead letters at most so long, and as much as a day more
    #[arg(long, env = "EMBERLOG_DLQ_RETENTION", value_name = "DURATION", default_value = "30d", value_parser = units::duration)]
    pub dlq_retention: Duration,
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
    #[command(flatten)]
    pub options: materializer::program::RebuildOptions,
}

#[derive(Debug, Clone, Args)]
pub struct ResumeOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    #[command(flatten)]
    pub options: materializer::program::ResumeOptions,
}

#[derive(Debug, Clone, Args)]
pub struct GenerationsOptions {
    #[command(flatten)]
    pub data_dir: DataDir,
    #[command(flatten)]
    pub options: materializer::program::GenerationsOptions,
}

#[derive(Debug, Clone, Args)]
pub struct InitOptions {
    /// Of the topic of events; fixed for its life
    #[arg(long, env = "EMBERLOG_PARTITIONS", value_name = "COUNT", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// Brokers that keep each record; 1 for a single broker
    #[arg(long, env = "EMBERLOG_REPLICATION_FACTOR", value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub replication_factor: u16,
    /// How long Kafka keeps events; what has expired can not be replayed [default: for ever]
    #[arg(long, env = "EMBERLOG_RETENTION", value_name = "DURATION", value_parser = units::duration)]
    pub retention: Option<Duration>,
    /// How long Kafka keeps dead letters
    #[arg(long, env = "EMBERLOG_DLQ_RETENTION", value_name = "DURATION", default_value = "30d", value_parser = units::duration)]
    pub dlq_retention: Duration,
    /// How long to wait for the brokers
    #[arg(long, env = "EMBERLOG_PATIENCE", value_name = "DURATION", default_value = "2m", value_parser = units::duration)]
    pub patience: Duration,
    // Behind the command's own: a heading stays for what follows.
    #[command(flatten)]
    pub kafka: kafka::Flags,
    #[command(flatten)]
    pub dlq: kafka::DlqFlags,
}

/// Where dead letters are: in the server's folder, or with `--kafka-brokers` in a topic.
#[derive(Debug, Clone, Args)]
pub struct DlqSource {
    #[command(flatten)]
    pub data_dir: DataDir,
    #[command(flatten)]
    pub kafka: kafka::OptionalFlags,
    #[command(flatten)]
    pub dlq: kafka::DlqFlags,
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
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub source: DlqSource,
}

#[derive(Debug, Clone, Args)]
pub struct DlqShowOptions {
    /// The number that `list` prints first
    pub id: Id,
    /// Print only the bytes, for example to mend them
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub source: DlqSource,
}

#[derive(Debug, Clone, Args)]
pub struct DlqReplayOptions {
    /// The numbers that `list` prints first
    #[arg(required_unless_present = "all")]
    pub ids: Vec<Id>,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["ids", "with"])]
    pub all: bool,
    /// Send these bytes instead, for example mended ones
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
    #[command(flatten)]
    pub source: DlqSource,
    #[command(flatten)]
    pub server: client::Flags,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once, and the server's file gets only its hash
    New(TokenOptions),
    /// The same for a token that you have already, read from standard input
    Hash(TokenOptions),
}

#[derive(Debug, Clone, Args)]
pub struct TokenOptions {
    /// What it allows; several with commas
    #[arg(long = "scope", value_name = "SCOPE", value_enum, required = true, value_delimiter = ',')]
    pub scopes: Vec<Scope>,
    /// Whose it is: letters, digits, `-`, `_`, `.` and `@`. Shown in the server's log [default: a name made of its hash]
    #[arg(long)]
    pub name: Option<String>,
    /// Append its line to this file; a new file is readable by its owner only. Running servers take it in within seconds
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_conflicts() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_commands_own_flags_are_not_listed_among_those_of_kafka() {
        let mut cli = super::Cli::command();
        cli.build();
        for (command, flags) in [
            (&["init"][..], &["partitions", "replication-factor", "retention", "dlq-retention", "patience"][..]),
            (&["dlq", "list"], &["json"]),
            (&["dlq", "show"], &["raw"]),
            (&["dlq", "replay"], &["all", "with"]),
        ] {
            let found = command.iter().try_fold(&cli, |it, name| it.find_subcommand(name)).unwrap();
            for flag in flags {
                let arg = found.get_arguments().find(|it| it.get_long() == Some(flag)).unwrap();
                assert_eq!(arg.get_help_heading(), None, "--{flag} of {command:?}");
            }
        }
    }
}
