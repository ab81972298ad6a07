//! The command `run`.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::Args;
use journal::kafka::{self, Committer, DeferredPublisher, DeferredSubscriber};
use prometheus::Registry;
use service::{Configuration, Server, http, server};
use tokio::runtime::Handle;

use super::DataDir;
use crate::{Connect, Flags, Hooks, Materializer, Metrics, Synced, Thread, quarantine, shown};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Where health and metrics listen
    #[arg(long, env = "EMBERLOG_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:5002")]
    listen: String,
    /// Serve reads too, on this address, from the writer's own handle: no emberlog-api is needed then
    #[arg(long, env = "EMBERLOG_SERVE", value_name = "HOST:PORT")]
    serve: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    kafka: kafka::Flags,
    #[command(flatten)]
    dlq: kafka::DlqFlags,
    #[command(flatten)]
    store: Flags,
    #[command(flatten)]
    reads: api::Flags,
    #[command(flatten)]
    server: server::Flags,
}

pub async fn run(options: &Options, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    configuration.log();
    let [events, dead_letters] = [options.kafka.settings()?, options.kafka.dead_letters(&options.dlq)?];
    let server = Server::bind(&options.listen, None, &options.server).await?;
    let reads = match &options.serve {
        Some(address) => Some(http::listen(address, "--serve").await?),
        None => None,
    };
    let registry = server.registry.clone();
    let shutdown = server.shutdown.clone();
    let metrics = kafka::PublisherMetrics::register(&registry, &dead_letters.topic)?;
    let dead_letters = DeferredPublisher::start(dead_letters, kafka::PublisherOptions::default(), metrics)?;
    let condition = server.health.register("materializer");
    condition.not_ready("waiting for the topic");
    let (connect, synced) = following(events, &registry)?;
    let quarantine = quarantine(Arc::new(dead_letters), Handle::current());
    let hooks = Hooks { connect, quarantine, synced, state: shown(condition.clone()) };
    let store = options.data_dir.store();
    let materializer =
        Materializer::open(&store, hooks, Metrics::new(&registry)?, options.store.options(options.reads.lost_after))
            .with_context(|| format!("cannot open the store in {}", store.display()))?;
    let reader = materializer.reader();
    registry.register(Box::new(store::metrics::RocksDb::new(reader.clone())?))?;
    tracing::info!(url = server.url(), "listening");
    let running = server.start([]);
    if let Some(listener) = reads {
        tracing::info!(url = running.url(&listener), "serving reads");
        running.serve(listener, [api::router(reader, (&options.reads).into(), &registry)?]);
    }
    let thread = Thread::start(materializer);
    shutdown.cancelled().await;
    condition.not_ready("shutting down");
    running.stop().await;
    thread.stop().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// A reading end of the topic that can be used at once.
pub fn subscriber(settings: kafka::Settings, registry: &Registry) -> anyhow::Result<DeferredSubscriber> {
    let metrics = kafka::SubscriberMetrics::register(registry, &settings.topic)?;
    Ok(DeferredSubscriber::start(settings, kafka::SubscriberOptions::default(), metrics)?)
}

/// Opens the topic, and tells the brokers how far it is read, for lag tools.
fn following(settings: kafka::Settings, registry: &Registry) -> anyhow::Result<(Connect, Synced)> {
    let metrics = kafka::SubscriberMetrics::register(registry, &settings.topic)?;
    let committer = Arc::new(Mutex::new(Committer::default()));
    let current = committer.clone();
    let connect = move || {
        let options = kafka::SubscriberOptions::default();
        let subscriber = DeferredSubscriber::start(settings.clone(), options, metrics.clone())?;
        *current.lock().unwrap_or_else(PoisonError::into_inner) = subscriber.committer();
        Ok::<Box<dyn journal::Subscriber>, _>(Box::new(subscriber))
    };
    let synced = move |partition, offset| {
        committer.lock().unwrap_or_else(PoisonError::into_inner).commit(partition, offset);
    };
    Ok((Box::new(connect), Box::new(synced)))
}
