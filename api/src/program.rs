//! `emberlog-api`: the API as a process of its own, beside the materializer that writes the store.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use service::{Configuration, Server, configuration, server, telemetry, units};
use store::Secondary;
use store::secondary::{self, Readiness};

use crate::Flags;

/// Serves the events of Apache Spark applications from the store that a materializer writes
#[derive(Debug, Parser)]
#[command(name = "emberlog-api", version, max_term_width = 100)]
struct Cli {
    /// Where to listen: reads, health and metrics
    #[arg(long, env = "EMBERLOG_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:5001")]
    listen: String,
    /// Where health and metrics listen instead
    #[arg(long, env = "EMBERLOG_ADMIN_LISTEN", value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// The materializer's own folder; nothing of the store in it is written to
    #[arg(long, env = "EMBERLOG_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// A folder for this process alone, for what RocksDB notes while it reads [default: api below --data-dir]
    #[arg(long, env = "EMBERLOG_SECONDARY_DIR", value_name = "DIR")]
    secondary_dir: Option<PathBuf>,
    #[command(flatten)]
    reads: Flags,
    /// Memory for decompressed blocks of the store
    #[arg(long, env = "EMBERLOG_BLOCK_CACHE", value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    block_cache: usize,
    #[command(flatten)]
    server: server::Flags,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (cli, configuration) = configuration::parse::<Cli>(configuration::plain);
    service::run("emberlog-api", &cli.telemetry, || service::block_on(run(&cli, &configuration)))
}

async fn run(cli: &Cli, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    configuration.log();
    let server = Server::bind(&cli.listen, cli.admin_listen.as_deref(), &cli.server).await?;
    let (registry, shutdown) = (server.registry.clone(), server.shutdown.clone());
    let condition = server.health.register("store");
    let shown = condition.clone();
    let told = move |readiness| match readiness {
        Readiness::Ready => shown.ready(),
        Readiness::NotReady(why) => shown.not_ready(why),
    };
    let secondary = Secondary::start(options(cli), secondary::Metrics::new(&registry)?, told)
        .context("cannot follow the store; a folder of its own is chosen with --secondary-dir")?;
    let reader = secondary.reader();
    registry.register(Box::new(store::metrics::RocksDb::new(reader.clone())?))?;
    let api = crate::router(reader, (&cli.reads).into(), &registry)?;
    let ready = server.health.register("server");
    ready.ready();
    tracing::info!(url = server.url(), "listening");
    let running = server.start([api]);
    shutdown.cancelled().await;
    ready.not_ready("shutting down");
    running.stop().await;
    // Its thread may be opening a large store.
    tokio::task::spawn_blocking(move || drop(secondary)).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn options(cli: &Cli) -> secondary::Options {
    let dir = cli.secondary_dir.clone().unwrap_or_else(|| cli.data_dir.join("api"));
    let options = secondary::Options::new(cli.data_dir.join("store"), dir);
    let database = store::Options { block_cache: cli.block_cache, ..options.database.clone() };
    secondary::Options { database, ..options }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_conflicts() {
        super::Cli::command().debug_assert();
    }
}
