//! Takes the space of removed runs back: their events are hidden at once, and leave the disk when the files that hold
//! them are compacted. RocksDB alone might not come to do that for as long as the store lives.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::database::Database;
use crate::table::event;
use crate::table::run::RunNumber;

/// Runs are removed in groups: one compaction serves all that come within this time.
const GATHER: Duration = Duration::from_millis(500);

/// More ranges than this are compacted as one per partition.
const MAX_RANGES: usize = 64;

/// Ends a compaction under way when it is dropped, so that a process can end.
#[derive(Debug)]
pub(crate) struct Reclaimer {
    database: Arc<Database>,
    removed: Option<Sender<Vec<RunNumber>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reclaimer {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, removed: None, thread: None }
    }

    /// Compacts where these runs were, in the background.
    pub(crate) fn reclaim(&mut self, runs: Vec<RunNumber>) {
        if self.removed.is_none() {
            let (sender, removed) = mpsc::channel();
            let database = self.database.clone();
            self.thread = Some(std::thread::spawn(move || work(&database, &removed)));
            self.removed = Some(sender);
        }
        if let Some(removed) = &self.removed {
            // It fails only if the thread has ended, which it does last of all.
            let _ = removed.send(runs);
        }
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        drop(self.removed.take());
        if let Some(thread) = self.thread.take() {
            self.database.db.disable_manual_compaction();
            let _ = thread.join();
        }
    }
}

fn work(database: &Database, removed: &Receiver<Vec<RunNumber>>) {
    while let Ok(mut runs) = removed.recv() {
        let ended = loop {
            match removed.recv_timeout(GATHER) {
                Ok(more) => runs.extend(more),
                Err(RecvTimeoutError::Timeout) => break false,
                Err(RecvTimeoutError::Disconnected) => break true,
            }
        };
        if ended {
            return;
        }
        for (first, last) in ranges(runs) {
            let ([start, _], [_, end]) = (event::range(first), event::range(last));
            database.db.compact_range(Some(start), Some(end));
        }
    }
}

/// The first and the last run of each stretch.
fn ranges(mut runs: Vec<RunNumber>) -> Vec<(RunNumber, RunNumber)> {
    runs.sort_unstable();
    let stretches = merged(&runs, |last, next| last.partition == next.partition && next.number - last.number <= 1);
    if stretches.len() <= MAX_RANGES { stretches } else { merged(&runs, |last, next| last.partition == next.partition) }
}

fn merged(runs: &[RunNumber], belongs: impl Fn(RunNumber, RunNumber) -> bool) -> Vec<(RunNumber, RunNumber)> {
    let mut ranges: Vec<(RunNumber, RunNumber)> = Vec::new();
    for run in runs {
        match ranges.last_mut() {
            Some((_, last)) if belongs(*last, *run) => *last = *run,
            _ => ranges.push((*run, *run)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(partition: u16, number: u64) -> RunNumber {
        RunNumber { partition, number }
    }

    #[test]
    fn neighbours_are_compacted_together_and_many_stretches_as_one_a_partition() {
        let few = ranges(vec![run(0, 3), run(1, 5), run(0, 4), run(0, 9)]);
        assert_eq!(few, [(run(0, 3), run(0, 4)), (run(0, 9), run(0, 9)), (run(1, 5), run(1, 5))]);
        let many = ranges((0..200).flat_map(|it| [run(0, it * 2), run(7, it * 3)]).collect());
        assert_eq!(many, [(run(0, 0), run(0, 398)), (run(7, 0), run(7, 597))]);
    }
}
