//! `emberlog-materializer`: the materializer as a process of its own, reading from Kafka, and its tools.

mod check;
mod generations;
mod progress;
mod rebuild;
mod resume;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use journal::kafka;
use journal::patient::{self, Patient};
use service::{configuration, telemetry};

pub use check::check;
pub use generations::{Options as GenerationsOptions, generations};
pub use rebuild::{Options as RebuildOptions, rebuild};
pub use resume::{Options as ResumeOptions, resume};

/// Writes the events of Apache Spark applications from Kafka into a store, in order and once
#[derive(Debug, Parser)]
#[command(name = "emberlog-materializer", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the topic until told to stop
    Run(Box<run::Options>),
    /// Make the store anew, while the old one is served or not
    Rebuild(RebuildCommand),
    /// Check the store and print its digest, while a materializer runs or not
    Check {
        #[command(flatten)]
        data_dir: DataDir,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Lead a halted materializer out
    Resume {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        options: ResumeOptions,
    },
    /// List the generations of the store that rebuilds have made, or remove old ones
    Generations {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        options: GenerationsOptions,
    },
}

#[derive(Debug, Args)]
struct RebuildCommand {
    #[command(flatten)]
    data_dir: DataDir,
    /// What to make the new store from
    #[arg(long, value_enum)]
    from: Source,
    #[command(flatten)]
    options: RebuildOptions,
    #[command(flatten)]
    kafka: kafka::Flags,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Source {
    /// Replay the topic: for a store that is lost or doubted
    Topic,
    /// Copy the events of the served store: for a new format or a new derived record
    Store,
}

/// The folder of everything that is kept.
#[derive(Debug, Clone, Args)]
pub struct DataDir {
    /// The folder that holds the store; the API reads from it
    #[arg(long = "data-dir", env = "EMBERLOG_DATA_DIR", value_name = "DIR", default_value = "./data")]
    pub path: PathBuf,
}

impl DataDir {
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// For commands on data that must be there: a mistyped folder is an error, not an empty answer.
    fn existing_store(&self) -> anyhow::Result<PathBuf> {
        let store = self.store();
        anyhow::ensure!(
            store.is_dir(),
            "{} holds no store; name the materializer's folder with --data-dir",
            self.path.display()
        );
        Ok(store)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (Cli { command, telemetry }, configuration) = configuration::parse(kafka::masked);
    service::run("emberlog-materializer", &telemetry, || match command {
        Command::Run(options) => service::block_on(run::run(&options, &configuration)),
        Command::Check { data_dir, json } => {
            check(&data_dir.existing_store()?, json, "emberlog-materializer rebuild --from topic")
        }
        Command::Resume { data_dir, options } => resume(&data_dir.existing_store()?, &options),
        Command::Generations { data_dir, options } => generations(&data_dir.existing_store()?, &options),
        Command::Rebuild(command) => rebuild_from_topic(&command),
    })
}

fn rebuild_from_topic(command: &RebuildCommand) -> anyhow::Result<ExitCode> {
    let store = command.data_dir.store();
    let registry = prometheus::Registry::new();
    let subscriber = run::subscriber(command.kafka.settings()?, &registry)?;
    let mut subscriber = Patient::new(subscriber, patient::PATIENCE);
    let source = match command.from {
        Source::Topic => crate::rebuild::Source::Journal,
        Source::Store => crate::rebuild::Source::Store,
    };
    rebuild(Path::new(&store), &mut subscriber, source, &command.options)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_conflicts() {
        super::Cli::command().debug_assert();
    }
}
