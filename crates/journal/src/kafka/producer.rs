//! The producer and the thread that serves it. A producer that has failed for good is replaced by a new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::context::Context;
use super::reader::RETRY;
use super::{STOP_PATIENCE, join, refused};
use crate::Error;

/// How long a record may be on its way. Late ones are found once a second, and the answer is due after 5 s.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_millis(3800);

/// After this a record has been reported, whatever has become of it.
pub const REPORTED: Duration = Duration::from_secs(8);

/// How long a stop waits for what is under way. Nobody does any more, and the rest counts as never sent.
const DRAIN: Duration = Duration::from_secs(1);

/// The producer of the moment.
pub struct Slot {
    config: ClientConfig,
    verbose: bool,
    current: RwLock<Arc<BaseProducer<Context>>>,
    /// Why the last one failed for good.
    failure: Mutex<Option<String>>,
    stop: AtomicBool,
    rebuilds: IntCounter,
}

pub struct Service {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

impl Slot {
    fn create(config: &ClientConfig, verbose: bool) -> Result<Arc<BaseProducer<Context>>, Error> {
        let producer = BaseProducer::from_config_and_context(config, Context::new(verbose));
        Ok(Arc::new(producer.map_err(|error| refused(&error))?))
    }

    pub fn current(&self) -> Arc<BaseProducer<Context>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why a record was not sent that was taken from a producer which has failed.
    pub fn failure(&self) -> Option<String> {
        let now = self.current().client().fatal_error().map(|(_, text)| text);
        now.or_else(|| self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn serve(&self) {
        let mut replaced: Option<Instant> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let producer = self.current();
            producer.poll(Duration::from_millis(50));
            let has_failed = producer.context().is_fatal() || producer.client().fatal_error().is_some();
            // A new one may fail at once as well, without a right for one.
            if has_failed && replaced.is_none_or(|it| it.elapsed() >= RETRY) {
                self.replace(&producer);
                replaced = Some(Instant::now());
            }
        }
        let _ = self.current().flush(DRAIN);
    }

    fn replace(&self, failed: &BaseProducer<Context>) {
        let why = failed.client().fatal_error().map(|(_, text)| text).unwrap_or_default();
        let before = self.failure.lock().unwrap_or_else(PoisonError::into_inner).replace(why.clone());
        match Self::create(&self.config, self.verbose) {
            Ok(fresh) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(error) => {
                tracing::error!(%error, "no new producer could be made; it is tried again");
                return;
            }
        }
        self.rebuilds.inc();
        if before.as_ref() != Some(&why) {
            tracing::error!(
                why,
                "the Kafka producer has failed for good and was replaced; publications under way are answered as failed"
            );
        }
        // Each record of the failed one still gets its report, or its publisher would wait in vain; and so do those that the
        // new one sends meanwhile.
        let deadline = Instant::now() + REPORTED;
        let is_over = || Instant::now() > deadline || self.stop.load(Ordering::Relaxed);
        while failed.in_flight_count() > 0 && !is_over() {
            failed.poll(Duration::from_millis(10));
            self.current().poll(Duration::ZERO);
        }
    }
}

impl Service {
    pub fn start(config: ClientConfig, verbose: bool, rebuilds: IntCounter) -> Result<Self, Error> {
        let current = RwLock::new(Slot::create(&config, verbose)?);
        let slot = Arc::new(Slot {
            config,
            verbose,
            current,
            failure: Mutex::new(None),
            stop: AtomicBool::new(false),
            rebuilds,
        });
        let served = slot.clone();
        let thread = thread::Builder::new().name("kafka-producer".to_owned()).spawn(move || served.serve());
        let thread = thread.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { slot, thread: Some(thread) })
    }

    pub fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// Waits for what is under way, for a moment.
impl Drop for Service {
    fn drop(&mut self) {
        self.slot.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            join(thread, DRAIN + STOP_PATIENCE);
        }
    }
}
