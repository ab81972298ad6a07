//! `emberlog serve`: the three parts in one process.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use anyhow::Context;
use collector::Collector;
use event::ReceivedAt;
use event::dead_letter::{DeadLetter, Kind, Origin};
use journal::local::{self, Local};
use journal::{Publisher, Record};
use materializer::{Materializer, Poison, Quarantine};
use prometheus::Registry;
use service::{Health, http};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::ServeOptions;
use crate::welcome;

pub fn run(options: &ServeOptions) -> anyhow::Result<ExitCode> {
    let open_files = service::limits::raise_open_files();
    tracing::info!(?options, open_files, "starting");
    let runtime = Runtime::new().context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        let shutdown = service::shutdown::on_signals()?;
        serve(options, shutdown).await
    })
}

/// The sockets, bound before anything is opened: a port in use is said at once.
struct Sockets {
    main: TcpListener,
    admin: Option<TcpListener>,
}

impl Sockets {
    async fn bind(options: &ServeOptions) -> anyhow::Result<Self> {
        let main = http::listen(&options.listen, "--listen").await?;
        let admin = match &options.admin_listen {
            Some(address) => Some(http::listen(address, "--admin-listen").await?),
            None => None,
        };
        Ok(Self { main, admin })
    }

    fn urls(&self) -> anyhow::Result<(String, Option<String>)> {
        let url = |it: &TcpListener| it.local_addr().map(|address| format!("http://{address}"));
        Ok((url(&self.main)?, self.admin.as_ref().map(url).transpose()?))
    }
}

async fn serve(options: &ServeOptions, shutdown: CancellationToken) -> anyhow::Result<ExitCode> {
    let sockets = Sockets::bind(options).await?;
    let (url, admin_url) = sockets.urls()?;
    let registry = Arc::new(Registry::new());
    let health = Health::new();
    service::metrics::Process::register(&registry)?;

    let journals = Journals::open(options, &registry)?;
    let materializer = materializer(options, &journals, &registry)?;
    let reader = materializer.reader();
    registry.register(Box::new(store::metrics::RocksDb::new(reader.clone())?))?;
    let collector = Collector::new(
        collector_options(options),
        Arc::new(journals.events.publisher()),
        Arc::new(journals.dead_letters.publisher()),
        &registry,
    )?;
    let api_options = api::Options { lost_after: options.lost_after, ..api::Options::default() };
    let api = api::router(reader, api_options, &registry)?;
    let admin = service::health::router(health.clone(), registry.clone());

    let limits =
        http::Limits { connections: options.max_connections, grace: options.shutdown_grace, ..http::Limits::default() };
    let servers = TaskTracker::new();
    let mut routers = vec![collector::router(collector.clone()), api];
    match sockets.admin {
        None => routers.push(admin),
        Some(listener) => {
            let router = service::openapi::assemble([admin]);
            servers.spawn(http::serve(listener, router, limits.clone(), shutdown.clone()));
        }
    }
    let router = service::openapi::assemble(routers);
    servers.spawn(http::serve(sockets.main, router, limits, shutdown.clone()));
    servers.close();

    let follower = Follower::start(materializer, &health);
    let ready = health.register("server");
    ready.ready();
    println!("{}", welcome::text(&url, admin_url.as_deref(), &options.data_dir.path));

    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        error = journals.failed() => Some(error),
    };
    ready.not_ready("shutting down");
    collector.shut_down();
    shutdown.cancel();
    servers.wait().await;
    follower.stop().await;
    match failure {
        None => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Some(error) => anyhow::bail!("{error}; what was acknowledged is safe: start the server anew"),
    }
}

fn collector_options(options: &ServeOptions) -> collector::Options {
    collector::Options {
        wire_bytes: options.ingest.max_body,
        decompressed_bytes: options.ingest.max_decompressed,
        budget_bytes: options.ingest.max_in_flight,
        ..collector::Options::default()
    }
}

struct Journals {
    events: Arc<Local>,
    dead_letters: Arc<Local>,
}

impl Journals {
    fn open(options: &ServeOptions, registry: &Registry) -> anyhow::Result<Self> {
        let open = |dir: &std::path::Path, name: &str| {
            let metrics = local::Metrics::register(registry, name)?;
            let opened = Local::open(dir, local::Options::default(), metrics);
            opened.map(Arc::new).with_context(|| format!("cannot open the journal in {}", dir.display()))
        };
        Ok(Self {
            events: open(&options.data_dir.journal(), "events")?,
            dead_letters: open(&options.data_dir.dead_letters(), "dlq")?,
        })
    }

    /// Resolves when one of them must not be written to any more.
    async fn failed(&self) -> journal::Error {
        tokio::select! {
            error = self.events.failed() => error,
            error = self.dead_letters.failed() => error,
        }
    }
}

fn materializer(options: &ServeOptions, journals: &Journals, registry: &Registry) -> anyhow::Result<Materializer> {
    let retention = local::Retention {
        max_bytes: options.storage.journal_retention_size.map(|bytes| bytes as u64),
        max_age: options.storage.journal_retention_age,
    };
    let events = journals.events.clone();
    let synced = Box::new(move |_partition: u32, offset: u64| {
        if let Err(error) = events.retain(retention, offset, SystemTime::now()) {
            tracing::warn!(%error, "old segments of the journal cannot be removed");
        }
    });
    let store = options.data_dir.store();
    Materializer::open(
        &store,
        Box::new(journals.events.subscriber()?),
        quarantine(Arc::new(journals.dead_letters.publisher()), Handle::current()),
        synced,
        materializer::Metrics::new(registry)?,
        materializer::Options { store: options.storage.store(), ..materializer::Options::default() },
    )
    .with_context(|| format!("cannot open the store in {}", store.display()))
}

/// Writes poison records to the dead letters; returns when they are durable.
fn quarantine(dead_letters: Arc<dyn Publisher>, runtime: Handle) -> Quarantine {
    Box::new(move |poison: &[Poison]| {
        let records = poison.iter().map(dead_letter).collect();
        runtime.block_on(dead_letters.publish(records)).map(|_| ())
    })
}

fn dead_letter(poison: &Poison) -> Record {
    let mut letter = DeadLetter::new(Kind::Record, "cannot_be_applied", &poison.reason, ReceivedAt::now());
    letter.origin = Some(Origin {
        partition: poison.partition,
        offset: poison.offset,
        header: String::from_utf8_lossy(&poison.record.header).into_owned(),
    });
    let letter = letter.with_value(poison.record.value.clone());
    Record { key: poison.record.key.clone(), header: letter.header().into(), value: letter.value }
}

/// The materializer's thread.
struct Follower {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    fn start(materializer: Materializer, health: &Health) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let condition = health.register("materializer");
        condition.ready();
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            if let Err(error) = materializer.run(&told) {
                condition.not_ready(format!("halted: {error}"));
            }
        });
        Self { thread, stop }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // Joining blocks; it lasts one batch and a sync.
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the materializer's thread panicked");
        }
    }
}
