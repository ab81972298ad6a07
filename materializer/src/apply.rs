//! Batches of records, applied.

use std::collections::BTreeMap;

use event::{EventKey, Protocol, ReceivedAt};
use journal::Entry;
use store::{Applied, Batch, Run, RunNumber, Writer};

use crate::runs::{Found, Lookup, Runs, State, Verdict};
use crate::step::{Poison, Step, is_deletion};
use crate::{Error, Result};

/// Runs kept in memory: some 2 KB each.
const RUNS_IN_MEMORY: usize = 20_000;

/// Writes batches of records into a store, and knows how far it is.
#[derive(Debug)]
pub struct Applier {
    pub(crate) writer: Writer,
    pub(crate) runs: Runs,
    pub(crate) progress: BTreeMap<u32, Applied>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    pub events: u64,
    pub bytes: u64,
    pub samples: u64,
    pub signs_of_life: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub new_runs: u64,
    /// Events and samples of runs that are gone.
    pub dropped: u64,
    pub deleted_runs: u64,
    pub poison: Vec<Poison>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.samples += other.samples;
        self.signs_of_life += other.signs_of_life;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.new_runs += other.new_runs;
        self.dropped += other.dropped;
        self.deleted_runs += other.deleted_runs;
        self.poison.extend(other.poison);
    }
}

impl Applier {
    pub fn new(writer: Writer, partitions: impl IntoIterator<Item = u32>) -> Result<Self> {
        let mut applier = Self { writer, runs: Runs::new(RUNS_IN_MEMORY), progress: BTreeMap::new() };
        for partition in partitions {
            let applied = applier.writer.applied(narrow(partition)?)?.unwrap_or_default();
            applier.progress.insert(partition, applied);
        }
        Ok(applier)
    }

    /// Goes on where the store is, in the partitions that it knows.
    pub(crate) fn open(writer: Writer) -> Result<Self> {
        let applied = writer.reader().view(|view| view.all_applied())?;
        let progress = applied.into_iter().map(|(partition, applied)| (partition.into(), applied)).collect();
        Ok(Self { writer, runs: Runs::new(RUNS_IN_MEMORY), progress })
    }

    /// A new store knows no partitions: these are the journal's.
    pub(crate) fn begin_with(&mut self, partitions: impl Iterator<Item = u32>) {
        if self.progress.is_empty() {
            self.progress.extend(partitions.map(|partition| (partition, Applied::default())));
        }
    }

    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Gives the store back, for a rebuild to finish it.
    pub fn into_writer(self) -> Writer {
        self.writer
    }

    /// How far each partition is applied.
    pub fn progress(&self) -> &BTreeMap<u32, Applied> {
        &self.progress
    }

    /// Goes back to the journal's start, with all that is stored.
    pub(crate) fn restart(&mut self) {
        for applied in self.progress.values_mut() {
            *applied = Applied { next_offset: 0, fingerprint: 0, ..*applied };
        }
    }

    /// Goes on with `partitions`, and in those `concerned` from their start. Their runs that have not finished are marked:
    /// records of them may be missing. Returns how many there are.
    pub(crate) fn accept_gap(&mut self, partitions: impl Iterator<Item = u32>, concerned: &[u32]) -> Result<u64> {
        let (before, now) = (self.progress.clone(), ReceivedAt::now());
        self.progress.clear();
        for partition in partitions {
            let applied = before.get(&partition).copied().unwrap_or_default();
            let is_concerned = concerned.contains(&partition);
            let again = Applied { next_offset: 0, fingerprint: 0, accepted_gap: Some(now), ..applied };
            self.progress.insert(partition, if is_concerned { again } else { applied });
        }
        let gone: Vec<u32> = before.keys().filter(|it| !self.progress.contains_key(it)).copied().collect();
        let result = self.write_gap(concerned, &gone);
        self.runs.forget();
        if result.is_err() {
            self.progress = before;
        }
        result
    }

    fn write_gap(&mut self, concerned: &[u32], gone: &[u32]) -> Result<u64> {
        let mut batch = Batch::default();
        let mut marked = 0;
        self.writer.reader().view(|view| {
            let mut after = None;
            while let Some((hash, mut run)) = view.next_run(after)? {
                after = Some(hash);
                let partition = u32::from(run.number.partition);
                if !run.is_finished() && [concerned, gone].iter().any(|it| it.contains(&partition)) {
                    run.arrival.journal_gaps += 1;
                    marked += 1;
                    batch.put_run(&run, Some(run.started_at()))?;
                }
            }
            Ok::<_, Error>(())
        })?;
        for partition in gone {
            batch.remove_applied(narrow(*partition)?);
        }
        self.commit(batch)?;
        Ok(marked)
    }

    /// Applies records in the order given, in one write batch, or in several where one of them deletes runs. What cannot
    /// be applied is handed to `quarantine`, which must have it safe before it returns, since the batch moves the offset
    /// past it.
    ///
    /// After an error nothing of its batch is stored; the records from [`Applier::progress`] on are to be given again.
    pub fn apply(
        &mut self,
        mut entries: Vec<Entry>,
        quarantine: &mut dyn FnMut(&[Poison]) -> Result<(), journal::Error>,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        while let Some(at) = entries.iter().position(|entry| is_deletion(&entry.record)) {
            let mut rest = entries.split_off(at + 1);
            std::mem::swap(&mut entries, &mut rest);
            if let Some(deletion) = rest.pop() {
                outcome.add(self.apply_events(rest, quarantine)?);
                outcome.add(self.delete(deletion, quarantine)?);
            }
        }
        outcome.add(self.apply_events(entries, quarantine)?);
        Ok(outcome)
    }

