//! `make bench`: what every stage can do, beside what the machine could.

mod client;
mod machine;
mod parts;
mod records;
mod report;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use report::{Figure, Report};

/// Measures every stage with realistic Spark events, each figure beside its limit
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Events to apply
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Events to send over HTTP, in each part that does
    #[arg(long, default_value_t = 300_000)]
    requests: u64,
    /// Runs that send at the same time
    #[arg(long, default_value_t = 300)]
    runs: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a part sends at a steady rate
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where to put data, on the disk to be measured; removed at the end
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Where to write the figures as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// HTTP to journal
    Collect,
    /// Journal to store
    Apply,
    /// The whole server: from sent to visible, and reading
    Serve,
    /// 10,000 silent connections
    Idle,
    /// Making the store anew
    Rebuild,
    /// Event logs in and out
    Logs,
    /// The three programs on a real Kafka
    Kafka,
}

impl Part {
    fn run(self, context: &parts::Context) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Collect => parts::collect::run(context),
            Self::Apply => parts::apply::run(context),
            Self::Serve => parts::serve::run(context),
            Self::Idle => parts::idle::run(context),
            Self::Rebuild => parts::rebuild::run(context),
            Self::Logs => parts::logs::run(context),
            Self::Kafka => parts::kafka::run(context),
        }
    }
}

fn main() -> ExitCode {
    if let Some(role) = server::role() {
        return server::be(role);
    }
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", service::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    std::fs::create_dir_all(&cli.dir).with_context(|| cli.dir.display().to_string())?;
    let folder = tempfile::tempdir_in(&cli.dir)?;
    let context = parts::Context {
        dir: folder.path().to_owned(),
        events: cli.events,
        requests: cli.requests.max(1_000),
        runs: cli.runs.max(1),
        seed: cli.seed,
        seconds: Duration::from_secs(cli.seconds),
    };
    let mut report = Report { machine: machine::Machine::look(), figures: Vec::new() };
    for part in Part::value_variants().iter().filter(|part| cli.only.is_empty() || cli.only.contains(part)) {
        eprintln!("measuring {part:?}");
        report.figures.extend(part.run(&context)?);
    }
    let machine = &report.machine;
    println!("{} cores, {}, load {:.1} before", machine.cores, machine.processor, machine.load);
    print!("{}", report.table());
    std::fs::write(&cli.json, serde_json::to_vec_pretty(&report)?).with_context(|| cli.json.display().to_string())?;
    println!("\nAlso in {}", cli.json.display());
    Ok(())
}
