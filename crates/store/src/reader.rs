//! The way out of a store. Every answer comes from one view: one state of the store between two batches.

use std::sync::Arc;

use event::{EventKey, RunHash};
use rocksdb::{DBRawIterator, ReadOptions};

use crate::database::Database;
use crate::fold::run::Run;
use crate::gate::Gate;
use crate::table::applied::{self, Applied};
use crate::table::gone::{self, Gone};
use crate::table::run::{self, RunNumber};
use crate::table::{event as event_table, job, meta, sample};
use crate::{Error, Result};

/// A handle to the served store; cheap to clone. All clones follow a change of generation together.
#[derive(Debug, Clone)]
pub struct Reader {
    gate: Arc<Gate>,
}

/// One state of the store. Blocks: to be used off the async threads.
pub struct View<'a> {
    iterator: DBRawIterator<'a>,
}

/// What is kept of a run line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Event,
    /// Placed as an event of sequence 0 whose `order` is its time.
    Sample,
}

type Parse = fn(&[u8]) -> Option<(RunNumber, EventKey)>;

impl Line {
    fn parse(self) -> Parse {
        match self {
            Self::Event => event_table::parse,
            Self::Sample => sample::parse,
        }
    }
}

/// Where a page of runs goes on: behind this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    pub started: i64,
    pub hash: RunHash,
}

/// A run in the list of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    pub cursor: RunCursor,
    pub run_id: String,
}

