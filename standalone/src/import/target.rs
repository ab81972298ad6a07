//! What logs are imported into: a server, or the embedded journal of one that does not run.

use event::{RunName, ingest};
use eventlog::Chunk;

/// An attempt of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub run: RunName,
    pub number: u32,
}

/// What is there of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// The first sequence of the attempt that is missing.
    pub next: u64,
    /// Events of the run, of all attempts and protocols.
    pub events: u64,
    /// Those of them that were imported.
    pub ingested: u64,
    /// What is sent is dropped.
    pub deleted: bool,
}

/// What became of the lines that were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub stored: u64,
    pub dead_lettered: u64,
}

pub trait Target: Send + Sync {
    fn status(&self, attempt: &Attempt) -> anyhow::Result<Status>;

    /// The event at this place of a run that has one attempt.
    fn event(&self, run: &RunName, place: u64) -> anyhow::Result<Option<Vec<u8>>>;

    /// The attempt by its `App Attempt ID`, if the run has no other.
    fn only_attempt(&self, run: &RunName) -> anyhow::Result<Option<u32>>;

    /// Empties the run, so that it can be imported anew.
    fn reopen(&self, run: &RunName) -> anyhow::Result<()>;

    /// Takes the lines of one attempt, in order.
    fn feed<'a>(&'a self, attempt: &Attempt) -> anyhow::Result<Box<dyn Feed + 'a>>;
}

/// The number of an attempt, by what Spark calls it.
pub fn number(attempt: Option<&str>) -> u32 {
    attempt.and_then(|it| it.parse().ok()).filter(|it| *it <= ingest::MAX_ATTEMPT).unwrap_or(0)
}

pub trait Feed {
    fn send(&mut self, chunk: Chunk) -> anyhow::Result<()>;

    /// Returns when all that was sent is durable, and will be seen by the next status.
    fn finish(&mut self) -> anyhow::Result<Sent>;
}
