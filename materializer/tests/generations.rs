//! Starts, rebuilds and changes of generation, on a journal in memory.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event::{Deletion, GeneratedAt, Header, Identity, Kind, Protocol, ReceivedAt, RunName, Sequence};
use journal::{Entry, Extent, Position, Record, Subscriber};
use materializer::rebuild::{self, Source};
use materializer::{Error, Halt, Hooks, Materializer, Metrics, Options, Order, Poison, Resumed, Retention, State};
use prometheus::Registry;
use store::{Checked, Missing, Reader, generation::Generations};

/// A journal of one partition in memory, which can be cut and appended to.
#[derive(Debug, Clone, Default)]
struct Memory {
    records: Arc<Mutex<(u64, Vec<Record>)>>,
    next: u64,
    batch: usize,
    /// All but the first are empty.
    partitions: u32,
}

impl Memory {
    fn with(records: impl IntoIterator<Item = Record>) -> Self {
        Self { records: Arc::new(Mutex::new((0, records.into_iter().collect()))), next: 0, batch: 50, partitions: 1 }
    }

    fn append(&self, records: impl IntoIterator<Item = Record>) {
        self.records.lock().unwrap().1.extend(records);
    }

    fn forget(&self, below: u64) {
        let mut held = self.records.lock().unwrap();
        let count = usize::try_from(below - held.0).unwrap();
        held.1.drain(..count);
        held.0 = below;
    }
}

impl Subscriber for Memory {
    fn extents(&mut self) -> Result<Vec<Extent>, journal::Error> {
        let held = self.records.lock().unwrap();
        let first = Extent { partition: 0, start: held.0, end: held.0 + held.1.len() as u64 };
        let empty = |partition| Extent { partition, start: 0, end: 0 };
        Ok(std::iter::once(first).chain((1..self.partitions).map(empty)).collect())
    }

