//! The three parts composed in the test's own process, so that a test can break one of them: what a judge never
//! finds fault with proves nothing.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use collector::Collector;
use e2e::client::Client;
use e2e::wait;
use journal::{Publisher, Subscriber};
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
    stop: Arc<AtomicBool>,
    follower: JoinHandle<()>,
    ends: Box<dyn Subscriber>,
    held: Box<dyn Any>,
}

/// The ends of a journal, and what keeps it open.
pub struct Journal {
    pub events: Box<dyn Subscriber>,
    /// Another one, asked only how far the journal goes.
    pub ends: Box<dyn Subscriber>,
    pub publisher: Arc<dyn Publisher>,
    pub dead_letters: Arc<dyn Publisher>,
    pub held: Box<dyn Any>,
}

impl InProcess {
    pub fn start(data: &Path, journal: Journal) -> Self {
        let registry = Registry::new();
        let runtime = Runtime::new().unwrap();
        let mut events = Some(journal.events);
        let hooks = materializer::Hooks {
            connect: Box::new(move || Ok(events.take().unwrap())),
            quarantine: Box::new(|poison| panic!("{poison:?}")),
            synced: Box::new(|_, _| {}),
            state: Box::new(|_| {}),
        };
        let metrics = materializer::Metrics::new(&registry).unwrap();
        let materializer = Materializer::open(&data.join("store"), hooks, metrics, materializer::Options::default());
        let materializer = materializer.unwrap();
        let options = collector::Options::default();
        let collector = Collector::new(options, journal.publisher, journal.dead_letters, &registry).unwrap();
        let api = api::router(materializer.reader(), api::Options::default(), &registry).unwrap();
        let router = service::openapi::assemble([collector::router(collector), api]);
        let listener = runtime.block_on(http::listen("127.0.0.1:0", "--listen")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(http::serve(listener, router, http::Limits::default(), CancellationToken::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let follower = std::thread::spawn(move || materializer.run(&told).unwrap());
        Self { url, runtime, stop, follower, ends: journal.ends, held: journal.held }
    }

    /// Waits until all that the journal holds now is applied: what is not served then is lost.
    pub fn await_applied(&mut self) {
        let client = Client::new(&self.url);
        let extents = wait::until("the ends of the journal", || self.ends.extents().ok());
        for extent in extents.iter().filter(|it| it.end > it.start) {
            let place = format!("{}:{}", extent.partition, extent.end - 1);
            assert_eq!(client.get_applied(&format!("/job?wait_for={place}")).status, 200);
        }
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
        self.stop.store(true, Ordering::Relaxed);
        self.follower.join().unwrap();
        drop(self.held);
    }
}
