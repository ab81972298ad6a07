//! From the journal into the store: the only writer of a store.
//!
//! Two hops: [`Subscriber::next`](journal::Subscriber::next), then [`Applier::apply`] in one write batch that
//! holds events, records and offset alike, so that a kill between two batches loses and doubles nothing.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod follow;
mod metrics;
pub mod rebuild;
mod runs;
mod step;

pub use apply::{Applier, Outcome};
pub use follow::{Materializer, Options, Quarantine, Synced};
pub use metrics::Metrics;
pub use step::Poison;

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
    #[error("the store was applied from {found} partitions, the journal has {expected}")]
    Partitions { found: usize, expected: usize },
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
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_retryable(),
            // A full disk is emptied, a slow one recovers.
            Self::Store(store::Error::RocksDb(_) | store::Error::Io { .. }) => true,
            _ => false,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
