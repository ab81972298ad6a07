//! What halts a materializer, and what leads out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::RunName;
use journal::{Record, Subscriber};
use materializer::rebuild::Source;
use materializer::{Error, Hooks, Materializer, Metrics, Options, Order, Poison, Resumed, State};
use prometheus::Registry;
use store::Missing;

use super::support::*;

#[test]
fn another_journal_or_a_cut_one_halts_the_materializer_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 300));
    let events = fill(dir.path(), &journal).events;
    let halts = |journal: Memory| {
        let running = Running::start(dir.path(), &journal);
        let halt = running.halt();
        assert_eq!(check(&running.reader).events, events);
        running.stop().unwrap();
        (halt.state, halt.message)
    };
    let (state, message) = halts(Memory::with(records(0, 200)));
    assert_eq!(state, "cut_back");
    assert!(message.contains("up to offset 300, but the journal holds 0 to 200"), "{message}");
    let (state, message) = halts(Memory::with(records(5000, 400)));
    assert_eq!(state, "rewritten");
    assert!(message.contains("offset 299"), "{message}");
    let expired = Memory::with(records(0, 500));
    expired.forget(400);
    assert_eq!(halts(expired).0, "out_of_range");
}

const ACCEPT: Order = Order { accept_gap: true };
const AGAIN: Order = Order { accept_gap: false };

/// Ends the runs that events were sent of.
fn finished(runs: usize) -> impl Iterator<Item = Record> {
    records(100_001, runs).into_iter().enumerate().map(|(i, record)| {
        let key = RunName::new("job", &format!("run {i}")).unwrap().to_key();
        let value = format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{i}}}"#);
        Record { key: key.into(), value: value.into(), ..record }
    })
}

#[test]
fn an_accepted_gap_marks_the_runs_that_went_on_and_loses_nothing_of_the_store() {
    for (what, journal) in [
        ("records expired", Memory::with(records(0, 900))),
        ("cut back", Memory::with(records(0, 200))),
        ("made anew", Memory::with(records(5000, 700))),
    ] {
        let dir = tempfile::tempdir().unwrap();
        // Three of seven runs have finished.
        let before = fill(dir.path(), &Memory::with(records(0, 400).into_iter().chain(finished(3))));
        if what == "records expired" {
            journal.forget(500);
        }
        let running = Running::start(dir.path(), &journal);
        let halt = running.halt();
        let refused = materializer::resume(dir.path(), AGAIN, Duration::from_secs(60)).unwrap();
        assert_eq!(refused, Resumed::NeedsAcceptance(halt.clone()), "{what}");
        let done = materializer::resume(dir.path(), ACCEPT, Duration::from_secs(60)).unwrap();
        assert_eq!(done, Resumed::Done(halt), "{what}");
        until(|| running.halted.lock().unwrap().is_none());
        let end = journal.clone().extents().unwrap()[0].end;
        until(|| applied(&running.reader) == end);
        let after = check(&running.reader);
        assert!(after.events >= before.events, "{what}: {} of {}", after.events, before.events);
        let marked = |run: usize| {
            let name = RunName::new("job", &format!("run {run}")).unwrap();
            running.reader.run(name.hash()).unwrap().unwrap().chronicle().missing().contains(&Missing::Records)
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(marked), [false, false, false, true, true, true, true], "{what}");
        running.stop().unwrap();
        // From now on the journal is no source of all that the store holds.
        let refused = make(dir.path(), &journal, Source::Journal).unwrap_err();
        assert!(matches!(refused, Error::WouldLose { runs: 7, .. }), "{what}: {refused}");
    }
}

#[test]
fn an_order_waits_for_a_materializer_that_is_down_and_is_followed_once() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &Memory::with(records(0, 300)));
    assert_eq!(materializer::resume(dir.path(), ACCEPT, Duration::ZERO).unwrap(), Resumed::NotHalted);
    let cut = Memory::with(records(0, 200));
    let halted = Running::start(dir.path(), &cut);
    let halt = halted.halt();
    until(|| dir.path().join("HALTED").exists());
    halted.stop().unwrap();
    assert_eq!(materializer::resume(dir.path(), ACCEPT, Duration::ZERO).unwrap(), Resumed::Left(halt));
    let running = Running::start(dir.path(), &cut);
    until(|| applied(&running.reader) == 200 && !dir.path().join("RESUME").exists());
    running.stop().unwrap();
    // The same again needs another order.
    let again = Running::start(dir.path(), &Memory::with(records(0, 100)));
    assert_eq!(again.halt().state, "cut_back");
    again.stop().unwrap();
}

