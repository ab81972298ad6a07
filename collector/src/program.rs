//! `emberlog-collector`: the collector as a process of its own, publishing to Kafka.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use journal::kafka;
use service::{Configuration, Server, configuration, server, telemetry};

use crate::{Collector, Flags, Options, reads};

/// Takes in the events of Apache Spark applications over HTTP and publishes them to Kafka
#[derive(Debug, Parser)]
#[command(name = "emberlog-collector", version, max_term_width = 100)]
struct Cli {
    /// Where to listen: ingest, health and metrics
    #[arg(long, env = "EMBERLOG_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    listen: String,
    /// Where health and metrics listen instead
    #[arg(long, env = "EMBERLOG_ADMIN_LISTEN", value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// Where emberlog-api is for the readers of this collector's address: they are sent there
    #[arg(long, env = "EMBERLOG_READS_URL", value_name = "URL")]
    reads_url: Option<String>,
    #[command(flatten)]
    kafka: kafka::Flags,
    #[command(flatten)]
    dlq: kafka::DlqFlags,
    #[command(flatten)]
    ingest: Flags,
    #[command(flatten)]
    server: server::Flags,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (cli, configuration) = configuration::parse::<Cli>(kafka::masked);
    service::run("emberlog-collector", &cli.telemetry, || service::block_on(run(&cli, &configuration)))
}

async fn run(cli: &Cli, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    configuration.log();
    let [events, dead_letters] = [cli.kafka.settings()?, cli.kafka.dead_letters(&cli.dlq)?];
    let server = Server::bind(&cli.listen, cli.admin_listen.as_deref(), &cli.server).await?;
    let publisher = |settings: kafka::Settings| {
        let metrics = kafka::PublisherMetrics::register(&server.registry, &settings.topic)?;
        anyhow::Ok(Arc::new(kafka::DeferredPublisher::start(settings, kafka::PublisherOptions::default(), metrics)?))
    };
    let (events, dead_letters) = (publisher(events)?, publisher(dead_letters)?);
    let collector = Collector::new(Options::from(&cli.ingest), events.clone(), dead_letters.clone(), &server.registry)?;
    let shutdown = server.shutdown.clone();
    let condition = server.health.register("kafka");
    tracing::info!(url = server.url(), "listening");
    let running = server.start([
        crate::router(collector.clone()),
        crate::administration(collector.clone()),
        reads::redirects(cli.reads_url.clone()),
    ]);

    let opened = async {
        events.opened(|why| condition.not_ready(why)).await?;
        dead_letters.opened(|why| condition.not_ready(why)).await?;
        condition.ready();
        // Only a signal, or a configuration that breaks the promise, ends the process.
        std::future::pending::<Result<(), journal::Error>>().await
    };
    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        result = opened => result.err(),
    };
    condition.not_ready("shutting down");
    collector.shut_down();
    running.stop().await;
    match failure {
        None => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Some(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_conflicts() {
        super::Cli::command().debug_assert();
    }
}