    fn apply_events(
        &mut self,
        entries: Vec<Entry>,
        quarantine: &mut dyn FnMut(&[Poison]) -> Result<(), journal::Error>,
    ) -> Result<Outcome> {
        if entries.is_empty() {
            return Ok(Outcome::default());
        }
        let before = self.progress.clone();
        let result = self.try_apply(entries, quarantine);
        match &result {
            Ok(_) => self.runs.committed(),
            Err(_) => {
                self.runs.forget();
                self.progress = before;
            }
        }
        result
    }

    fn try_apply(
        &mut self,
        entries: Vec<Entry>,
        quarantine: &mut dyn FnMut(&[Poison]) -> Result<(), journal::Error>,
    ) -> Result<Outcome> {
        let mut batch = Batch::default();
        let outcome = apply(entries, &mut self.runs, &mut self.progress, &self.writer, &mut batch)?;
        if !outcome.poison.is_empty() {
            quarantine(&outcome.poison)?;
        }
        self.commit(batch)?;
        Ok(outcome)
    }

    /// Says that all that was received until `through` is applied in these partitions: to be called while nothing is left of
    /// them.
    pub fn caught_up(&mut self, partitions: &[u32], through: ReceivedAt) -> Result<()> {
        for partition in partitions {
            if let Some(applied) = self.progress.get_mut(partition) {
                applied.through = applied.through.max(through);
            }
        }
        self.commit(Batch::default())
    }

    pub(crate) fn commit(&mut self, mut batch: Batch) -> Result<()> {
        for (partition, applied) in &self.progress {
            batch.put_applied(narrow(*partition)?, applied)?;
        }
        Ok(self.writer.commit(batch)?)
    }
}

/// Turns records into changes of a store: plain, without journal and disk.
pub(crate) fn apply(
    entries: Vec<Entry>,
    runs: &mut Runs,
    progress: &mut BTreeMap<u32, Applied>,
    lookup: &impl Lookup,
    batch: &mut Batch,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for entry in entries {
        let applied = progress.entry(entry.partition).or_default();
        let (partition, offset) = (narrow(entry.partition)?, entry.offset);
        applied.next_offset = offset + 1;
        applied.fingerprint = entry.record.fingerprint();
        let step = match Step::of(&entry.record) {
            Ok(step) => step,
            Err(reason) => {
                // A run that nothing else came of is no run: anybody may have made the key up.
                if let Some(state) = runs.stored(&entry.record.key, lookup)? {
                    state.run.arrival.quarantined += 1;
                    state.changed = true;
                }
                outcome.poison.push(Poison::new(entry, reason));
                continue;
            }
        };
        let (Step::Event(header, _) | Step::Sample(header, _) | Step::SignOfLife(header)) = step;
        applied.through = applied.through.max(header.received_at);
        let found = runs.get(&entry.record.key, partition, lookup, |name| {
            let number = RunNumber { partition, number: applied.next_run };
            applied.next_run += 1;
            outcome.new_runs += 1;
            Run::new(name, number, offset, header.received_at)
        })?;
        match found {
            Found::Here(state) => take(state, step, &entry, lookup, batch, &mut outcome)?,
            Found::Gone => outcome.dropped += u64::from(!matches!(step, Step::SignOfLife(_))),
            Found::Bad(reason) => outcome.poison.push(Poison::new(entry, reason)),
        }
    }
    runs.each_changed(|state| {
        batch.put_run(&state.run, state.indexed)?;
        state.indexed = Some(state.run.started_at());
        Ok(())
    })?;
    Ok(outcome)
}

fn take(
    state: &mut State,
    step: Step,
    entry: &Entry,
    lookup: &impl Lookup,
    batch: &mut Batch,
    outcome: &mut Outcome,
) -> Result<()> {
    let (Step::Event(header, _) | Step::Sample(header, _) | Step::SignOfLife(header)) = step;
    state.changed = true;
    let arrival = &mut state.run.arrival;
    arrival.first_received_at = arrival.first_received_at.min(header.received_at);
    arrival.last_received_at = arrival.last_received_at.max(header.received_at);
    let key = match step {
        Step::Event(_, key) => key,
        Step::Sample(_, key) => return take_sample(state, key, entry, lookup, batch, outcome),
        Step::SignOfLife(_) => {
            state.run.arrival.heartbeats += 1;
            outcome.signs_of_life += 1;
            return Ok(());
        }
    };
    let verdict = state.admit(&header, key, lookup)?;
    if verdict == Verdict::Duplicate {
        state.run.arrival.duplicates += 1;
        outcome.duplicates += 1;
        return Ok(());
    }
    let is_conflict = verdict == Verdict::Conflict;
    outcome.conflicts += u64::from(is_conflict);
    outcome.events += 1;
    outcome.bytes += entry.record.value.len() as u64;
    state.run.spans.fold(&header, is_conflict);
    state.run.ingested += u64::from(header.protocol == Protocol::Ingest);
    store::fold(&mut state.run, key, &entry.record.value);
    batch.put_event(state.run.number, key, &entry.record.value);
    Ok(())
}

fn take_sample(
    state: &mut State,
    key: EventKey,
    entry: &Entry,
    lookup: &impl Lookup,
    batch: &mut Batch,
    outcome: &mut Outcome,
) -> Result<()> {
    if !state.admit_sample(key, lookup)? {
        return Ok(());
    }
    outcome.samples += 1;
    state.run.samples.fold(key, &entry.record.value);
    batch.put_sample(state.run.number, key, &entry.record.value);
    Ok(())
}

pub(crate) fn narrow(partition: u32) -> Result<u16> {
    u16::try_from(partition).map_err(|_| {
        Error::Journal(journal::Error::Fatal(format!("partition {partition} is over the limit of {}", u16::MAX)))
    })
}
