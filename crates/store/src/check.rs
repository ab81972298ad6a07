//! The digest of a store, and whether its derived records are what its events say.

use std::collections::HashSet;

use event::RunHash;
use xxhash_rust::xxh3::Xxh3;

use crate::fold::run::{Run, Samples};
use crate::fold::summary::Summary;
use crate::table::run::RunNumber;
use crate::{Applied, Error, Line, Reader, Result, View};

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    /// Equal for equal events and records, however and in whatever order they came; without delivery counts and clocks.
    pub digest: u128,
    pub runs: u64,
    pub events: u64,
    pub bytes: u64,
    pub samples: u64,
    pub applied: Vec<(u16, Applied)>,
    /// What is not as it should be, in words; at most a hundred.
    pub faults: Vec<String>,
}

impl Checked {
    const MAX_FAULTS: usize = 100;

    fn fault(&mut self, fault: impl FnOnce() -> String) {
        if self.faults.len() < Self::MAX_FAULTS {
            self.faults.push(fault());
        }
    }
}

/// Reads the whole store through one view; `progress` is told the runs and bytes so far.
pub fn check(reader: &Reader, mut progress: impl FnMut(u64, u64)) -> Result<Checked> {
    reader.scan(|view| {
        let mut checked = Checked { applied: view.all_applied()?, ..Checked::default() };
        let mut numbers = HashSet::new();
        let mut after: Option<RunHash> = None;
        while let Some((hash, run)) = view.next_run(after)? {
            after = Some(hash);
            check_run(view, hash, &run, &mut checked)?;
            if !numbers.insert(run.number) {
                checked.fault(|| format!("{:?}/{:?} has the number of another run", run.job_name, run.run_id));
            }
            progress(checked.runs, checked.bytes);
        }
        check_orphans(view, &numbers, Line::Event, &mut checked)?;
        check_orphans(view, &numbers, Line::Sample, &mut checked)?;
        Ok::<_, Error>(checked)
    })
}

fn check_run(view: &mut View, hash: RunHash, run: &Run, checked: &mut Checked) -> Result<()> {
    let mut hasher = Xxh3::new();
    let mut summary = Summary::default();
    let mut events = view.events(run.number, None);
    while let Some((key, event)) = events.next()? {
        hasher.update(&key.to_bytes());
        hasher.update(&(event.len() as u64).to_be_bytes());
        hasher.update(event);
        summary.fold(key, event);
    }
    let mut samples = Samples::default();
    let mut found = view.samples(run.number, None);
    while let Some((key, sample)) = found.next()? {
        hasher.update(&key.to_bytes());
        hasher.update(&(sample.len() as u64).to_be_bytes());
        hasher.update(sample);
        samples.fold(key, sample);
    }
    checked.runs += 1;
    checked.samples += samples.count;
    checked.events += summary.events;
    checked.bytes += summary.bytes;
    let named = || format!("{:?}/{:?}", run.job_name, run.run_id);
    if run.hash()? != hash {
        checked.fault(|| format!("{} is stored under another run's key", named()));
    }
    if summary != run.summary {
        checked.fault(|| format!("{}: the record says other than its events", named()));
    }
    if samples != run.samples {
        checked.fault(|| format!("{}: the record says other than its samples", named()));
    }
    if view.is_gone_in(hash, run.number.partition)? {
        checked.fault(|| format!("{} is stored although it was deleted or has expired", named()));
    }
    if !view.has_job(&run.job_name)? || !view.is_listed(run)? {
        checked.fault(|| format!("{} is missing in the index of its job", named()));
    }
    hasher.update(&record(run)?);
    // Added, so that the order of the runs does not matter.
    checked.digest = checked.digest.wrapping_add(hasher.digest128());
    Ok(())
}

/// Looks for events or samples of numbers that no run has, by one seek a run.
fn check_orphans(view: &mut View, numbers: &HashSet<RunNumber>, what: Line, checked: &mut Checked) -> Result<()> {
    let mut next = RunNumber { partition: 0, number: 0 };
    while let Some(found) = view.first_run_with(what, next)? {
        if !numbers.contains(&found) {
            checked
                .fault(|| format!("{what:?}s of run {} in partition {} have no record", found.number, found.partition));
        }
        next = match (found.number.checked_add(1), found.partition.checked_add(1)) {
            (Some(number), _) => RunNumber { number, ..found },
            (None, Some(partition)) => RunNumber { partition, number: 0 },
            (None, None) => break,
        };
    }
    Ok(())
}

/// What of a run's record depends on its events and samples alone.
fn record(run: &Run) -> Result<Vec<u8>> {
    serde_json::to_vec(&(&run.job_name, &run.run_id, &run.summary, &run.spans, run.ingested, &run.samples))
        .map_err(|e| Error::Damaged(format!("a run record cannot be written: {e}")))
}
