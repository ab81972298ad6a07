//! Flags of every binary that writes a store.

use std::time::Duration;

use clap::Args;
use service::units;

use crate::{Options, Retention};

/// To be flattened into a binary's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Store")]
#[group(skip)]
pub struct Flags {
    /// Memory for decompressed blocks of the store
    #[arg(long, env = "EMBERLOG_BLOCK_CACHE", value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub block_cache: usize,
    /// Size of one memtable of the store; up to three are in memory
    #[arg(long, env = "EMBERLOG_MEMTABLE", value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub memtable: usize,
    /// Records that are no events and may be quarantined within an hour; more of them halt the materializer
    #[arg(long, env = "EMBERLOG_POISON_LIMIT", value_name = "COUNT", default_value_t = 1000)]
    pub poison_limit: u64,
    #[command(flatten)]
    pub retention: RetentionFlags,
}

/// How long runs are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Retention of runs")]
#[group(skip)]
pub struct RetentionFlags {
    /// Remove a run so long after its last event came in [default: never]
    #[arg(long, env = "EMBERLOG_RETAIN_AGE", value_name = "DURATION", value_parser = units::duration)]
    pub retain_age: Option<Duration>,
    /// Remove the oldest runs while the events of all have more bytes, as they were sent [default: never]
    #[arg(long, env = "EMBERLOG_RETAIN_SIZE", value_name = "SIZE", value_parser = units::size)]
    pub retain_size: Option<usize>,
    /// Keep so many runs of each job, the newest [default: all]
    #[arg(long, env = "EMBERLOG_RETAIN_RUNS", value_name = "COUNT")]
    pub retain_runs: Option<u64>,
    /// How often to look for runs to remove
    #[arg(long, env = "EMBERLOG_RETAIN_INTERVAL", value_name = "DURATION", default_value = "1m", value_parser = units::duration)]
    pub retain_interval: Duration,
}

impl Flags {
    /// `lost_after`: when a run is lost, which retention must not forestall.
    pub fn options(&self, lost_after: Duration) -> Options {
        let store = store::Options { block_cache: self.block_cache, memtable: self.memtable };
        let retention = Retention {
            max_age: self.retention.retain_age,
            max_bytes: self.retention.retain_size.map(|bytes| bytes as u64),
            max_runs: self.retention.retain_runs,
            lost_after,
            // Each look reads all records.
            interval: self.retention.retain_interval.max(Duration::from_millis(100)),
        };
        Options { store, poison_limit: self.poison_limit, retention, ..Options::default() }
    }
}
