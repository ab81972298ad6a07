//! New generations, made and adopted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use journal::{Entry, Extent, Position, Subscriber};
use materializer::Error;
use materializer::rebuild::{self, Source};
use store::generation::Generations;

use super::support::*;

#[test]
fn a_rebuild_from_either_source_has_the_digest_of_what_it_replaces() {
    for source in [Source::Journal, Source::Store] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Memory::with(records(0, 2000).into_iter().chain(samples(300)));
        let before = fill(dir.path(), &journal);
        let sent: BTreeSet<usize> = (0..2000).filter(|i| i % 11 != 10).map(|i| i - usize::from(i % 5 == 4)).collect();
        assert_eq!((before.runs, before.events, before.samples), (7, sent.len() as u64, 200));
        let generation = make(dir.path(), &journal, source).unwrap();
        assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
        assert_eq!(generation, 2);
        let after = check(&current(dir.path()));
        assert_eq!((after.digest, after.events), (before.digest, before.events), "{source:?}");
        assert_eq!(after.samples, before.samples, "{source:?}");
        assert_eq!(fill(dir.path(), &journal).digest, before.digest);
    }
}

#[test]
fn a_rebuild_that_was_killed_goes_on_though_the_store_has_grown_meanwhile() {
    for source in [Source::Journal, Source::Store] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Memory::with(records(0, 1500));
        fill(dir.path(), &journal);
        // Small batches, so that there is a half way.
        journal.batch = 7;
        let stop = AtomicBool::new(false);
        let reports = AtomicUsize::new(0);
        let killed = rebuild::make(dir.path(), &mut journal.clone(), &options(source), &stop, &mut |_| {
            stop.store(reports.fetch_add(1, Ordering::Relaxed) > 20 || source == Source::Store, Ordering::Relaxed);
        });
        assert!(matches!(killed, Err(Error::Stopped)), "{source:?}: {killed:?}");
        journal.append(records(1500, 700));
        let expected = fill(dir.path(), &journal);
        let generation = make(dir.path(), &journal, source).unwrap();
        assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
        assert_eq!(check(&current(dir.path())).digest, expected.digest, "{source:?}");
    }
}

/// Under load: each time something is read, something more is there.
#[derive(Debug)]
struct Growing(Memory, usize);

impl Subscriber for Growing {
    fn extents(&mut self) -> Result<Vec<Extent>, journal::Error> {
        self.0.extents()
    }

    fn seek(&mut self, position: Position) -> Result<(), journal::Error> {
        self.0.seek(position)
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, journal::Error> {
        let entries = self.0.next(max_wait)?;
        assert!(self.1 < 1_000, "the rebuild does not end");
        self.0.append(records(2_000 + self.1, 1));
        self.1 += 1;
        Ok(entries)
    }
}

#[test]
fn a_rebuild_ends_though_the_journal_grows_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 2_000));
    fill(dir.path(), &journal);
    let mut growing = Growing(journal.clone(), 0);
    let never = AtomicBool::new(false);
    let generation = rebuild::make(dir.path(), &mut growing, &options(Source::Journal), &never, &mut |_| ()).unwrap();
    assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
    assert_eq!(fill(dir.path(), &journal).digest, fill(tempfile::tempdir().unwrap().path(), &journal).digest);
}

#[test]
fn a_running_materializer_takes_a_rebuilt_store_over_and_no_answer_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 1000));
    let running = Running::start(dir.path(), &journal);
    until(|| applied(&running.reader) == 1000);
    let (reader, stop) = (running.reader.clone(), Arc::new(AtomicBool::new(false)));
    let told = stop.clone();
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while !told.load(Ordering::Relaxed) {
            let now = applied(&reader);
            assert!(now >= most, "{now} after {most}");
            most = now;
        }
    });
    for (round, source) in [(1, Source::Journal), (2, Source::Store)] {
        journal.append(records(1000 * round, 1000));
        let generation = make(dir.path(), &journal, source).unwrap();
        assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::from_secs(60)).unwrap());
    }
    until(|| applied(&running.reader) == 3000);
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    let digest = check(&running.reader).digest;
    running.stop().unwrap();
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(fill(fresh.path(), &journal).digest, digest);
    let generations = Generations::open(dir.path()).unwrap();
    assert_eq!((generations.current().unwrap(), generations.all().unwrap()), (Some(3), vec![1, 2, 3]));
}

#[test]
fn a_journal_that_forgot_runs_makes_no_store_without_them_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 1000));
    let before = fill(dir.path(), &journal);
    journal.forget(600);
    let refused = make(dir.path(), &journal, Source::Journal).unwrap_err();
    assert!(matches!(refused, Error::WouldLose { partition: 0, start: 600, runs: 7 }), "{refused}");
    assert!(refused.to_string().contains("--accept-loss"), "{refused}");

    // A refusal begins nothing: what it advises can be done at once.
    let generation = make(dir.path(), &journal, Source::Store).unwrap();
    assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
    assert_eq!(check(&current(dir.path())).digest, before.digest);

    let accept = rebuild::Options { accept_loss: true, ..options(Source::Journal) };
    let stopped = rebuild::make(dir.path(), &mut journal.clone(), &accept, &AtomicBool::new(true), &mut |_| ());
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    let other = make(dir.path(), &journal, Source::Store).unwrap_err();
    assert!(matches!(&other, Error::OtherSource { found } if found == "journal"), "{other}");
    let restart = rebuild::Options { restart: true, ..accept };
    let generation =
        rebuild::make(dir.path(), &mut journal.clone(), &restart, &AtomicBool::new(false), &mut |_| ()).unwrap();
    assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
    let after = check(&current(dir.path()));
    assert!(after.events < before.events, "{} of {}", after.events, before.events);
}

#[test]
fn a_store_whose_journal_was_cut_back_loses_nothing_by_a_rebuild_from_itself() {
    let dir = tempfile::tempdir().unwrap();
    let before = fill(dir.path(), &Memory::with(records(0, 300)));
    let cut = Memory::with(records(0, 200));
    let refused = make(dir.path(), &cut, Source::Journal).unwrap_err();
    assert!(matches!(refused, Error::WouldLose { runs: 7, .. }), "{refused}");
    let rebuild = |accept_loss| {
        let options = rebuild::Options { accept_loss, restart: true, ..options(Source::Store) };
        rebuild::make(dir.path(), &mut cut.clone(), &options, &AtomicBool::new(false), &mut |_| ())
    };
    let refused = rebuild(false).unwrap_err();
    assert!(matches!(refused, Error::Gap { .. }), "{refused}");
    let generation = rebuild(true).unwrap();
    assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
    let after = check(&current(dir.path()));
    assert_eq!((after.digest, after.applied[0].1.next_offset), (before.digest, 200));
    // It goes on with what comes.
    cut.append(records(300, 100));
    assert!(fill(dir.path(), &cut).events > before.events);
}