    fn seek(&mut self, position: Position) -> Result<(), journal::Error> {
        if position.partition == 0 {
            self.next = position.offset;
        }
        Ok(())
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, journal::Error> {
        let held = self.records.lock().unwrap();
        let from = usize::try_from(self.next - held.0).unwrap();
        let entries: Vec<Entry> = held.1[from..]
            .iter()
            .take(self.batch)
            .enumerate()
            .map(|(i, record)| Entry { partition: 0, offset: self.next + i as u64, record: record.clone() })
            .collect();
        drop(held);
        if entries.is_empty() {
            std::thread::sleep(max_wait.min(Duration::from_millis(5)));
        }
        self.next += entries.len() as u64;
        Ok(entries)
    }
}

/// `count` records of 7 runs from number `first` on, every fifth one sent twice, with heartbeats between.
fn records(first: usize, count: usize) -> Vec<Record> {
    (first..first + count)
        .map(|i| {
            let event = i - usize::from(i % 5 == 4);
            let header = Header {
                kind: if i % 11 == 10 { Kind::Heartbeat } else { Kind::Event },
                protocol: Protocol::Collect,
                generated_at: Some(GeneratedAt(event as i64 / 20)),
                sequence: Some(Sequence(i as i64)),
                identity: Some(Identity(event as u64)),
                received_at: ReceivedAt(i as i64),
                instance: None,
            };
            let mut text = Vec::new();
            header.write(&mut text);
            let key = RunName::new("job", &format!("run {}", event % 7)).unwrap().to_key();
            let value = format!(r#"{{"Event":"X","number":{event},"filling":"{}"}}"#, "x".repeat(event % 900 * 20));
            Record { key: key.into(), header: text.into(), value: value.into() }
        })
        .collect()
}

/// Samples of the same runs, every third one sent twice.
fn samples(count: usize) -> Vec<Record> {
    let sample = |i: usize| {
        let time = i - usize::from(i % 3 == 2);
        let header = Header {
            kind: Kind::Sample,
            protocol: Protocol::Delight,
            generated_at: Some(GeneratedAt(time as i64)),
            sequence: None,
            identity: Some(Identity(7)),
            received_at: ReceivedAt(i as i64),
            instance: None,
        };
        let mut text = Vec::new();
        header.write(&mut text);
        let key = RunName::new("job", &format!("run {}", time % 7)).unwrap().to_key();
        Record { key: key.into(), header: text.into(), value: format!(r#"{{"timestamp":{time}}}"#).into() }
    };
    (0..count).map(sample).collect()
}

fn quick() -> Options {
    let short = Duration::from_millis(10);
    Options { idle: short, sync: short, retry: short, ..Options::default() }
}

fn hooks(journal: &Memory) -> Hooks {
    let journal = journal.clone();
    Hooks {
        connect: Box::new(move || Ok(Box::new(journal.clone()))),
        quarantine: Box::new(|_| Ok(())),
        synced: Box::new(|_, _| ()),
        state: Box::new(|_| ()),
    }
}

fn open(dir: &Path, hooks: Hooks) -> Materializer {
    Materializer::open(dir, hooks, Metrics::new(&Registry::new()).unwrap(), quick()).unwrap()
}

/// A materializer that runs until dropped.
struct Running {
    reader: Reader,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Result<(), Error>>>,
    /// The reason of the halt, while there is one.
    halted: Arc<Mutex<Option<Halt>>>,
}

impl Running {
    fn start(dir: &Path, journal: &Memory) -> Self {
        Self::with(dir, journal, quick())
    }

    fn with(dir: &Path, journal: &Memory, options: Options) -> Self {
        let halted: Arc<Mutex<Option<Halt>>> = Arc::default();
        let seen = halted.clone();
        let state = move |state: State<'_>| {
            *seen.lock().unwrap() = match state {
                State::Following => None,
                State::Halted(error) => Some(Halt::of(error)),
            };
        };
        let hooks = Hooks { state: Box::new(state), ..hooks(journal) };
        let materializer = Materializer::open(dir, hooks, Metrics::new(&Registry::new()).unwrap(), options).unwrap();
        let (reader, stop) = (materializer.reader(), Arc::new(AtomicBool::new(false)));
        let told = stop.clone();
        Self { reader, stop, thread: Some(std::thread::spawn(move || materializer.run(&told))), halted }
    }

    fn halt(&self) -> Halt {
        until(|| self.halted.lock().unwrap().is_some());
        self.halted.lock().unwrap().clone().unwrap()
    }

    fn stop(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn check(reader: &Reader) -> Checked {
    let checked = store::check(reader, |_, _| ()).unwrap();
    assert_eq!(checked.faults, Vec::<String>::new());
    checked
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !done() {
        assert!(Instant::now() < deadline, "not within three minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn applied(reader: &Reader) -> u64 {
    reader.applied(0).unwrap().map_or(0, |it| it.next_offset)
}

/// Applies all of a journal, and tells the digest of the result.
fn fill(dir: &Path, journal: &Memory) -> Checked {
    let running = Running::start(dir, journal);
    let end = journal.clone().extents().unwrap()[0].end;
    until(|| applied(&running.reader) == end);
    let checked = check(&running.reader);
    running.stop().unwrap();
    checked
}

fn options(source: Source) -> rebuild::Options {
    rebuild::Options { source, accept_loss: false, restart: false, store: store::Options::default() }
}

fn make(dir: &Path, journal: &Memory, source: Source) -> Result<u32, Error> {
    rebuild::make(dir, &mut journal.clone(), &options(source), &AtomicBool::new(false), &mut |_| ())
}

fn current(dir: &Path) -> Reader {
    let generations = Generations::open(dir).unwrap();
    let path = generations.path(generations.current().unwrap().unwrap());
    Reader::frozen(&path, &store::Options::default()).unwrap()
}

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
            running.reader.run(name.hash()).unwrap().unwrap().missing().contains(&Missing::Records)
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
        assert_eq!(fill(dir.path(), &journal).runs, 7);
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
