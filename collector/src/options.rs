//! Limits and times of the collector.

use std::time::Duration;

use clap::Args;
use event::Redaction;
use event::redact::{self, Pattern};
use service::units;

/// The flags of every binary that takes events in, to be flattened into its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ingest")]
#[group(skip)]
pub struct Flags {
    /// The largest request body, as sent
    #[arg(long, env = "EMBERLOG_MAX_BODY", value_name = "SIZE", default_value = "32MiB", value_parser = units::size)]
    pub max_body: usize,
    /// The largest request body, decompressed
    #[arg(long, env = "EMBERLOG_MAX_DECOMPRESSED", value_name = "SIZE", default_value = "256MiB", value_parser = units::size)]
    pub max_decompressed: usize,
    /// Bytes of all requests in memory; over it they are answered 503
    #[arg(long, env = "EMBERLOG_MAX_IN_FLIGHT", value_name = "SIZE", default_value = "1GiB", value_parser = units::size)]
    pub max_in_flight: usize,
    /// What makes a property a secret if its key or value matches: a regular expression, as Spark's own
    /// `spark.redaction.regex`
    #[arg(long, env = "EMBERLOG_REDACT_PATTERN", value_name = "REGEX", default_value = redact::DEFAULT_PATTERN)]
    pub redact_pattern: Pattern,
    /// Keep secrets as they come. They are in the journal, in the store and in answers then
    #[arg(long, env = "EMBERLOG_NO_REDACTION")]
    pub no_redaction: bool,
}

impl From<&Flags> for Options {
    fn from(flags: &Flags) -> Self {
        Self {
            wire_bytes: flags.max_body,
            decompressed_bytes: flags.max_decompressed,
            budget_bytes: flags.max_in_flight,
            redaction: match flags.no_redaction {
                true => Redaction::off(),
                false => flags.redact_pattern.clone().into(),
            },
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    /// The largest body, as it is sent.
    pub wire_bytes: usize,
    /// The largest body, decompressed.
    pub decompressed_bytes: usize,
    /// What all requests together may hold in memory: bodies, and what they decompress and decode to.
    pub budget_bytes: usize,
    /// The largest event: what the journal takes in one record, less the room for key and header.
    pub event_bytes: usize,
    /// What is taken out before anything is kept.
    pub redaction: Redaction,
    /// From the end of a body to its answer, whatever the journal does. Some agents wait for ever, and their
    /// applications' ends with them: five seconds, less what the answer's way takes.
    pub answer_within: Duration,
    /// How long a client may send nothing in the middle of a body.
    pub body_idle: Duration,
    /// How long a body may take.
    pub body_total: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wire_bytes: 32 << 20,
            decompressed_bytes: 256 << 20,
            // Room for one payload of the largest size, decompressed and decoded, and for others beside it.
            budget_bytes: 1 << 30,
            event_bytes: 16_000_000 - (64 << 10),
            redaction: Redaction::default(),
            answer_within: Duration::from_millis(4_500),
            body_idle: Duration::from_secs(10),
            body_total: Duration::from_secs(120),
        }
    }
}
