//! Flags of every binary that writes a store.

use clap::Args;
use service::units;

use crate::Options;

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
}

impl From<&Flags> for Options {
    fn from(flags: &Flags) -> Self {
        let store = store::Options { block_cache: flags.block_cache, memtable: flags.memtable };
        Self { store, poison_limit: flags.poison_limit, ..Self::default() }
    }
}
