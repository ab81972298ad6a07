//! What was deleted or has expired stays gone in new generations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event::{Deletion, ReceivedAt, RunName};
use journal::{Entry, Extent, Position, Record, Subscriber};
use materializer::rebuild::{self, Source};
use materializer::{Options, Retention};

use super::support::*;

fn deletion(run: &str) -> Record {
    let id = RunName::new("job", run).unwrap().hash();
    let deletion = Deletion::Run { id, reopen: false };
    Record { key: deletion.to_key().into(), header: Deletion::header(ReceivedAt(2)).into(), value: "".into() }
}

#[test]
fn a_deleted_run_stays_gone_though_the_journal_has_forgotten_the_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 100).into_iter().chain([deletion("run 3")]));
    assert_eq!(fill(dir.path(), &journal).runs, 6);
    journal.forget(101);
    let accept = rebuild::Options { accept_loss: true, ..options(Source::Journal) };
    let generation =
        rebuild::make(dir.path(), &mut journal.clone(), &accept, &AtomicBool::new(false), &mut |_| ()).unwrap();
    assert!(rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::ZERO).unwrap());
    journal.append(records(100, 100));
    assert_eq!(fill(dir.path(), &journal).runs, 6, "late events of it are dropped");
}

/// Waits with the first records until told.
#[derive(Debug)]
struct Held {
    memory: Memory,
    begun: Arc<AtomicBool>,
    go: Arc<AtomicBool>,
}

impl Subscriber for Held {
    fn extents(&mut self) -> Result<Vec<Extent>, journal::Error> {
        self.memory.extents()
    }

    fn seek(&mut self, position: Position) -> Result<(), journal::Error> {
        self.memory.seek(position)
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, journal::Error> {
        self.begun.store(true, Ordering::Relaxed);
        until(|| self.go.load(Ordering::Relaxed));
        self.memory.next(max_wait)
    }
}

#[test]
fn what_expires_while_a_store_is_rebuilt_does_not_come_back_when_it_is_adopted() {
    let looks_once =
        Retention { max_age: Some(Duration::ZERO), interval: Duration::from_secs(3600), ..Retention::default() };
    for is_served in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Memory::with(records(0, 500));
        let running = Running::start(dir.path(), &journal);
        // The only look may come before the materializer says again that it is caught up, long after the last event.
        until(|| {
            running.reader.applied(0).unwrap().is_some_and(|it| it.next_offset == 500 && it.through.0 > 1_000_000)
        });
        assert_eq!(check(&running.reader).runs, 7);
        running.stop().unwrap();
        let (begun, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut held = Held { memory: journal.clone(), begun: begun.clone(), go: go.clone() };
        let path = dir.path().to_owned();
        let rebuild = std::thread::spawn(move || {
            rebuild::make(&path, &mut held, &options(Source::Journal), &AtomicBool::new(false), &mut |_| ()).unwrap()
        });
        until(|| begun.load(Ordering::Relaxed));
        let running = Running::with(dir.path(), &journal, Options { retention: looks_once.clone(), ..quick() });
        until(|| check(&running.reader).runs == 0);
        let served = match is_served {
            true => Some(running),
            false => running.stop().map(|()| None).unwrap(),
        };
        go.store(true, Ordering::Relaxed);
        let generation = rebuild.join().unwrap();
        let adopted = rebuild::adopt(dir.path(), generation, &store::Options::default(), Duration::from_secs(60));
        assert!(adopted.unwrap());
        assert_eq!(check(&current(dir.path())).runs, 0, "served: {is_served}");
        if let Some(running) = served {
            running.stop().unwrap();
        }
    }
}
