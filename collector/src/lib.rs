//! Takes events in over HTTP and publishes them to the journal. A 200 means that all of a payload is durable:
//! its events in the journal, its bad messages among the dead letters.
//!
//! Two hops: decode (off the async threads when large), then publish and await. Every byte held on the way is
//! charged to one budget.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod administration;
mod body;
mod budget;
mod collect;
mod delight;
mod error;
pub mod gzip;
mod ingest;
pub mod letters;
mod metrics;
mod options;
mod program;
mod reads;
mod respond;
mod samples;
pub mod schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::Publisher;
use prometheus::Registry;
use service::auth::{Access, Routes};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

pub use administration::router as administration;
use budget::Budget;
pub use error::Error;
pub use letters::REPLAY_HEADER;
use metrics::Metrics;
pub use options::{Flags, Options};
pub use program::main;
use samples::Samples;

/// Every route that takes something in.
pub fn router(collector: Arc<Collector>) -> Routes {
    let routers = [ingest::router(collector.clone()), delight::router(collector.clone())];
    Access::Ingest.of(routers.into_iter().fold(collect::router(collector), OpenApiRouter::merge))
}

/// What all requests share.
#[derive(Debug)]
pub struct Collector {
    options: Options,
    events: Arc<dyn Publisher>,
    dead_letters: Arc<dyn Publisher>,
    metrics: Metrics,
    budget: Arc<Budget>,
    /// Large payloads are decoded by at most as many threads as there are processors.
    decoders: Arc<Semaphore>,
    /// Of refused bodies. Clients choose these, so that they must not use up what our own troubles are reported by.
    samples: Samples,
    troubles: Samples,
    shutting_down: AtomicBool,
}

impl Collector {
    pub fn new(
        options: Options,
        events: Arc<dyn Publisher>,
        dead_letters: Arc<dyn Publisher>,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let metrics = Metrics::register(registry)?;
        if options.redaction.is_off() {
            tracing::warn!(
                "redaction is off: secrets in events are kept in clear, in the journal, the store and answers"
            );
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            budget: Budget::new(options.budget_bytes, metrics.in_flight_bytes.clone()),
            decoders: Arc::new(Semaphore::new(processors)),
            samples: Samples::default(),
            troubles: Samples::default(),
            shutting_down: AtomicBool::new(false),
            options,
            events,
            dead_letters,
            metrics,
        }))
    }

    /// From now on every new request is answered 503, so that its client turns to another replica or comes back.
    pub fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
    }

    fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }
}
