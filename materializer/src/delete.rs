//! Removing runs: because a record of the journal says so, or because they have expired.

use std::collections::HashMap;

use event::{Deletion, ReceivedAt, RunHash};
use journal::Entry;
use store::{Batch, Cause, Gone, Reader, Run, RunCursor, RunNumber, View};

use crate::apply::narrow;
use crate::step::{self, Poison};
use crate::{Applier, Error, Outcome, Result, Retention};

/// Runs listed at once.
const PAGE: usize = 1000;

impl Applier {
    /// Applies a record that deletes runs, in a batch of its own. It means those of its partition: what came before it
    /// there is what the deletion has seen.
    pub(crate) fn delete(
        &mut self,
        entry: Entry,
        quarantine: &mut dyn FnMut(&[Poison]) -> Result<(), journal::Error>,
    ) -> Result<Outcome> {
        let before = self.progress.clone();
        let result = self.try_delete(entry, quarantine);
        // Removed or not: what is in memory may not be what the store says.
        self.runs.forget();
        if result.is_err() {
            self.progress = before;
        }
        result
    }

    fn try_delete(
        &mut self,
        entry: Entry,
        quarantine: &mut dyn FnMut(&[Poison]) -> Result<(), journal::Error>,
    ) -> Result<Outcome> {
        let partition = narrow(entry.partition)?;
        let applied = self.progress.entry(entry.partition).or_default();
        applied.next_offset = entry.offset + 1;
        applied.fingerprint = entry.record.fingerprint();
        let mut outcome = Outcome::default();
        let mut batch = Batch::default();
        let mut removed = Vec::new();
        match step::deletion(&entry.record) {
            Ok((header, deletion)) => {
                applied.through = applied.through.max(header.received_at);
                let gone = Gone { cause: Cause::Deleted, at: header.received_at };
                let offset = entry.offset;
                let reader = self.writer.reader();
                removed = reader.view(|view| match deletion {
                    Deletion::Run { id, reopen } => {
                        if reopen {
                            batch.remove_gone(id, partition);
                        } else {
                            batch.put_gone(id, partition, &gone)?;
                        }
                        let run = view.run(id)?.filter(|run| run.number.partition == partition);
                        remove(view, &Vec::from_iter(run.map(|_| id)), &mut batch)
                    }
                    Deletion::Job(job) => {
                        // A replay may find later runs of the job already there: they are not meant.
                        let is_meant = |run: &Run| run.number.partition == partition && run.first_offset < offset;
                        let runs = runs_of(view, job.as_str(), is_meant)?;
                        for run in &runs {
                            batch.put_gone(*run, partition, &gone)?;
                        }
                        remove(view, &runs, &mut batch)
                    }
                })?;
            }
            Err(reason) => {
                outcome.poison.push(Poison::new(entry, reason));
                quarantine(&outcome.poison)?;
            }
        }
        self.commit(batch)?;
        outcome.deleted_runs = removed.len() as u64;
        self.writer.reclaim(removed);
        Ok(outcome)
    }

    /// Removes runs that have expired, unless one is to be kept as it is now, and what is remembered of runs that expired long
    /// ago. Returns how many were removed.
    pub(crate) fn expire(
        &mut self,
        runs: &[RunHash],
        forget: &[(RunHash, u16)],
        now: ReceivedAt,
        retention: &Retention,
    ) -> Result<u64> {
        let mut batch = Batch::default();
        let gone = Gone { cause: Cause::Expired, at: now };
        let removed = self.writer.reader().view(|view| {
            let mut expired = Vec::new();
            for hash in runs {
                let Some(run) = view.run(*hash)? else { continue };
                let partition = run.number.partition;
                let through = self.progress.get(&partition.into()).map_or(ReceivedAt::default(), |it| it.through);
                if !retention.keeps(&run, through) {
                    batch.put_gone(*hash, partition, &gone)?;
                    expired.push(*hash);
                }
            }
            remove(view, &expired, &mut batch)
        })?;
        if removed.is_empty() && forget.is_empty() {
            return Ok(0);
        }
        forget.iter().for_each(|(run, partition)| batch.remove_gone(*run, *partition));
        self.commit_removal(batch, removed)
    }

    /// Removes the runs that have expired from `served` since this store was begun beside it: they must not come back, not
    /// even until the next look. Returns how many were removed.
    pub(crate) fn expire_as(&mut self, served: &Reader) -> Result<u64> {
        let expired = served.view(|view| {
            let (mut expired, mut after) = (Vec::new(), None);
            while let Some((run, partition, gone)) = view.next_gone(after)? {
                after = Some((run, partition));
                if gone.cause == Cause::Expired && self.writer.gone(run, partition)?.is_none() {
                    expired.push((run, partition, gone));
                }
            }
            Ok::<_, Error>(expired)
        })?;
        let mut count = 0;
        for page in expired.chunks(PAGE) {
            let mut batch = Batch::default();
            for (run, partition, gone) in page {
                batch.put_gone(*run, *partition, gone)?;
            }
            let runs: Vec<RunHash> = page.iter().map(|(run, ..)| *run).collect();
            let removed = self.writer.reader().view(|view| remove(view, &runs, &mut batch))?;
            count += self.commit_removal(batch, removed)?;
        }
        Ok(count)
    }

    fn commit_removal(&mut self, batch: Batch, removed: Vec<RunNumber>) -> Result<u64> {
        self.commit(batch)?;
        self.runs.forget();
        let count = removed.len() as u64;
        self.writer.reclaim(removed);
        Ok(count)
    }
}

/// Removes the runs, and the jobs that have no others.
fn remove(view: &mut View<'_>, runs: &[RunHash], batch: &mut Batch) -> Result<Vec<RunNumber>> {
    let mut numbers = Vec::new();
    let mut removed: HashMap<String, usize> = HashMap::new();
    for hash in runs {
        let Some(run) = view.run(*hash)? else { continue };
        batch.remove_run(&run, run.started_at())?;
        numbers.push(run.number);
        *removed.entry(run.job_name).or_default() += 1;
    }
    for (job, removed) in removed {
        // One more than are removed is enough to know.
        if view.runs(&job, None, removed + 1)?.len() <= removed {
            batch.remove_job(&job);
        }
    }
    Ok(numbers)
}

fn runs_of(view: &mut View<'_>, job: &str, is_meant: impl Fn(&Run) -> bool) -> Result<Vec<RunHash>> {
    let mut runs = Vec::new();
    let mut after: Option<RunCursor> = None;
    loop {
        let page = view.runs(job, after, PAGE)?;
        for entry in &page {
            let run = view.run(entry.cursor.hash)?;
            runs.extend(run.filter(|run| run.job_name == job && is_meant(run)).map(|_| entry.cursor.hash));
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some(last) => after = Some(last.cursor),
            None => return Ok(runs),
        }
    }
}
