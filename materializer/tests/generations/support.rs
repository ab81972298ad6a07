//! A journal in memory, and materializers and rebuilds on it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event::{GeneratedAt, Header, Identity, Kind, Protocol, ReceivedAt, RunName, Sequence};
use journal::{Entry, Extent, Position, Record, Subscriber};
use materializer::rebuild::{self, Source};
use materializer::{Error, Halt, Hooks, Materializer, Metrics, Options, State};
use prometheus::Registry;
use store::{Checked, Reader, generation::Generations};

/// A journal of one partition in memory, which can be cut and appended to.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub records: Arc<Mutex<(u64, Vec<Record>)>>,
    pub next: u64,
    pub batch: usize,
    /// All but the first are empty.
    pub partitions: u32,
}

impl Memory {
    pub fn with(records: impl IntoIterator<Item = Record>) -> Self {
        Self { records: Arc::new(Mutex::new((0, records.into_iter().collect()))), next: 0, batch: 50, partitions: 1 }
    }

    pub fn append(&self, records: impl IntoIterator<Item = Record>) {
        self.records.lock().unwrap().1.extend(records);
    }

    pub fn forget(&self, below: u64) {
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
pub fn records(first: usize, count: usize) -> Vec<Record> {
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
pub fn samples(count: usize) -> Vec<Record> {
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

pub fn quick() -> Options {
    let short = Duration::from_millis(10);
    Options { idle: short, sync: short, retry: short, ..Options::default() }
}

pub fn hooks(journal: &Memory) -> Hooks {
    let journal = journal.clone();
    Hooks {
        connect: Box::new(move || Ok(Box::new(journal.clone()))),
        quarantine: Box::new(|_| Ok(())),
        synced: Box::new(|_, _| ()),
        state: Box::new(|_| ()),
    }
}

pub fn open(dir: &Path, hooks: Hooks) -> Materializer {
    Materializer::open(dir, hooks, Metrics::new(&Registry::new()).unwrap(), quick()).unwrap()
}

/// A materializer that runs until dropped.
pub struct Running {
    pub reader: Reader,
    pub stop: Arc<AtomicBool>,
    pub thread: Option<std::thread::JoinHandle<Result<(), Error>>>,
    /// The reason of the halt, while there is one.
    pub halted: Arc<Mutex<Option<Halt>>>,
}

impl Running {
    pub fn start(dir: &Path, journal: &Memory) -> Self {
        Self::with(dir, journal, quick())
    }

    pub fn with(dir: &Path, journal: &Memory, options: Options) -> Self {
        let halted: Arc<Mutex<Option<Halt>>> = Arc::default();
        let seen = halted.clone();
        let state = move |state: State<'_>| {
            *seen.lock().unwrap() = match state {
                State::Following | State::Retrying(_) => None,
                State::Halted(error) => Some(Halt::of(error)),
            };
        };
        let hooks = Hooks { state: Box::new(state), ..hooks(journal) };
        let materializer = Materializer::open(dir, hooks, Metrics::new(&Registry::new()).unwrap(), options).unwrap();
        let (reader, stop) = (materializer.reader(), Arc::new(AtomicBool::new(false)));
        let told = stop.clone();
        Self { reader, stop, thread: Some(std::thread::spawn(move || materializer.run(&told))), halted }
    }

    pub fn halt(&self) -> Halt {
        until(|| self.halted.lock().unwrap().is_some());
        self.halted.lock().unwrap().clone().unwrap()
    }

    pub fn stop(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

pub fn check(reader: &Reader) -> Checked {
    let checked = store::check(reader, |_, _| ()).unwrap();
    assert_eq!(checked.faults, Vec::<String>::new());
    checked
}

pub fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !done() {
        assert!(Instant::now() < deadline, "not within three minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn applied(reader: &Reader) -> u64 {
    reader.applied(0).unwrap().map_or(0, |it| it.next_offset)
}

/// Applies all of a journal, and tells the digest of the result.
pub fn fill(dir: &Path, journal: &Memory) -> Checked {
    let running = Running::start(dir, journal);
    let end = journal.clone().extents().unwrap()[0].end;
    until(|| applied(&running.reader) == end);
    let checked = check(&running.reader);
    running.stop().unwrap();
    checked
}

pub fn options(source: Source) -> rebuild::Options {
    rebuild::Options { source, accept_loss: false, restart: false, store: store::Options::default() }
}

pub fn make(dir: &Path, journal: &Memory, source: Source) -> Result<u32, Error> {
    rebuild::make(dir, &mut journal.clone(), &options(source), &AtomicBool::new(false), &mut |_| ())
}

pub fn current(dir: &Path) -> Reader {
    let generations = Generations::open(dir).unwrap();
    let path = generations.path(generations.current().unwrap().unwrap());
    Reader::frozen(&path, &store::Options::default()).unwrap()
}
