//! From the journal into the store: the only writer of a store.
//!
//! Two hops: [`Subscriber::next`](journal::Subscriber::next), then [`Applier::apply`] in one write batch that
//! holds events, records and offset alike, so that a kill between two batches loses and doubles nothing.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod delete;
mod flags;
mod follow;
mod halt;
mod metrics;
mod poison;
pub mod program;
pub mod rebuild;
mod resume;
mod retention;
mod runs;
mod start;
mod step;
mod thread;

pub use apply::{Applier, Outcome};
pub use flags::{Flags, RetentionFlags};
pub use follow::{Connect, Hooks, Materializer, Options, State, Synced};
pub use halt::{Halt, Order};
pub use metrics::Metrics;
pub use poison::{Quarantine, quarantine};
pub use resume::{Resumed, resume};
pub use retention::Retention;
pub use step::Poison;
pub use thread::{Thread, shown};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(
        "partition {partition}: the store has applied up to offset {applied}, but the journal holds {start} to {end}"
    )]
    Gap { partition: u32, applied: u64, start: u64, end: u64 },
    #[error(
        "partition {partition}: the record at offset {offset} is not the one that was applied: the journal was made anew or cut back"
    )]
    AnotherJournal { partition: u32, offset: u64 },
    #[error("the journal has {found} partitions, not {expected} as before")]
    Partitions { found: usize, expected: usize },
    #[error(
        "{count} records were quarantined within an hour, over the limit of {limit}: something else writes to the journal. The last one: {reason}"
    )]
    TooMuchPoison { count: u64, limit: u64, reason: String },
    #[error(
        "the journal (from offset {start} of partition {partition}) no longer holds all that the store was made from: {runs} runs \
         would vanish or lose events; rebuild from the store, or say --accept-loss"
    )]
    WouldLose { partition: u32, start: u64, runs: u64 },
    #[error("the rebuild was begun from the {found}; finish it, or give it up with --restart")]
    OtherSource { found: String },
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// The partition that the journal no longer holds as it was applied.
    fn partition(&self) -> Option<u32> {
        match self {
            Self::Gap { partition, .. } | Self::AnotherJournal { partition, .. } => Some(*partition),
            _ => None,
        }
    }

    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            _ => false,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
