//! The only way into a store.

use std::path::Path;
use std::sync::Arc;

use event::{EventKey, Identity, RunHash, RunName, Sequence};
use rocksdb::WriteBatch;

use crate::database::{Database, Options};
use crate::fold::run::Run;
use crate::reclaim::Reclaimer;
use crate::table::applied::{self, Applied};
use crate::table::gone::{self, Gone};
use crate::table::run::{self, RunNumber};
use crate::table::{event as event_table, job, meta, ring, sample};
use crate::{Error, Reader, Result};

/// The one writer of a store.
#[derive(Debug)]
pub struct Writer {
    database: Arc<Database>,
    last_batch: u64,
    reclaimer: Reclaimer,
}

/// All changes of one step. Nothing of it is visible before it is committed, then all at once.
#[must_use = "a batch changes nothing until it is committed"]
#[derive(Default)]
pub struct Batch(pub(crate) WriteBatch);

impl Writer {
    /// Opens the store in `dir`, creating it if it is not there.
    pub fn open(dir: &Path, options: &Options) -> Result<Self> {
        let database = Database::open(dir, options)?;
        let last = database.db.get(meta::BATCH_KEY)?.as_deref().and_then(meta::decode_batch);
        let reclaimer = Reclaimer::new(database.clone());
        Ok(Self { database, last_batch: last.map_or(0, |(number, _)| number), reclaimer })
    }

    /// A reader of the same store, in the same process: what is committed is visible at once.
    pub fn reader(&self) -> Reader {
        Reader::new(self.database.clone())
    }

    /// Writes a batch, atomically. It survives the process, but not a power cut, until [`Writer::sync`]: the
    /// journal replays what is missing.
    pub fn commit(&mut self, mut batch: Batch) -> Result<()> {
        let number = self.last_batch + 1;
        batch.0.put(ring::key(number), number.to_be_bytes());
        // Each change takes one sequence number, and nobody else writes.
        let sequence = self.database.db.latest_sequence_number() + batch.0.len() as u64 + 1;
        batch.0.put(meta::BATCH_KEY, meta::encode_batch(number, sequence));
        self.database.db.write(&batch.0)?;
        self.last_batch = number;
        Ok(())
    }

    /// Takes the space of removed runs back, in the background.
    pub fn reclaim(&mut self, runs: Vec<RunNumber>) {
        self.reclaimer.reclaim(runs);
    }

    /// Returns when all that was committed survives a power cut.
    pub fn sync(&self) -> Result<()> {
        Ok(self.database.db.flush_wal(true)?)
    }

    /// Writes memtables to their files, and waits until compactions have caught up.
    pub fn settle(&self) -> Result<()> {
        self.database.db.flush()?;
        Ok(self.database.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default())?)
    }

    /// Lets RocksDB write again after an error that has passed, such as a full disk.
    pub fn resume(&self) -> Result<()> {
        Ok(self.database.db.resume()?)
    }

    pub fn applied(&self, partition: u16) -> Result<Option<Applied>> {
        self.database.db.get_pinned(applied::key(partition))?.map(|value| applied::decode(&value)).transpose()
    }

    /// The record of a run. Another run of the same hash is an error, never an answer.
    pub fn run(&self, name: &RunName) -> Result<Option<Run>> {
        let hash = name.hash();
        let Some(value) = self.database.db.get_pinned(run::key(hash))? else { return Ok(None) };
        let found = run::decode(&value)?;
        if found.job_name == name.job.as_str() && found.run_id == name.run.as_str() {
            return Ok(Some(found));
        }
        let first = format!("{:?}", (&found.job_name, &found.run_id));
        Err(Error::Collision { hash, first, second: format!("{:?}", (name.job.as_str(), name.run.as_str())) })
    }

    /// Why nothing more of a run is taken in, if it was deleted or has expired.
    pub fn gone(&self, run: RunHash, partition: u16) -> Result<Option<Gone>> {
        self.database.db.get_pinned(gone::key(run, partition))?.map(|value| gone::decode(&value)).transpose()
    }

    pub fn holds(&self, run: RunNumber, key: EventKey) -> Result<bool> {
        Ok(self.database.db.get_pinned(event_table::key(run, key))?.is_some())
    }

    pub fn holds_sample(&self, run: RunNumber, key: EventKey) -> Result<bool> {
        Ok(self.database.db.get_pinned(sample::key(run, key))?.is_some())
    }

    /// The identities stored at one `order` of a run.
    pub fn identities_at(&self, run: RunNumber, order: i64) -> Result<Vec<Identity>> {
        self.identities(&event_table::of_order(run, order))
    }

    /// The identities stored at one `order` and `sequence` of a run.
    pub fn identities_at_sequence(&self, run: RunNumber, order: i64, sequence: Sequence) -> Result<Vec<Identity>> {
        self.identities(&event_table::of_sequence(run, order, sequence))
    }

    fn identities(&self, prefix: &[u8]) -> Result<Vec<Identity>> {
        let mut identities = Vec::new();
        let mut iterator = self.database.db.raw_iterator();
        iterator.seek(prefix);
        while let Some(key) = iterator.key().filter(|key| key.starts_with(prefix)) {
            let (_, key) =
                event_table::parse(key).ok_or_else(|| Error::Damaged("a key of no event among events".into()))?;
            identities.push(key.identity);
            iterator.next();
        }
        iterator.status()?;
        Ok(identities)
    }

    /// How far a rebuild from another store has come, if this one is being made by it.
    pub fn copied(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.database.db.get(meta::COPIED_KEY)?)
    }
}

