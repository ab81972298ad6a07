//! Flags of every binary that serves reads.

use std::time::Duration;

use clap::Args;
use service::units;

use crate::Options;

/// To be flattened into a binary's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reads")]
#[group(skip)]
pub struct Flags {
    /// A run without a sign of life for so long is lost
    #[arg(long, env = "EMBERLOG_LOST_AFTER", default_value = "2m", value_parser = units::duration)]
    pub lost_after: Duration,
}

impl From<&Flags> for Options {
    fn from(flags: &Flags) -> Self {
        Self { lost_after: flags.lost_after, ..Self::default() }
    }
}
