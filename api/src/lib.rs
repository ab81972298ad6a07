//! Reads over HTTP: jobs, runs, their durations and their events.
//!
//! One hop from the store to the client. Lists and events are streamed in chunks, so that memory does not depend
//! on the length of a run; a client that is slow holds neither a thread nor a view of the store.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apps;
mod cursor;
mod duration;
mod error;
mod events;
mod export;
mod extract;
mod flags;
mod ingest;
mod jobs;
mod lines;
mod metrics;
mod program;
mod run;
mod runs;
mod samples;
mod scan;
mod stream;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use event::{ReceivedAt, RunHash, RunName};
use prometheus::Registry;
use service::auth::{Access, Routes};
use store::{Reader, Run};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Error;
pub use crate::flags::Flags;
pub use crate::ingest::first_missing;
use crate::metrics::Metrics;
pub use crate::program::main;

/// When a run that has not ended is lost, unless told otherwise.
pub const LOST_AFTER: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A run that has not ended is `lost` after this time without a sign of life. Agents send one every 10 s.
    pub lost_after: Duration,
    /// The longest time that a streamed answer may take. The connection is cut then, and the client sees it.
    pub stream_time: Duration,
    /// Bytes a second that a client must take while a streamed answer waits for it, or it is cut; 0 for any.
    pub stream_rate: u64,
    /// Over how long a time that is measured.
    pub stream_patience: Duration,
    /// How long a read that names a place in the journal waits until it is applied.
    pub wait: Duration,
    /// Streamed answers at once; each holds up to some 1.5 MB. More are asked to come back.
    pub streams: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lost_after: LOST_AFTER,
            stream_time: Duration::from_secs(86_400),
            stream_rate: 16 << 10,
            stream_patience: Duration::from_secs(60),
            wait: Duration::from_secs(5),
            streams: 128,
        }
    }
}

/// What all requests share.
#[derive(Debug)]
struct Api {
    reader: Reader,
    options: Options,
    metrics: Metrics,
    /// One permit a streamed answer.
    streams: Arc<Semaphore>,
    /// One permit a thread that scans events.
    scans: Arc<Semaphore>,
}

/// Every route for reads. Its metrics go into `registry`.
pub fn router(reader: Reader, options: Options, registry: &Registry) -> prometheus::Result<Routes> {
    let metrics = Metrics::new(registry, reader.clone())?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let streams = Arc::new(Semaphore::new(options.streams.clamp(1, Semaphore::MAX_PERMITS)));
    // Scans use the processor; more of them than that only take memory.
    let scans = Arc::new(Semaphore::new(2 * threads));
    let api = Arc::new(Api { reader, options, metrics, streams, scans });
    let reads = OpenApiRouter::new()
        .routes(routes!(jobs::all_jobs))
        .routes(routes!(runs::all_runs_of_job))
        .routes(routes!(events::events_by_name))
        .routes(routes!(duration::duration_by_name))
        .routes(routes!(jobs::jobs))
        .routes(routes!(runs::runs))
        .routes(routes!(runs::run))
        .routes(routes!(events::events))
        .routes(routes!(duration::duration))
        .routes(routes!(samples::samples))
        .routes(routes!(apps::app));
    // Whoever sends asks here where to go on.
    let resume = OpenApiRouter::new().routes(routes!(ingest::resume));
    let [reads, resume] = [reads, resume].map(|router| {
        let mut router = router
            .route_layer(middleware::from_fn_with_state(api.clone(), wait::until_applied))
            .route_layer(middleware::from_fn_with_state(api.clone(), metrics::observe))
            .with_state(api.clone());
        wait::describe(router.get_openapi_mut());
        router
    });
    Ok(Access::Read.of(reads).and(Access::IngestOrRead.of(resume)))
}

impl Api {
    /// Asks the store off the async threads.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || question(&reader)).await.map_err(|e| Error::Failed(e.to_string()))?
    }

    /// The record of a run, by one point read.
    async fn run(&self, key: RunKey) -> Result<Run, Error> {
        self.ask(move |reader| key.check(reader.run(key.hash())?)).await
    }

    /// The record of a run and the time through which its partition is applied, both from one view.
    async fn run_and_time(&self, key: RunKey) -> Result<(Run, Option<ReceivedAt>), Error> {
        let ask = move |reader: &Reader| {
            reader.view(|view| {
                let run = key.check(view.run(key.hash())?)?;
                let applied = view.applied(run.number.partition)?;
                Ok((run, applied.map(|applied| applied.through)))
            })
        };
        self.ask(ask).await
    }
}

/// How a request names a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RunKey {
    Id(RunHash),
    Name(RunName),
}

impl RunKey {
    fn hash(&self) -> RunHash {
        match self {
            Self::Id(hash) => *hash,
            Self::Name(name) => name.hash(),
        }
    }

    /// A record found under the hash of other names is not the one asked for.
    fn check(&self, found: Option<Run>) -> Result<Run, Error> {
        let is_asked_for = |run: &Run| match self {
            Self::Id(_) => true,
            Self::Name(name) => run.job_name == name.job.as_str() && run.run_id == name.run.as_str(),
        };
        found.filter(is_asked_for).ok_or_else(|| match self {
            Self::Id(hash) => Error::no_run_id(&hash.to_string()),
            Self::Name(name) => Error::no_run(name.job.as_str(), name.run.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use store::RunNumber;

    use super::*;

    #[test]
    fn a_record_of_other_names_is_not_the_run_asked_for() {
        let [asked, other] = ["asked", "other"].map(|run| RunName::new("etl", run).unwrap());
        let record = |name| Run::new(name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(0));
        let key = RunKey::Name(asked.clone());
        assert!(key.check(Some(record(&asked))).is_ok());
        for found in [Some(record(&other)), None] {
            assert!(matches!(key.check(found), Err(Error::NotFound(_))));
        }
    }
}
