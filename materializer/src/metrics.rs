//! What to run a materializer by.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};

use crate::halt::STATES;

#[derive(Debug, Clone)]
pub struct Metrics {
    /// Events stored.
    pub events: IntCounter,
    /// Bytes of the events stored.
    pub bytes: IntCounter,
    /// Samples stored.
    pub samples: IntCounter,
    /// Heartbeats and acks.
    pub signs_of_life: IntCounter,
    /// Events dropped because they were stored before.
    pub duplicates: IntCounter,
    /// Events stored at a sequence that holds another event.
    pub conflicts: IntCounter,
    /// Records that could not be applied and went to the dead letters.
    pub quarantined: IntCounter,
    /// Runs seen for the first time.
    pub runs: IntCounter,
    /// Events dropped because their run was deleted or has expired.
    pub dropped: IntCounter,
    /// Runs removed because a record of the journal says so.
    pub deleted_runs: IntCounter,
    /// Runs removed by retention.
    pub expired_runs: IntCounter,
    /// Seconds to apply one batch.
    pub batch_seconds: Histogram,
    /// Records of the journal not yet applied.
    pub lag_records: IntGauge,
    /// Seconds of the Unix epoch until when all that was received is applied.
    pub applied_through: Gauge,
    /// Batches that failed and were tried again.
    pub retries: IntCounter,
    /// 1 in the state in which the materializer has halted and needs a person.
    pub halted: IntGaugeVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let it = IntCounter::new(format!("emberlog_materializer_{name}"), help)?;
            registry.register(Box::new(it.clone()))?;
            Ok::<_, prometheus::Error>(it)
        };
        let gauge = |name: &str, help: &str| {
            let it = IntGauge::new(format!("emberlog_materializer_{name}"), help)?;
            registry.register(Box::new(it.clone()))?;
            Ok::<_, prometheus::Error>(it)
        };
        let options = HistogramOpts::new("emberlog_materializer_batch_seconds", "Seconds to apply one batch.")
            .buckets(exponential_buckets(0.000_25, 2.0, 16)?);
        let batch_seconds = Histogram::with_opts(options)?;
        registry.register(Box::new(batch_seconds.clone()))?;
        let applied_through = Gauge::new(
            "emberlog_materializer_applied_through_seconds",
            "Seconds of the Unix epoch until when all that was received is applied.",
        )?;
        registry.register(Box::new(applied_through.clone()))?;
        let halted = "1 in the state in which the materializer has halted and needs a person.";
        let halted = IntGaugeVec::new(Opts::new("emberlog_materializer_halted", halted), &["state"])?;
        for state in STATES {
            halted.with_label_values(&[state]).set(0);
        }
        registry.register(Box::new(halted.clone()))?;
        Ok(Self {
            events: counter("events_total", "Events stored.")?,
            bytes: counter("event_bytes_total", "Bytes of the events stored.")?,
            samples: counter("samples_total", "Samples stored.")?,
            signs_of_life: counter("signs_of_life_total", "Heartbeats and acks.")?,
            duplicates: counter("duplicates_total", "Events dropped because they were stored before.")?,
            conflicts: counter("conflicts_total", "Events stored at a sequence that holds another event.")?,
            quarantined: counter(
                "quarantined_total",
                "Records that could not be applied and went to the dead letters.",
            )?,
            runs: counter("runs_total", "Runs seen for the first time.")?,
            dropped: counter("dropped_total", "Events dropped because their run was deleted or has expired.")?,
            deleted_runs: counter("deleted_runs_total", "Runs removed because they were deleted.")?,
            expired_runs: counter("expired_runs_total", "Runs removed by retention.")?,
            batch_seconds,
            lag_records: gauge("lag_records", "Records of the journal not yet applied.")?,
            applied_through,
            retries: counter("retries_total", "Batches that failed and were tried again.")?,
            halted,
        })
    }
}