impl Reader {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self::through(Arc::new(Gate::open_to(database)))
    }

    pub(crate) fn through(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// The state of a store that another process writes to, as it is now.
    pub fn frozen(dir: &std::path::Path, options: &crate::Options) -> Result<Self> {
        Ok(Self::new(Database::open_frozen(dir, options)?))
    }

    /// From now on this reader and its clones read what `other` reads. Views in use end on the state they began with.
    pub fn follow(&self, other: &Reader) {
        if let Some(database) = other.gate.served() {
            self.gate.serve(database);
        }
    }

    /// What is served, for figures that no answer is made of.
    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.gate.served()
    }

    /// Answers from one view. For records and lists: what it reads stays in the cache.
    ///
    /// Of a [`Secondary`](crate::Secondary) all reads may fail with [`Error::NotYet`] and [`Error::NoView`].
    pub fn view<T, E: From<Error>>(&self, answer: impl FnOnce(&mut View<'_>) -> Result<T, E>) -> Result<T, E> {
        self.view_with(ReadOptions::default(), answer)
    }

    /// Answers from one view. For the events of a run.
    pub fn scan<T, E: From<Error>>(&self, answer: impl FnOnce(&mut View<'_>) -> Result<T, E>) -> Result<T, E> {
        self.view_with(Database::scan_options(), answer)
    }

    fn view_with<T, E: From<Error>>(
        &self,
        options: ReadOptions,
        answer: impl FnOnce(&mut View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let pass = self.gate.enter()?;
        let database = pass.database.clone();
        let iterator = database.db.raw_iterator_opt(options);
        // The iterator stays on the state it was made on.
        drop(pass);
        answer(&mut View { iterator })
    }

    /// A run's record by one point read.
    pub fn run(&self, hash: RunHash) -> Result<Option<Run>> {
        let pass = self.gate.enter()?;
        pass.database.db.get_pinned(run::key(hash))?.map(|value| run::decode(&value)).transpose()
    }

    /// How far a partition is applied, by one point read.
    pub fn applied(&self, partition: u16) -> Result<Option<Applied>> {
        let pass = self.gate.enter()?;
        pass.database.db.get_pinned(applied::key(partition))?.map(|value| applied::decode(&value)).transpose()
    }
}

impl<'db> View<'db> {
    pub(crate) fn new(iterator: DBRawIterator<'db>) -> Self {
        Self { iterator }
    }

    /// The number of the last batch that the view holds; it holds all before it. 0 in a new store.
    pub fn batch(&mut self) -> Result<u64> {
        self.iterator.seek(meta::BATCH_KEY);
        self.iterator.status()?;
        let last = self.iterator.item().filter(|(key, _)| *key == meta::BATCH_KEY);
        Ok(last.and_then(|(_, value)| meta::decode_batch(value)).map_or(0, |(number, _)| number))
    }

    /// Names of jobs in byte order, behind `after`.
    pub fn jobs(&mut self, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let mut jobs = Vec::new();
        self.iterator.seek(job::key(after.unwrap_or_default()));
        while let Some(name) = self.iterator.key().and_then(job::parse).filter(|_| jobs.len() < limit) {
            if after != Some(name) {
                jobs.push(name.to_owned());
            }
            self.iterator.next();
        }
        self.iterator.status()?;
        Ok(jobs)
    }

    pub fn has_job(&mut self, job: &str) -> Result<bool> {
        let key = job::key(job);
        self.iterator.seek(&key);
        self.iterator.status()?;
        Ok(self.iterator.key() == Some(&key))
    }

    /// Runs of a job, oldest first, behind `after`.
    pub fn runs(&mut self, job: &str, after: Option<RunCursor>, limit: usize) -> Result<Vec<RunEntry>> {
        let prefix = job::runs(job);
        let place = |it: RunCursor| [&prefix[..], &event::order::ordered(it.started), &it.hash.0].concat();
        let first = after.map_or_else(|| prefix.clone(), place);
        let mut runs = Vec::new();
        self.iterator.seek(first);
        while let Some((key, value)) = self.iterator.item().filter(|_| runs.len() < limit) {
            let Some((started, hash)) = key.strip_prefix(&prefix[..]).and_then(job::parse_run) else { break };
            let cursor = RunCursor { started, hash };
            if after != Some(cursor) {
                let run_id = String::from_utf8(value.to_vec());
                runs.push(RunEntry {
                    cursor,
                    run_id: run_id.map_err(|_| Error::Damaged("a run id is not UTF-8".into()))?,
                });
            }
            self.iterator.next();
        }
        self.iterator.status()?;
        Ok(runs)
    }

    pub fn run(&mut self, hash: RunHash) -> Result<Option<Run>> {
        let key = run::key(hash);
        self.iterator.seek(key);
        self.iterator.status()?;
        self.iterator.item().filter(|(found, _)| *found == key).map(|(_, value)| run::decode(value)).transpose()
    }

    pub fn applied(&mut self, partition: u16) -> Result<Option<Applied>> {
        let key = applied::key(partition);
        self.iterator.seek(key);
        self.iterator.status()?;
        self.iterator.item().filter(|(found, _)| *found == key).map(|(_, value)| applied::decode(value)).transpose()
    }

    /// All partitions that anything was applied of.
    pub fn all_applied(&mut self) -> Result<Vec<(u16, Applied)>> {
        let mut all = Vec::new();
        self.iterator.seek([applied::KIND]);
        while let Some((key, value)) = self.iterator.item() {
            let Some(partition) = applied::partition(key) else { break };
            all.push((partition, applied::decode(value)?));
            self.iterator.next();
        }
        self.iterator.status()?;
        Ok(all)
    }

    /// The record of the run behind `after` in the order of hashes: for walks over all runs.
    pub fn next_run(&mut self, after: Option<RunHash>) -> Result<Option<(RunHash, Run)>> {
        match after {
            None => self.iterator.seek([run::KIND]),
            Some(hash) => {
                self.iterator.seek(run::key(hash));
                if self.iterator.key() == Some(&run::key(hash)) {
                    self.iterator.next();
                }
            }
        }
        self.iterator.status()?;
        let Some((key, value)) = self.iterator.item().filter(|(key, _)| key.first() == Some(&run::KIND)) else {
            return Ok(None);
        };
        let hash =
            <[u8; 16]>::try_from(&key[1..]).map_err(|_| Error::Damaged("a run's key has a wrong length".into()))?;
        Ok(Some((RunHash(hash), run::decode(value)?)))
    }

    /// Why a run is not stored any more, if it was deleted or has expired.
    pub fn gone(&mut self, run: RunHash) -> Result<Option<Gone>> {
        let prefix = gone::of_run(run);
        self.iterator.seek(prefix);
        self.iterator.status()?;
        let found = self.iterator.item().filter(|(key, _)| key.starts_with(&prefix));
        found.map(|(_, value)| gone::decode(value)).transpose()
    }

    pub(crate) fn is_gone_in(&mut self, run: RunHash, partition: u16) -> Result<bool> {
        let key = gone::key(run, partition);
        self.iterator.seek(key);
        self.iterator.status()?;
        Ok(self.iterator.key() == Some(&key))
    }

    /// The run behind `after`, with its partition, that is gone: for walks over all.
    pub fn next_gone(&mut self, after: Option<(RunHash, u16)>) -> Result<Option<(RunHash, u16, Gone)>> {
        match after {
            None => self.iterator.seek([gone::KIND]),
            Some((run, partition)) => {
                let key = gone::key(run, partition);
                self.iterator.seek(key);
                if self.iterator.key() == Some(&key) {
                    self.iterator.next();
                }
            }
        }
        self.iterator.status()?;
        let Some((key, value)) = self.iterator.item() else { return Ok(None) };
        let Some((run, partition)) = gone::parse(key) else { return Ok(None) };
        Ok(Some((run, partition, gone::decode(value)?)))
    }

    /// Whether the index of its job lists a run where its record says.
    pub(crate) fn is_listed(&mut self, run: &Run) -> Result<bool> {
        let name = run.name()?;
        let key = job::run_key(&name.job, run.started_at(), name.hash());
        self.iterator.seek(&key);
        self.iterator.status()?;
        Ok(self.iterator.item() == Some((&key, run.run_id.as_bytes())))
    }

    /// The first run at or behind `from` that has events, or samples.
    pub(crate) fn first_run_with(&mut self, what: Line, from: RunNumber) -> Result<Option<RunNumber>> {
        match what {
            Line::Event => self.iterator.seek(event_table::of_run(from)),
            Line::Sample => self.iterator.seek(sample::of_run(from)),
        }
        self.iterator.status()?;
        Ok(self.iterator.key().and_then(what.parse()).map(|(run, _)| run))
    }

    /// [`Self::events`] or [`Self::samples`].
    pub fn lines(&mut self, what: Line, run: RunNumber, from: Option<EventKey>) -> Events<'_, 'db> {
        match (what, from) {
            (Line::Event, Some(from)) => self.iterator.seek(event_table::key(run, from)),
            (Line::Event, None) => self.iterator.seek(event_table::of_run(run)),
            (Line::Sample, Some(from)) => self.iterator.seek(sample::key(run, from)),
            (Line::Sample, None) => self.iterator.seek(sample::of_run(run)),
        }
        Events { view: &mut self.iterator, run, parse: what.parse(), fresh: true }
    }

    /// The events of a run in order, from the first at or behind `from`.
    pub fn events(&mut self, run: RunNumber, from: Option<EventKey>) -> Events<'_, 'db> {
        self.lines(Line::Event, run, from)
    }

    /// The samples of a run in the order of their times, from the first at or behind `from`.
    pub fn samples(&mut self, run: RunNumber, from: Option<EventKey>) -> Events<'_, 'db> {
        self.lines(Line::Sample, run, from)
    }
}

/// Events, or samples, in order. Each borrows from RocksDB's block until the next is asked for.
pub struct Events<'a, 'db> {
    view: &'a mut DBRawIterator<'db>,
    run: RunNumber,
    parse: Parse,
    fresh: bool,
}

impl Events<'_, '_> {
    /// The next event's place and bytes; none behind the last.
    #[allow(clippy::should_implement_trait)] // Lends from itself, as Iterator cannot.
    pub fn next(&mut self) -> Result<Option<(EventKey, &[u8])>> {
        if !self.fresh {
            self.view.next();
        }
        self.fresh = false;
        let Some((key, value)) = self.view.item() else {
            self.view.status()?;
            return Ok(None);
        };
        match (self.parse)(key) {
            Some((run, key)) if run == self.run => Ok(Some((key, value))),
            _ => Ok(None),
        }
    }
}
