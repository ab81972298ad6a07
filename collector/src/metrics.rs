//! What the collector counts. No label holds anything that a client chose.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, exponential_buckets};

#[derive(Debug)]
pub struct Metrics {
    pub requests: IntCounterVec,
    pub events: IntCounter,
    pub samples: IntCounter,
    pub heartbeats: IntCounter,
    pub dead_letters: IntCounterVec,
    pub refusals: IntCounterVec,
    pub redactions: IntCounter,
    pub deletions: IntCounter,
    pub wire_bytes: IntCounter,
    pub decoded_bytes: IntCounter,
    pub in_flight_bytes: IntGauge,
    pub decode_seconds: Histogram,
    pub publish_seconds: Histogram,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("emberlog").subsystem("collector");
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(opts(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(opts(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let seconds = |name: &str, help: &str| {
            // 100 microseconds to 6.5 seconds.
            let buckets = exponential_buckets(0.000_1, 2.0, 17)?;
            let histogram = Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let in_flight_bytes = IntGauge::with_opts(opts(
            "in_flight_bytes",
            "Memory charged to requests: bodies, and what they decompress and decode to",
        ))?;
        registry.register(Box::new(in_flight_bytes.clone()))?;
        Ok(Self {
            requests: counters("requests_total", "Requests answered, by HTTP status", "status")?,
            events: counter("events_total", "Events acknowledged as durable, duplicates included")?,
            samples: counter("samples_total", "Samples acknowledged as durable, duplicates included")?,
            heartbeats: counter("heartbeats_total", "Heartbeats and other signs of life acknowledged")?,
            dead_letters: counters("dead_letters_total", "Messages acknowledged as dead letters, by reason", "reason")?,
            refusals: counters("refusals_total", "Requests answered with an error, by reason", "reason")?,
            redactions: counter(
                "redactions_total",
                "Secrets replaced in decoded payloads, those that were sent again included",
            )?,
            deletions: counter("deletions_total", "Deletions of runs and jobs acknowledged as durable")?,
            wire_bytes: counter("wire_bytes_total", "Bytes of bodies as they were sent")?,
            decoded_bytes: counter("decoded_bytes_total", "Bytes of decoded bodies, decompressed")?,
            in_flight_bytes,
            decode_seconds: seconds(
                "decode_seconds",
                "Time to decompress and decode a body, waiting for a thread included",
            )?,
            publish_seconds: seconds("publish_seconds", "Time until the journal had acknowledged a payload")?,
        })
    }
}
