//! Of the embedded journal as a whole.

mod contract;

use prometheus::Registry;

use super::Metrics;

fn metrics() -> Metrics {
    Metrics::register(&Registry::new(), "events").unwrap()
}
