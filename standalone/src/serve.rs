//! `emberlog serve`: the three parts in one process.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use collector::Collector;
use journal::local::{self, Local};
use materializer::{Hooks, Materializer, Thread, quarantine, shown};
use prometheus::Registry;
use service::{Configuration, Server, output};
use tokio::runtime::Handle;

use crate::cli::ServeOptions;
use crate::welcome::Welcome;

pub async fn run(options: &ServeOptions, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    configuration.log();
    let server = Server::bind(&options.listen, options.admin_listen.as_deref(), &options.server).await?;
    let welcome = Welcome { url: server.url(), admin_url: server.admin_url(), needs_token: server.asks_for_tokens() };
    let (registry, health, shutdown) = (server.registry.clone(), server.health.clone(), server.shutdown.clone());

    let journals = Journals::open(options, &registry)?;
    let condition = health.register("materializer");
    let hooks = Hooks { state: shown(condition.clone()), ..journals.hooks(options) };
    options.data_dir.warn_if_open();
    let store = options.data_dir.create_store()?;
    let materializer = Materializer::open(
        &store,
        hooks,
        materializer::Metrics::new(&registry)?,
        options.store.options(options.reads.lost_after),
    )
    .with_context(|| format!("cannot open the store in {}", store.display()))?;
    let reader = materializer.reader();
    registry.register(Box::new(store::metrics::RocksDb::new(reader.clone())?))?;
    let events = Arc::new(journals.events.publisher());
    let dead_letters = Arc::new(journals.dead_letters.publisher());
    let collector = Collector::new((&options.ingest).into(), events, dead_letters, &registry)?;
    let api = api::router(reader, (&options.reads).into(), &registry)?;

    let running =
        server.start([collector::router(collector.clone()), collector::administration(collector.clone()), api]);
    // Its journal is in this process: there is nothing to wait for.
    condition.ready();
    let thread = Thread::start(materializer);
    let expiry = tokio::spawn(expire(journals.dead_letters.clone(), options.journal.dlq_retention));
    let ready = health.register("server");
    ready.ready();
    output::line(welcome.text(&options.data_dir.path));

    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        error = journals.failed() => Some(error),
    };
    ready.not_ready("shutting down");
    expiry.abort();
    collector.shut_down();
    running.stop().await;
    thread.stop().await?;
    match failure {
        None => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Some(error) => anyhow::bail!("{error}; what was acknowledged is safe: start the server anew"),
    }
}

/// Of dead letters that are kept so long, what is written together: a tenth of that, and a day at most.
fn step(kept: Duration) -> Duration {
    (kept / 10).clamp(Duration::from_millis(100), Duration::from_secs(24 * 3600))
}

/// Removes dead letters once they are old.
async fn expire(dead_letters: Arc<Local>, max_age: Duration) {
    let retention = local::Retention { max_bytes: None, max_age: Some(max_age) };
    let mut turns = tokio::time::interval(step(max_age).min(Duration::from_secs(600)));
    loop {
        turns.tick().await;
        dead_letters.end_old_segment();
        let journal = dead_letters.clone();
        // Nothing applies them: age alone decides.
        let retained = tokio::task::spawn_blocking(move || journal.retain(retention, u64::MAX, SystemTime::now()));
        if let Ok(Err(error)) = retained.await {
            tracing::warn!(%error, "old dead letters cannot be removed");
        }
    }
}

struct Journals {
    events: Arc<Local>,
    dead_letters: Arc<Local>,
}

impl Journals {
    fn open(options: &ServeOptions, registry: &Registry) -> anyhow::Result<Self> {
        let segment_age = step(options.journal.dlq_retention);
        let dead_letters = local::Options { segment_age, ..local::Options::default() };
        let open = |dir: &Path, name: &str, options: local::Options| {
            let metrics = local::Metrics::register(registry, name)?;
            anyhow::Ok(Arc::new(Local::open(dir, options, metrics)?))
        };
        Ok(Self {
            events: open(&options.data_dir.journal(), "events", local::Options::default())?,
            dead_letters: open(&options.data_dir.dead_letters(), "dlq", dead_letters)?,
        })
    }

    /// What a materializer of this process needs.
    fn hooks(&self, options: &ServeOptions) -> Hooks {
        let retention = local::Retention {
            max_bytes: options.journal.journal_retention_size.map(|bytes| bytes as u64),
            max_age: options.journal.journal_retention_age,
        };
        let events = self.events.clone();
        let synced = move |_partition: u32, offset: u64| {
            if let Err(error) = events.retain(retention, offset, SystemTime::now()) {
                tracing::warn!(%error, "old segments of the journal cannot be removed");
            }
        };
        let events = self.events.clone();
        Hooks {
            connect: Box::new(move || Ok(Box::new(events.subscriber()?))),
            quarantine: quarantine(Arc::new(self.dead_letters.publisher()), Handle::current()),
            synced: Box::new(synced),
            state: Box::new(|_| ()),
        }
    }

    /// Resolves when one of them must not be written to any more.
    async fn failed(&self) -> journal::Error {
        tokio::select! {
            error = self.events.failed() => error,
            error = self.dead_letters.failed() => error,
        }
    }
}
