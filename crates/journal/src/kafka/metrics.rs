//! What a Kafka journal tells about itself. Every metric carries the topic as the label `journal`.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// Of a publisher; registered once per topic and process.
#[derive(Debug, Clone)]
pub struct PublisherMetrics {
    /// Seconds from the first record handed to librdkafka to the last acknowledgement, per publication.
    pub acknowledge_seconds: Histogram,
    /// Records that the brokers acknowledged.
    pub records: IntCounter,
    /// Bytes of keys, headers and values that the brokers acknowledged, before compression.
    pub raw_bytes: IntCounter,
    /// Publications that failed, or of which it is not known.
    pub failed_publications: IntCounter,
    /// Publications refused because too many bytes were in flight.
    pub refused_publications: IntCounter,
    /// Bytes of records on their way to the brokers.
    pub in_flight_bytes: IntGauge,
    /// Producers made anew after a fatal error.
    pub producer_rebuilds: IntCounter,
}

/// Of a subscriber; registered once per topic and process.
#[derive(Debug, Clone)]
pub struct SubscriberMetrics {
    /// Records read.
    pub read_records: IntCounter,
    /// Bytes of keys, headers and values read.
    pub read_bytes: IntCounter,
    /// Bytes of records read and not yet taken.
    pub waiting_bytes: IntGauge,
    /// Consumers made anew because one stood still or failed.
    pub consumer_rebuilds: IntCounter,
    /// Examinations of the topic that were completed.
    pub audits: IntCounter,
    /// Unix time of the last completed examination of the topic.
    pub last_audit: IntGauge,
}

struct Namespace<'a>(&'a Registry, &'a str);

impl Namespace<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(format!("emberlog_journal_{name}"), help).const_label("journal", self.1)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let metric = IntCounter::with_opts(self.opts(name, help))?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let metric = IntGauge::with_opts(self.opts(name, help))?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

impl PublisherMetrics {
    pub fn register(registry: &Registry, topic: &str) -> Result<Self, prometheus::Error> {
        let it = Namespace(registry, topic);
        let help = "Seconds until the brokers acknowledged a publication.";
        let buckets = prometheus::exponential_buckets(0.000_5, 2.0, 15)?;
        let opts = HistogramOpts::from(it.opts("acknowledge_seconds", help)).buckets(buckets);
        let acknowledge_seconds = Histogram::with_opts(opts)?;
        registry.register(Box::new(acknowledge_seconds.clone()))?;
        Ok(Self {
            acknowledge_seconds,
            records: it.counter("records_total", "Records that were made durable.")?,
            raw_bytes: it.counter(
                "raw_bytes_total",
                "Bytes of keys, headers and values that were made durable, before compression.",
            )?,
            failed_publications: it.counter(
                "failed_publications_total",
                "Publications that failed because the journal could not be written to.",
            )?,
            refused_publications: it
                .counter("refused_publications_total", "Publications refused because too many bytes were in flight.")?,
            in_flight_bytes: it.gauge("in_flight_bytes", "Bytes of records that are on their way to the brokers.")?,
            producer_rebuilds: it.counter("producer_rebuilds_total", "Producers made anew after a fatal error.")?,
        })
    }
}

impl SubscriberMetrics {
    pub fn register(registry: &Registry, topic: &str) -> Result<Self, prometheus::Error> {
        let it = Namespace(registry, topic);
        Ok(Self {
            read_records: it.counter("read_records_total", "Records read.")?,
            read_bytes: it.counter("read_bytes_total", "Bytes of keys, headers and values read.")?,
            waiting_bytes: it.gauge("waiting_bytes", "Bytes of records read and not yet taken.")?,
            consumer_rebuilds: it
                .counter("consumer_rebuilds_total", "Consumers made anew because one stood still or failed.")?,
            audits: it.counter("audits_total", "Examinations of the topic that were completed.")?,
            last_audit: it
                .gauge("last_audit_timestamp_seconds", "Unix time of the last completed examination of the topic.")?,
        })
    }
}
