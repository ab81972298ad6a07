//! What the API measures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use event::ReceivedAt;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use store::Reader;

use crate::Api;

#[derive(Debug, Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    scan_seconds: Counter,
    scan_bytes: IntCounter,
    events: IntCounter,
    cuts: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry, reader: Reader) -> prometheus::Result<Self> {
        let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        let seconds =
            HistogramOpts::new("emberlog_api_request_seconds", "Time to the head of an answer").buckets(buckets);
        let cuts = Opts::new(
            "emberlog_api_streams_cut_total",
            "Streamed answers that ended early, by reason: client, slow, time or error",
        );
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("emberlog_api_requests_total", "Answers, by route and status"),
                &["route", "status"],
            )?,
            seconds: HistogramVec::new(seconds, &["route"])?,
            scan_seconds: Counter::new(
                "emberlog_api_scan_seconds_total",
                "Time spent reading events, without waiting for clients",
            )?,
            scan_bytes: IntCounter::new("emberlog_api_scan_bytes_total", "Bytes of events read, with line breaks")?,
            events: IntCounter::new("emberlog_api_events_total", "Events read for answers")?,
            cuts: IntCounterVec::new(cuts, &["reason"])?,
        };
        for reason in ["client", "slow", "time", "error"] {
            metrics.cuts.with_label_values(&[reason]);
        }
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.scan_seconds.clone()))?;
        registry.register(Box::new(metrics.scan_bytes.clone()))?;
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.cuts.clone()))?;
        registry.register(Box::new(Freshness::new(reader)?))?;
        Ok(metrics)
    }

    pub fn scanned(&self, busy: Duration, events: usize, bytes: usize) {
        self.scan_seconds.inc_by(busy.as_secs_f64());
        self.scan_bytes.inc_by(bytes as u64);
        self.events.inc_by(events as u64);
    }

    pub fn cut(&self, reason: &'static str) {
        self.cuts.with_label_values(&[reason]).inc();
    }
}

/// Counts a request by the template of its route: names of jobs and runs are never labels.
pub async fn observe(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    api.metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
    api.metrics.seconds.with_label_values(&[route]).observe(began.elapsed().as_secs_f64());
    response
}

/// How far what is served lies behind what came in, read when it is asked for.
#[derive(Debug)]
struct Freshness {
    reader: Reader,
    /// The time through which all is served, as last seen: while nothing can be read, it is what grows old.
    through: Mutex<Option<ReceivedAt>>,
    staleness: Gauge,
    partitions: IntGauge,
}

impl Freshness {
    fn new(reader: Reader) -> prometheus::Result<Self> {
        let staleness = "Age of the time through which every partition is served";
        Ok(Self {
            reader,
            through: Mutex::new(None),
            staleness: Gauge::new("emberlog_api_staleness_seconds", staleness)?,
            partitions: IntGauge::new("emberlog_api_partitions", "Partitions of which anything is served")?,
        })
    }
}

impl Collector for Freshness {
    fn desc(&self) -> Vec<&Desc> {
        [self.staleness.desc(), self.partitions.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut through = self.through.lock().unwrap_or_else(PoisonError::into_inner);
        match self.reader.view(|view| view.all_applied()) {
            Ok(applied) => {
                *through = applied.iter().map(|(_, applied)| applied.through).min();
                self.partitions.set(i64::try_from(applied.len()).unwrap_or(i64::MAX));
            }
            // The readiness says so.
            Err(store::Error::NotYet(_) | store::Error::NoView { .. }) => {}
            Err(error) => tracing::warn!(%error, "cannot read how far the store is applied"),
        }
        let behind = through.map_or(0, |through| ReceivedAt::now().0.saturating_sub(through.0));
        self.staleness.set(behind.max(0) as f64 / 1000.0);
        [self.staleness.collect(), self.partitions.collect()].concat()
    }
}
