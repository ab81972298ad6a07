//! What an embedded journal tells about itself. Every metric carries the journal's name as the label `journal`.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// Registered once per journal and process.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Seconds that making one group commit durable took.
    pub sync_seconds: Histogram,
    /// Group commits that were made durable.
    pub frames: IntCounter,
    /// Records that were made durable.
    pub records: IntCounter,
    /// Bytes of keys, headers and values that were made durable, before compression.
    pub raw_bytes: IntCounter,
    /// Bytes written to segment files and made durable, after compression.
    pub stored_bytes: IntCounter,
    /// Publications that failed because the journal could not be written to, a full disk for example.
    pub failed_publications: IntCounter,
    /// Publications refused because too many bytes were in flight.
    pub refused_publications: IntCounter,
    /// Bytes of records that are on their way to the disk.
    pub in_flight_bytes: IntGauge,
    /// The oldest offset held.
    pub start_offset: IntGauge,
    /// The offset behind the newest durable record.
    pub end_offset: IntGauge,
    /// Segment files.
    pub segments: IntGauge,
    /// Bytes of all segment files.
    pub segment_bytes: IntGauge,
    /// Torn tails that were cut off when the journal was opened.
    pub truncated_tails: IntCounter,
    /// 1 after a failure that only a restart ends.
    pub failed: IntGauge,
}

impl Metrics {
    pub fn register(registry: &Registry, journal: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| {
            Opts::new(format!("emberlog_journal_{name}"), help).const_label("journal", journal)
        };
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::with_opts(opts(name, help))?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::with_opts(opts(name, help))?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let buckets = prometheus::exponential_buckets(0.000_25, 2.0, 15)?;
        let sync = "Seconds that making one group commit durable took.";
        let sync_seconds = Histogram::with_opts(HistogramOpts::from(opts("sync_seconds", sync)).buckets(buckets))?;
        registry.register(Box::new(sync_seconds.clone()))?;
        Ok(Self {
            sync_seconds,
            frames: counter("frames_total", "Group commits that were made durable.")?,
            records: counter("records_total", "Records that were made durable.")?,
            raw_bytes: counter(
                "raw_bytes_total",
                "Bytes of keys, headers and values that were made durable, before compression.",
            )?,
            stored_bytes: counter(
                "stored_bytes_total",
                "Bytes written to segment files and made durable, after compression.",
            )?,
            failed_publications: counter(
                "failed_publications_total",
                "Publications that failed because the journal could not be written to, a full disk for example.",
            )?,
            refused_publications: counter(
                "refused_publications_total",
                "Publications refused because too many bytes were in flight.",
            )?,
            in_flight_bytes: gauge("in_flight_bytes", "Bytes of records that are on their way to the disk.")?,
            start_offset: gauge("start_offset", "The oldest offset held.")?,
            end_offset: gauge("end_offset", "The offset behind the newest durable record.")?,
            segments: gauge("segments", "Segment files.")?,
            segment_bytes: gauge("segment_bytes", "Bytes of all segment files.")?,
            truncated_tails: counter(
                "truncated_tails_total",
                "Torn tails that were cut off when the journal was opened.",
            )?,
            failed: gauge("failed", "1 after a failure that only a restart ends.")?,
        })
    }
}
