//! Takes the space of removed runs back: their events and samples are hidden at once, and leave the disk when the files that hold
//! them are compacted. RocksDB alone might not come to do that for as long as the store lives.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::database::Database;
use crate::table::run::RunNumber;
use crate::table::{event as event_table, sample};

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
            for range in [event_table::range, sample::range] {
                let ([start, _], [_, end]) = (range(first), range(last));
                database.db.compact_range(Some(start), Some(end));
            }
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
    use event::{EventKey, Identity, ReceivedAt, RunName, Sequence};

    use super::*;
    use crate::{Batch, Options, Run, Writer};

    /// Bytes of the files of a store that hold events.
    fn size(dir: &std::path::Path) -> u64 {
        let files = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap());
        let tables = files.filter(|it| it.path().extension().is_some_and(|it| it == "sst"));
        tables.map(|it| it.metadata().map_or(0, |it| it.len())).sum()
    }

    #[test]
    fn the_events_of_a_removed_run_leave_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &Options::default()).unwrap();
        let mut runs = Vec::new();
        for number in 0..2 {
            let name = RunName::new("job", &number.to_string()).unwrap();
            let run = Run::new(&name, RunNumber { partition: 0, number }, 0, ReceivedAt(0));
            let mut batch = Batch::default();
            for sequence in 0..2_000 {
                // Bytes that no compression shortens.
                let event: Vec<u8> = (0..256_u64)
                    .flat_map(|it| {
                        xxhash_rust::xxh3::xxh3_64_with_seed(&it.to_be_bytes(), number << 32 | sequence).to_be_bytes()
                    })
                    .collect();
                let key =
                    EventKey { order: 0, sequence: Sequence(i64::try_from(sequence).unwrap()), identity: Identity(0) };
                batch.put_event(run.number, key, &event);
            }
            batch.put_run(&run, None).unwrap();
            writer.commit(batch).unwrap();
            runs.push(run);
        }
        writer.settle().unwrap();
        let before = size(dir.path());
        assert!(before > 7 << 20, "{before}");
        let mut batch = Batch::default();
        batch.remove_run(&runs[0], runs[0].started_at()).unwrap();
        writer.commit(batch).unwrap();
        writer.reclaim(vec![runs[0].number]);
        let deadline = std::time::Instant::now() + Duration::from_secs(180);
        while size(dir.path()) > before * 6 / 10 {
            assert!(std::time::Instant::now() < deadline, "{} of {before} bytes are left", size(dir.path()));
            std::thread::sleep(Duration::from_millis(50));
        }
        let left = writer.reader().scan(|view| {
            let mut events = view.events(runs[1].number, None);
            let mut count = 0;
            while events.next()?.is_some() {
                count += 1;
            }
            Ok::<_, crate::Error>(count)
        });
        assert_eq!(left.unwrap(), 2_000);
    }

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
