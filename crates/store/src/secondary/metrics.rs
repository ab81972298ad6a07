//! What to run a secondary by.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Registry, exponential_buckets};

#[derive(Debug, Clone)]
pub struct Metrics {
    /// Catch-ups with the writer, those that failed included.
    pub catch_ups: IntCounter,
    /// Seconds that a catch-up takes, with the check of its view.
    pub catch_up_seconds: Histogram,
    /// Views that lacked a batch and were not served.
    pub torn_views: IntCounter,
    /// Catch-ups that RocksDB reported an error of.
    pub errors: IntCounter,
    /// Stores opened in place of one that was served: a new generation, a replaced store, or after lasting trouble.
    pub reopens: IntCounter,
    /// The generation that is served; 0 while there is none.
    pub generation: IntGauge,
    view: Arc<Mutex<Instant>>,
}

impl Metrics {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let it = IntCounter::new(format!("emberlog_secondary_{name}"), help)?;
            registry.register(Box::new(it.clone()))?;
            Ok::<_, prometheus::Error>(it)
        };
        let catch_up_seconds =
            HistogramOpts::new("emberlog_secondary_catch_up_seconds", "Time to catch up and to check the view")
                .buckets(exponential_buckets(0.0001, 4.0, 9)?);
        let metrics = Self {
            catch_ups: counter("catch_ups_total", "Catch-ups with the writer, those that failed included")?,
            catch_up_seconds: Histogram::with_opts(catch_up_seconds)?,
            torn_views: counter("torn_views_total", "Views that lacked a batch and were not served")?,
            errors: counter("errors_total", "Catch-ups that RocksDB reported an error of")?,
            reopens: counter("reopens_total", "Stores opened in place of the one that was served")?,
            generation: IntGauge::new("emberlog_secondary_generation", "The generation that is served; 0: none yet")?,
            view: Arc::new(Mutex::new(Instant::now())),
        };
        registry.register(Box::new(metrics.catch_up_seconds.clone()))?;
        registry.register(Box::new(metrics.generation.clone()))?;
        let help =
            "Seconds since a view was last found as new as the store and whole; before the first, since the start";
        let age = Gauge::new("emberlog_secondary_view_age_seconds", help)?;
        registry.register(Box::new(Age { view: metrics.view.clone(), age }))?;
        Ok(metrics)
    }

    /// The view that is served now is whole and as new as the store.
    pub(super) fn is_fresh(&self) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The time since the last good view, read when it is asked for.
#[derive(Debug)]
struct Age {
    view: Arc<Mutex<Instant>>,
    age: Gauge,
}

impl Collector for Age {
    fn desc(&self) -> Vec<&Desc> {
        self.age.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.age.set(self.view.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64());
        self.age.collect()
    }
}