impl Batch {
    pub fn put_event(&mut self, run: RunNumber, key: EventKey, event: &[u8]) {
        self.0.put(event_table::key(run, key), event);
    }

    pub fn put_sample(&mut self, run: RunNumber, key: EventKey, sample: &[u8]) {
        self.0.put(sample::key(run, key), sample);
    }

    /// Writes a run's record and its places in the indexes; `before`: the start by which it is indexed so far.
    pub fn put_run(&mut self, run: &Run, before: Option<i64>) -> Result<()> {
        let name = run.name()?;
        let (hash, started) = (name.hash(), run.started_at());
        self.0.put(run::key(hash), run::encode(run)?);
        if before != Some(started) {
            if let Some(before) = before {
                self.0.delete(job::run_key(&name.job, before, hash));
            }
            self.0.put(job::run_key(&name.job, started, hash), name.run.as_str());
            self.0.put(job::key(name.job.as_str()), b"");
        }
        Ok(())
    }

    /// Removes a run's events, samples and record; `indexed`: the start by which it is indexed. Its job stays.
    pub fn remove_run(&mut self, run: &Run, indexed: i64) -> Result<()> {
        let name = run.name()?;
        for [first, end] in [event_table::range(run.number), sample::range(run.number)] {
            self.0.delete_range(first, end);
        }
        self.0.delete(run::key(name.hash()));
        self.0.delete(job::run_key(&name.job, indexed, name.hash()));
        Ok(())
    }

    /// For a job without runs.
    pub fn remove_job(&mut self, job: &str) {
        self.0.delete(job::key(job));
    }

    /// From now on what comes of the run in this partition is to be dropped.
    pub fn put_gone(&mut self, run: RunHash, partition: u16, gone: &Gone) -> Result<()> {
        self.0.put(gone::key(run, partition), gone::encode(gone)?);
        Ok(())
    }

    pub fn remove_gone(&mut self, run: RunHash, partition: u16) {
        self.0.delete(gone::key(run, partition));
    }

    pub fn put_applied(&mut self, partition: u16, applied: &Applied) -> Result<()> {
        self.0.put(applied::key(partition), applied::encode(applied)?);
        Ok(())
    }

    /// For a partition that the journal no longer has.
    pub fn remove_applied(&mut self, partition: u16) {
        self.0.delete(applied::key(partition));
    }

    pub fn put_copied(&mut self, progress: &[u8]) {
        self.0.put(meta::COPIED_KEY, progress);
    }

    pub fn remove_copied(&mut self) {
        self.0.delete(meta::COPIED_KEY);
    }

    /// Bytes of the batch as it will be written.
    pub fn size(&self) -> usize {
        self.0.size_in_bytes()
    }
}

impl Writer {
    /// The record under a hash, whatever its names: only for tests of collisions.
    #[cfg(test)]
    pub(crate) fn put_run_under(&self, hash: event::RunHash, run: &Run) -> Result<()> {
        Ok(self.database.db.put(run::key(hash), run::encode(run)?)?)
    }
}

#[cfg(test)]
mod tests {
    use event::ReceivedAt;

    use super::*;

    #[test]
    fn a_batch_names_the_sequence_that_it_ends_at() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let mut writer = Writer::open(dir.path(), &Options::default()).unwrap();
            for partition in 0..5 {
                let mut batch = Batch::default();
                batch.put_applied(partition, &Applied::default()).unwrap();
                batch.remove_applied(partition + 1);
                let name = RunName::new("job", "r").unwrap();
                let run = Run::new(&name, RunNumber { partition, number: 0 }, 0, ReceivedAt(0));
                batch.remove_run(&run, run.started_at()).unwrap();
                writer.commit(batch).unwrap();
                let value = writer.database.db.get(meta::BATCH_KEY).unwrap().unwrap();
                let named = meta::decode_batch(&value).unwrap();
                assert_eq!(named, (writer.last_batch, Some(writer.database.db.latest_sequence_number())));
            }
        }
    }

    #[test]
    fn a_run_found_under_the_hash_of_another_is_an_error_and_never_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), &Options::default()).unwrap();
        let [asked, other] = ["asked for", "other"].map(|run| RunName::new("job", run).unwrap());
        assert_eq!(writer.run(&asked).unwrap(), None);
        let number = RunNumber { partition: 0, number: 0 };
        writer.put_run_under(asked.hash(), &Run::new(&other, number, 0, ReceivedAt(0))).unwrap();
        assert!(matches!(writer.run(&asked), Err(Error::Collision { .. })));
    }

    #[test]
    fn a_damaged_block_is_no_reason_to_try_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &Options::default()).unwrap();
        let name = RunName::new("job", "r").unwrap();
        let mut batch = Batch::default();
        batch.put_run(&Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(0)), None).unwrap();
        writer.commit(batch).unwrap();
        writer.settle().unwrap();
        drop(writer);
        for file in std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().path()) {
            if file.extension().is_some_and(|it| it == "sst") {
                let mut bytes = std::fs::read(&file).unwrap();
                bytes[..40].iter_mut().for_each(|byte| *byte ^= 0x55);
                std::fs::write(&file, bytes).unwrap();
            }
        }
        let found = Writer::open(dir.path(), &Options::default()).and_then(|writer| writer.run(&name));
        let error = found.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        let full = Error::Io { path: dir.path().into(), source: std::io::ErrorKind::StorageFull.into() };
        assert!(full.is_retryable());
    }
}
