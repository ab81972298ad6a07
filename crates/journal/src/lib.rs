//! The durable order of all that was accepted: what a publisher acknowledged, every subscriber reads,
//! once per offset and in the order of its partition. It knows records, not what is in them.
//!
//! An **offset** is a record's place in a partition. Offsets ascend; the embedded journal's are dense from 0, Kafka's may
//! have gaps.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod kafka;
pub mod local;
pub mod partition;
pub mod patient;

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// One record: `docs/record-format.md` says what each part holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Names the run; records of one key share a partition and stay in order.
    pub key: Bytes,
    /// The text of the one header. Empty if a foreign record has none.
    pub header: Bytes,
    pub value: Bytes,
}

impl Record {
    /// Bytes that count against memory budgets.
    pub fn size(&self) -> usize {
        self.key.len() + self.header.len() + self.value.len()
    }

    /// What tells this record from another at the same offset of a journal that was cut back or made anew.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for part in [&self.key, &self.header, &self.value] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.digest()
    }
}

/// A record with its place, as a subscriber hands it out. Offsets ascend within a partition, not always by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub partition: u32,
    pub offset: u64,
    pub record: Record,
}

/// Where the last record of a publication went in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub partition: u32,
    pub offset: u64,
}

/// The offsets that a partition holds: `start` is the oldest, `end` the next to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub partition: u32,
    pub start: u64,
    pub end: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was, or may have been, written; to be tried again later.
    #[error("the journal is not available: {0}")]
    Unavailable(String),
    /// The budget of bytes on their way to the journal is used up; nothing was written.
    #[error("too many bytes are on their way to the journal")]
    Overloaded,
    #[error("a record of {bytes} bytes is over the journal's limit of {limit}")]
    RecordTooLarge { bytes: usize, limit: usize },
    /// A subscriber asked for records that the journal no longer, or never, held.
    #[error("partition {partition} holds the offsets from {start} to {end}, not {wanted}")]
    OutOfRange { partition: u32, wanted: u64, start: u64, end: u64 },
    #[error("the journal in {} is open in another process; stop that first, or choose another directory", .0.display())]
    InUse(PathBuf),
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// What a subscriber has read is no longer what the journal holds there.
    #[error(
        "partition {partition}: the record at offset {offset} is not the one that was read: the journal was cut back, or \
         made anew"
    )]
    Rewritten { partition: u32, offset: u64 },
    /// The runs are spread over the partitions by their count, which is fixed for a journal's life.
    #[error("the journal has {found} partitions, not {expected} as before")]
    Repartitioned { found: u32, expected: u32 },
    /// Somebody has to change a setting; the text says which.
    #[error("{0}")]
    Configuration(String),
    /// The journal must not be written to again by this process.
    #[error("the journal has failed: {0}")]
    Fatal(String),
}

impl Error {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Overloaded)
    }
}

pub type Publication<'a> = Pin<Box<dyn Future<Output = Result<Vec<Position>, Error>> + Send + 'a>>;

/// The writing end. Shared by all requests.
pub trait Publisher: Debug + Send + Sync + 'static {
    /// Resolves when every record is durable; records of one call and partition keep their order.
    /// One position per partition written to, that of the call's last record there. Kafka does not tell it of a record
    /// that a retry found to be there already; then it is missing.
    /// Dropping the future does not take back what was begun.
    fn publish(&self, records: Vec<Record>) -> Publication<'_>;

    /// The same with one copy of the record in every partition, whatever its key. After an error some may hold it.
    fn publish_to_all(&self, record: Record) -> Publication<'_>;
}

/// The reading end. Owned by one thread.
pub trait Subscriber: Debug + Send {
    /// One extent per partition, in order of partition.
    fn extents(&mut self) -> Result<Vec<Extent>, Error>;

    /// Goes on at `offset` in that partition; offset `end` waits for what comes. Until it is called, nothing of a partition is read.
    fn seek(&mut self, position: Position) -> Result<(), Error>;

    /// The next records, in order within each partition; empty when none came within `max_wait`.
    /// A batch is bounded in count and bytes, but holds at least one record if there is any.
    /// An error that is not retryable comes again until a seek; after it every partition has to be sought anew.
    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, Error>;
}
