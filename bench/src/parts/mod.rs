//! The parts of the bench, each of which can be run alone.

pub mod apply;
pub mod collect;
pub mod idle;
pub mod kafka;
pub mod logs;
pub mod protocols;
pub mod rebuild;
pub mod serve;

use std::path::PathBuf;
use std::time::Duration;

/// What all parts are told.
#[derive(Debug, Clone)]
pub struct Context {
    /// An empty folder on the disk to be measured.
    pub dir: PathBuf,
    /// Events to apply.
    pub events: u64,
    /// Events to send over HTTP, in each part that does.
    pub requests: u64,
    pub runs: u64,
    pub seed: u64,
    pub seconds: Duration,
}

#[allow(clippy::cast_precision_loss)] // Figures are read to a few digits.
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// The value that so many of the sorted ones do not exceed.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
