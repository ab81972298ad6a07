//! The three parts composed in the test's own process, so that a test can break one of them: what a judge never
//! finds fault with proves nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use collector::Collector;
use event::{Header, Identity};
use journal::local::{self, Local};
use journal::{Position, Publication, Publisher, Record};
use materializer::Materializer;
use prometheus::Registry;
use service::http;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A server in this process.
#[derive(Debug)]
pub struct InProcess {
    pub url: String,
    runtime: Runtime,
    journals: [Local; 2],
    stop: Arc<AtomicBool>,
    follower: JoinHandle<()>,
}

impl InProcess {
    /// Starts a server whose publisher of events is what `wrap` makes of the true one.
    pub fn start(data: &Path, wrap: impl FnOnce(Arc<dyn Publisher>) -> Arc<dyn Publisher>) -> Self {
        let registry = Registry::new();
        let runtime = Runtime::new().unwrap();
        let journals = ["journal", "dlq"].map(|name| {
            let metrics = local::Metrics::register(&registry, name).unwrap();
            Local::open(&data.join(name), local::Options::default(), metrics).unwrap()
        });
        let events = journals[0].subscriber().unwrap();
        let mut events = Some(events);
        let hooks = materializer::Hooks {
            connect: Box::new(move || Ok(Box::new(events.take().unwrap()))),
            quarantine: Box::new(|poison| panic!("{poison:?}")),
            synced: Box::new(|_, _| {}),
            state: Box::new(|_| {}),
        };
        let metrics = materializer::Metrics::new(&registry).unwrap();
        let materializer =
            Materializer::open(&data.join("store"), hooks, metrics, materializer::Options::default());
        let materializer = materializer.unwrap();
        let publisher = wrap(Arc::new(journals[0].publisher()));
        let dead_letters = Arc::new(journals[1].publisher());
        let collector = Collector::new(collector::Options::default(), publisher, dead_letters, &registry).unwrap();
        let api = api::router(materializer.reader(), api::Options::default(), &registry).unwrap();
        let router = service::openapi::assemble([collector::router(collector), api]);
        let listener = runtime.block_on(http::listen("127.0.0.1:0", "--listen")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(http::serve(listener, router, http::Limits::default(), CancellationToken::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let follower = std::thread::spawn(move || materializer.run(&told).unwrap());
        Self { url, runtime, journals, stop, follower }
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
        self.stop.store(true, Ordering::Relaxed);
        self.follower.join().unwrap();
        drop(self.journals);
    }
}

/// Answers before anything is written: what waits when it is dropped is lost.
#[derive(Debug)]
pub struct AnswersTooEarly {
    waiting: std::sync::mpsc::Sender<Vec<Record>>,
    is_alive: Arc<AtomicBool>,
}

impl AnswersTooEarly {
    pub fn new(publisher: Arc<dyn Publisher>) -> Self {
        let (waiting, queue) = std::sync::mpsc::channel::<Vec<Record>>();
        let is_alive = Arc::new(AtomicBool::new(true));
        let lives = is_alive.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for records in queue {
                std::thread::sleep(Duration::from_millis(10));
                if !lives.load(Ordering::Relaxed) {
                    return;
                }
                // It fails once the journal is closed, which nobody is told any more.
                let _ = runtime.block_on(publisher.publish(records));
            }
        });
        Self { waiting, is_alive }
    }
}

impl Publisher for AnswersTooEarly {
    fn publish(&self, records: Vec<Record>) -> Publication<'_> {
        self.waiting.send(records).unwrap();
        Box::pin(async { Ok(vec![Position { partition: local::PARTITION, offset: 0 }]) })
    }
}

impl Drop for AnswersTooEarly {
    fn drop(&mut self) {
        self.is_alive.store(false, Ordering::Relaxed);
    }
}

/// Gives each delivery an identity of its own, so that no look-up finds the copy before.
#[derive(Debug)]
pub struct KnowsNoDuplicates {
    publisher: Arc<dyn Publisher>,
    deliveries: AtomicU64,
}

impl KnowsNoDuplicates {
    pub fn new(publisher: Arc<dyn Publisher>, first: u64) -> Self {
        Self { publisher, deliveries: AtomicU64::new(first) }
    }
}

impl Publisher for KnowsNoDuplicates {
    fn publish(&self, mut records: Vec<Record>) -> Publication<'_> {
        for record in &mut records {
            let identity = Identity(self.deliveries.fetch_add(1, Ordering::Relaxed));
            change(record, |header| header.identity = header.identity.map(|_| identity));
        }
        self.publisher.publish(records)
    }
}

/// Takes the time at which an event came in for the time at which it happened.
#[derive(Debug)]
pub struct OrdersByArrival(pub Arc<dyn Publisher>);

impl Publisher for OrdersByArrival {
    fn publish(&self, mut records: Vec<Record>) -> Publication<'_> {
        for record in &mut records {
            change(record, |header| {
                header.generated_at = header.generated_at.map(|_| event::GeneratedAt(-header.received_at.0));
            });
        }
        self.0.publish(records)
    }
}

fn change(record: &mut Record, change: impl FnOnce(&mut Header)) {
    let mut header = Header::parse(&record.header).unwrap();
    change(&mut header);
    let mut text = Vec::new();
    header.write(&mut text);
    record.header = text.into();
}
