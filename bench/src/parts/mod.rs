//! The parts of the bench, each of which can be run alone.

pub mod apply;

use std::path::PathBuf;
use std::time::Duration;

/// What all parts are told.
#[derive(Debug, Clone)]
pub struct Context {
    /// An empty folder on the disk to be measured.
    pub dir: PathBuf,
    pub events: u64,
    pub runs: u64,
    pub seed: u64,
    pub seconds: Duration,
}

#[allow(clippy::cast_precision_loss)] // Figures are read to a few digits.
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}
