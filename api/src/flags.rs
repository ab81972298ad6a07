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
    /// Streamed answers at once, each up to some 1.5 MB of memory; more are asked to come back. Pages (`?limit=`) are
    /// not counted
    #[arg(long, env = "EMBERLOG_MAX_STREAMS", value_name = "COUNT", default_value_t = 128)]
    pub max_streams: usize,
    /// The longest time that a streamed answer may take; it is cut then
    #[arg(long, env = "EMBERLOG_STREAM_TIME", value_name = "DURATION", default_value = "1d", value_parser = units::duration)]
    pub stream_time: Duration,
    /// Cut the streamed answer of a client that takes less a second, over a minute; 0 for none
    #[arg(long, env = "EMBERLOG_STREAM_MIN_RATE", value_name = "SIZE", default_value = "16KiB", value_parser = units::size)]
    pub stream_min_rate: usize,
}

impl From<&Flags> for Options {
    fn from(flags: &Flags) -> Self {
        Self {
            lost_after: flags.lost_after,
            streams: flags.max_streams,
            stream_time: flags.stream_time,
            stream_rate: flags.stream_min_rate as u64,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn flags_that_are_not_given_mean_the_defaults() {
        assert_eq!(Options::from(&Cli::parse_from(["api"]).flags), Options::default());
    }
}
