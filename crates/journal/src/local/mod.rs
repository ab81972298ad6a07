//! The embedded journal: segment files in one directory, written by one process, for one machine.
//!
//! A publication is durable when it is acknowledged: it was written and fsynced, and so were the names of the files. A
//! failed fsync is the end: the page cache no longer tells what is on the disk, so nothing is tried again.

mod codec;
mod follower;
mod frames;
mod log;
mod metrics;
mod queue;
mod recovery;
mod retention;
mod segment;
mod storage;
mod subscriber;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs::{self, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use crate::{Error, Position, Publication, Record};
use codec::Packer;
use follower::Follower;
use log::Log;
pub use metrics::Metrics;
use queue::Queue;
use recovery::{Recovered, recover};
pub use retention::Retention;
use storage::{Disk, Storage};
use subscriber::Source;
pub use subscriber::Subscriber;
use writer::Writer;

/// The only partition of an embedded journal.
pub const PARTITION: u32 = 0;

const LOCK_FILE: &str = "lock";

#[derive(Debug, Clone)]
pub struct Options {
    /// A segment that has as many bytes is followed by another.
    pub segment_bytes: u64,
    /// A segment that is as old is followed by another, so that retention by age is not held up by few events.
    pub segment_age: Duration,
    /// Bytes of key, header and value that one record may have; at most 32 MiB.
    pub max_record_bytes: usize,
    /// Bytes of records that may be on their way to the disk; one publication alone may have more.
    pub max_bytes_in_flight: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(24 * 3600),
            max_record_bytes: 16 << 20,
            max_bytes_in_flight: 256 << 20,
        }
    }
}

/// An embedded journal, open for writing. Dropping it closes it.
pub struct Local {
    storage: Arc<dyn Storage>,
    queue: Arc<Queue>,
    log: Arc<Log>,
    max_record_bytes: usize,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held until the writer has ended.
    _lock: Option<fs::File>,
}

impl Local {
    /// Opens the journal in `dir`, or begins one there. It belongs to this process until it is closed.
    pub fn open(dir: &Path, options: Options, metrics: Metrics) -> Result<Self, Error> {
        let unavailable = |e: io::Error| named(dir, Error::Unavailable(e.to_string()));
        let disk = Disk::create(dir).map_err(unavailable)?;
        let lock = fs::File::create(dir.join(LOCK_FILE)).map_err(unavailable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(dir.to_owned())),
            Err(TryLockError::Error(e)) => return Err(unavailable(e)),
        }
        Self::open_on(Arc::new(disk), options, metrics, Some(lock)).map_err(|e| named(dir, e))
    }

    fn open_on(
        storage: Arc<dyn Storage>,
        options: Options,
        metrics: Metrics,
        lock: Option<fs::File>,
    ) -> Result<Self, Error> {
        let Recovered { view, active, torn } = recover(&*storage)?;
        metrics.truncated_tails.inc_by(u64::from(torn > 0));
        let end = view.end;
        let log = Arc::new(Log::new(view, metrics.clone()));
        let queue = Arc::new(Queue::new(options.max_bytes_in_flight, metrics.clone()));
        let max_record_bytes = options.max_record_bytes.min(segment::MAX_FRAME_BYTES / 2);
        let packer = Packer::new().map_err(|e| Error::Fatal(e.to_string()))?;
        let (storage_, queue_, log_) = (storage.clone(), queue.clone(), log.clone());
        let writer = Writer { storage: storage_, queue: queue_, log: log_, options, metrics, packer, active, end };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run());
        let writer = Mutex::new(Some(thread.map_err(|e| Error::Unavailable(e.to_string()))?));
        Ok(Self { storage, queue, log, max_record_bytes, writer, _lock: lock })
    }

    /// A writing end; its clones write to the same journal.
    pub fn publisher(&self) -> Publisher {
        Publisher { queue: self.queue.clone(), max_record_bytes: self.max_record_bytes }
    }

    /// A reading end. It sees a record as soon as it is durable, and never before.
    pub fn subscriber(&self) -> Result<Subscriber, Error> {
        Subscriber::new(self.storage.clone(), Source::Writer(self.log.clone()))
    }

    /// Resolves when the journal has failed, with `Error::Fatal`: the process must end. Never resolves otherwise.
    pub fn failed(&self) -> impl Future<Output = Error> + Send + use<> {
        let mut failure: watch::Receiver<Option<String>> = self.log.failure();
        let log = self.log.clone();
        async move {
            let why = failure.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            drop(log);
            Error::Fatal(why.unwrap_or_default())
        }
    }

    /// Writes what waits, and takes nothing more. Blocks until it is done.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|it| it.join().is_err()) {
            tracing::error!("the journal's writer has panicked");
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// Says which journal could not be opened.
fn named(dir: &Path, error: Error) -> Error {
    match error {
        Error::Unavailable(why) => Error::Unavailable(format!("{}: {why}", dir.display())),
        Error::Damaged(why) => Error::Damaged(format!("{}: {why}", dir.display())),
        other => other,
    }
}

/// Reads the journal in `dir` while another process may be writing it; neither locks nor changes it. Of the newest
/// records it may see some that are written and not yet durable: a power cut can take these back.
pub fn open_reader(dir: &Path) -> Result<Subscriber, Error> {
    let storage: Arc<dyn Storage> = Arc::new(Disk::read_only(dir));
    let follower = Follower::new(storage.clone()).map_err(|e| named(dir, e))?;
    Subscriber::new(storage, Source::Files(follower))
}

/// The writing end of an embedded journal.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: Arc<Queue>,
    max_record_bytes: usize,
}

impl crate::Publisher for Publisher {
    /// Begins at once, and not when the future is first polled.
    fn publish(&self, records: Vec<Record>) -> Publication<'_> {
        let answer = self.begin(records);
        Box::pin(async move {
            let Some(answer) = answer? else { return Ok(Vec::new()) };
            let stopped = |_| Err(Error::Fatal("the writer has stopped".to_owned()));
            let offset = answer.await.unwrap_or_else(stopped)?;
            Ok(vec![Position { partition: PARTITION, offset }])
        })
    }

    fn publish_to_all(&self, record: Record) -> Publication<'_> {
        self.publish(vec![record])
    }
}

impl Publisher {
    fn begin(&self, records: Vec<Record>) -> Result<Option<queue::Answer>, Error> {
        let limit = self.max_record_bytes;
        if let Some(bytes) = records.iter().map(Record::size).find(|bytes| *bytes > limit) {
            return Err(Error::RecordTooLarge { bytes, limit });
        }
        if records.is_empty() { Ok(None) } else { self.queue.push(records).map(Some) }
    }
}