#[test]
fn too_many_records_that_are_no_events_halt_the_materializer_until_a_person_has_looked() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = |i: usize| Record { key: format!("{i}").into(), header: "".into(), value: "x".into() };
    let journal = Memory::with(records(0, 100).into_iter().chain((0..400).map(foreign)));
    let quarantined: Arc<AtomicUsize> = Arc::default();
    let running = || {
        let count = quarantined.clone();
        let quarantine = move |poison: &[Poison]| {
            count.fetch_add(poison.len(), Ordering::Relaxed);
            Ok(())
        };
        let hooks = Hooks { quarantine: Box::new(quarantine), ..hooks(&journal) };
        let options = Options { poison_limit: 120, ..quick() };
        let materializer = Materializer::open(dir.path(), hooks, Metrics::new(&Registry::new()).unwrap(), options);
        let (materializer, stop) = (materializer.unwrap(), Arc::new(AtomicBool::new(false)));
        let (reader, told) = (materializer.reader(), stop.clone());
        (reader, stop, std::thread::spawn(move || materializer.run(&told)))
    };
    let (reader, stop, thread) = running();
    for halts in 1..=2 {
        until(|| dir.path().join("HALTED").exists());
        // Batches of 50: the limit is noticed behind the third.
        assert_eq!((applied(&reader), quarantined.load(Ordering::Relaxed)), (100 + 150 * halts, 150 * halts as usize));
        let again = materializer::resume(dir.path(), AGAIN, Duration::from_secs(60)).unwrap();
        assert!(matches!(again, Resumed::Done(_) | Resumed::HaltedAgain(_)), "{again:?}");
    }
    until(|| applied(&reader) == 500);
    assert_eq!(quarantined.load(Ordering::Relaxed), 400);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap().unwrap();
}

#[test]
fn a_journal_of_another_number_of_partitions_halts_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let two = Memory { partitions: 2, ..Memory::with(records(0, 300)) };
    fill(dir.path(), &Memory::with(records(0, 300)));
    let running = Running::start(dir.path(), &two);
    assert_eq!(running.halt().state, "repartitioned");
    let done = materializer::resume(dir.path(), ACCEPT, Duration::from_secs(60)).unwrap();
    assert!(matches!(done, Resumed::Done(_)), "{done:?}");
    two.append(records(300, 100));
    until(|| applied(&running.reader) == 400);
    assert_eq!(check(&running.reader).applied.len(), 2);
    running.stop().unwrap();
    let one = Memory { partitions: 1, ..two };
    let running = Running::start(dir.path(), &one);
    assert_eq!(running.halt().state, "repartitioned");
    let done = materializer::resume(dir.path(), ACCEPT, Duration::from_secs(60)).unwrap();
    assert!(matches!(done, Resumed::Done(_)), "{done:?}");
    assert_eq!(check(&running.reader).applied.len(), 1);
    running.stop().unwrap();
}

#[test]
fn what_the_journal_may_forget_is_only_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 500));
    let told: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let synced = told.clone();
    let synced = move |_, offset| {
        synced.lock().unwrap().insert(offset);
    };
    let materializer = open(dir.path(), Hooks { synced: Box::new(synced), ..hooks(&journal) });
    let (reader, stop) = (materializer.reader(), Arc::new(AtomicBool::new(false)));
    let run = stop.clone();
    let thread = std::thread::spawn(move || materializer.run(&run));
    until(|| told.lock().unwrap().contains(&500));
    assert!(told.lock().unwrap().iter().all(|offset| *offset <= applied(&reader)));
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap().unwrap();
}

#[test]
fn a_file_that_cannot_be_read_halts_once_and_not_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Memory::with(records(0, 100));
    fill(dir.path(), &journal);
    let halts: Arc<AtomicUsize> = Arc::default();
    let count = halts.clone();
    let state = move |state: State<'_>| {
        count.fetch_add(usize::from(matches!(state, State::Halted(_))), Ordering::Relaxed);
    };
    let hooks = Hooks { state: Box::new(state), ..hooks(&journal) };
    let materializer = Materializer::open(dir.path(), hooks, Metrics::new(&Registry::new()).unwrap(), quick()).unwrap();
    let (reader, stop) = (materializer.reader(), Arc::new(AtomicBool::new(false)));
    let told = stop.clone();
    let thread = std::thread::spawn(move || materializer.run(&told));
    std::fs::write(dir.path().join("NEXT"), "nonsense").unwrap();
    until(|| halts.load(Ordering::Relaxed) > 0);
    // It looks for a store that was rebuilt several times.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(halts.load(Ordering::Relaxed), 1);
    std::fs::remove_file(dir.path().join("NEXT")).unwrap();
    let done = materializer::resume(dir.path(), AGAIN, Duration::from_secs(60)).unwrap();
    assert!(matches!(done, Resumed::Done(_)), "{done:?}");
    journal.append(records(100, 50));
    until(|| applied(&reader) == 150);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap().unwrap();
}
