//! Whether a secondary in another process tells the truth, compared with what was written, and whether the
//! comparison notices when it does not.
//!
//! What a store holds is a function of the number of its last batch, so that the other process knows of every view
//! what must be in it: hot runs, written all the time, and cold ones, written once and changed once much later. The
//! writer flushes many times a second, compacts to the bottom level, pauses and opens again.
//!
//! Torn views are rare. They are made frequent by the time that a catch-up of RocksDB spends between the MANIFEST and the
//! WALs, where it starts threads to open files with: here 100 of them.
//!
//! `EMBERLOG_TEST_TRUTH_SECONDS` says for how long to compare; 20 if it is not set.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event::{EventKey, Identity, ReceivedAt, RunName, Sequence};
use prometheus::Registry;
use serde::{Deserialize, Serialize};

use super::{Metrics, Options, Readiness, Secondary};
use crate::generation::Generations;
use crate::whole::Finding;
use crate::{Applied, Batch, Error, Reader, Run, RunNumber, View, Writer};

const STORE: &str = "EMBERLOG_TEST_TRUTH_STORE";
const MODE: &str = "EMBERLOG_TEST_TRUTH_MODE";
const SECONDS: &str = "EMBERLOG_TEST_TRUTH_SECONDS";

/// How the reading process reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As always.
    Plain,
    /// With frequent torn views, and against them
    Torn,
    /// nothing but the gate,
    NoRing,
    /// or nothing but the ring.
    NoGate,
}

const MODES: [(Mode, &str); 4] =
    [(Mode::Plain, "plain"), (Mode::Torn, "torn"), (Mode::NoRing, "no ring"), (Mode::NoGate, "no gate")];

impl Mode {
    fn from_env() -> Self {
        let name = std::env::var(MODE);
        MODES.into_iter().find(|(_, it)| name.as_deref() == Ok(it)).map_or(Self::Plain, |(mode, _)| mode)
    }
}

pub(crate) fn opening_threads() -> i32 {
    if Mode::from_env() == Mode::Plain { 1 } else { 100 }
}

/// Protections that are switched off, to see that the comparison fails without them.
pub(super) struct Controls {
    pub(super) no_gate: bool,
    no_ring: bool,
}

impl Controls {
    pub(super) fn from_env() -> Self {
        let mode = Mode::from_env();
        Self { no_gate: mode == Mode::NoGate, no_ring: mode == Mode::NoRing }
    }

    pub(super) fn without_ring(&self, found: Finding) -> Finding {
        if self.no_ring { Finding::Whole(0) } else { found }
    }
}

const HOT: u64 = 8;
/// A cold run is changed as many batches after it was made.
const LATER: u64 = 3001;

/// What a batch does.
fn make(batch: u64) -> Batch {
    let mut changes = Batch::default();
    put(&mut changes, &hot(batch % HOT), batch % HOT, batch);
    if batch.is_multiple_of(3) {
        put(&mut changes, &cold(batch), HOT + batch, batch);
    }
    if let Some(made) = batch.checked_sub(LATER).filter(|made| *made > 0 && made.is_multiple_of(3)) {
        put(&mut changes, &cold(made), HOT + made, batch);
    }
    changes.put_applied(0, &Applied { next_offset: batch, ..Applied::default() }).unwrap();
    changes
}

fn put(changes: &mut Batch, name: &RunName, number: u64, batch: u64) {
    let mut run = Run::new(name, RunNumber { partition: 0, number }, 0, ReceivedAt(0));
    run.arrival.last_received_at = ReceivedAt(batch as i64);
    changes.put_run(&run, None).unwrap();
    changes.put_event(
        run.number,
        key(batch),
        format!("{{\"batch\":{batch},\"pad\":\"{:0200}\"}}", batch * 7919).as_bytes(),
    );
}

fn key(batch: u64) -> EventKey {
    EventKey { order: batch as i64, sequence: Sequence(0), identity: Identity(batch) }
}

fn hot(run: u64) -> RunName {
    RunName::new("hot", &run.to_string()).unwrap()
}

fn cold(made: u64) -> RunName {
    RunName::new("cold", &made.to_string()).unwrap()
}

/// The batches behind `from` that wrote to a run, as of `batch`.
fn written(hot: Option<u64>, made: u64, from: u64, batch: u64) -> Vec<u64> {
    match hot {
        Some(run) => (from + 1..=batch).filter(|it| it % HOT == run).collect(),
        None => [made, made + LATER].into_iter().filter(|it| *it > from && *it <= batch).collect(),
    }
}

/// What the other process found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Report {
    views: u64,
    refused: u64,
    wrong: u64,
    examples: Vec<String>,
    /// When a view was taken, in microseconds of the Unix epoch, and its batch.
    samples: Vec<(u64, u64)>,
    catch_ups: u64,
    torn: u64,
    errors: u64,
    reopens: u64,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Takes views and compares them, until there is no writer any more.
struct Comparer {
    reader: Reader,
    /// The newest batch that any view showed.
    shown: AtomicU64,
    stop: AtomicBool,
    report: Mutex<Report>,
}

impl Comparer {
    fn wrong(&self, what: String) {
        let mut report = self.report.lock().unwrap();
        report.wrong += 1;
        if report.examples.len() < 20 {
            report.examples.push(what);
        }
    }

    /// Waits until a view of this batch was sampled, if that happens at all.
    fn await_sample(&self, batch: u64) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            let is_seen = self.report.lock().unwrap().samples.iter().rev().take(1_000).any(|(_, it)| *it >= batch);
            if is_seen {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn run(&self, mut random: u64) {
        while !self.stop.load(Ordering::Relaxed) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let before = self.shown.load(Ordering::SeqCst);
            let found = match (random >> 33) % 4 {
                0 => self.read_point(before, random >> 40),
                1 => self.reader.scan(|view| self.compare(view, before, random >> 40)),
                _ => self.reader.view(|view| self.compare(view, before, random >> 40)),
            };
            let mut report = self.report.lock().unwrap();
            match found {
                Ok(()) => report.views += 1,
                Err(Error::NoView { .. }) => report.refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A run that the view may have, by any number.
    fn choose(batch: u64, random: u64) -> (Option<u64>, u64) {
        let made = |of: u64| of - of % 3;
        match random % 4 {
            0 => (Some(random / 4 % HOT), 0),
            // Old ones are in the bottom level; the change of these is new.
            1 => (None, made(batch.saturating_sub(LATER + random / 4 % 200)).max(3)),
            2 => (None, made(batch.saturating_sub(random / 4 % 200)).max(3)),
            _ => (None, made(random / 4 % batch.max(4)).max(3)),
        }
    }

    fn compare(&self, view: &mut View<'_>, before: u64, random: u64) -> Result<(), Error> {
        let batch = view.batch()?;
        if self.shown.fetch_max(batch, Ordering::SeqCst) <= batch && random.is_multiple_of(64) {
            self.report.lock().unwrap().samples.push((now(), batch));
        }
        if batch < before {
            self.wrong(format!("a view of batch {batch} after one of {before}"));
        }
        if view.applied(0)?.map_or(0, |it| it.next_offset) != batch {
            self.wrong(format!("view {batch}: applied {:?}", view.applied(0)?));
        }
        for step in 0..4 {
            let (is_hot, made) = Self::choose(batch, random >> step);
            let from = if is_hot.is_some() { batch.saturating_sub(50 * HOT) } else { 0 };
            let expected = written(is_hot, made, from, batch);
            let name = is_hot.map_or_else(|| cold(made), hot);
            let found = view.run(name.hash())?;
            let last = found.as_ref().map(|run| run.arrival.last_received_at.0 as u64);
            if last != expected.last().copied() {
                self.wrong(format!("view {batch}: {name:?} was written by {last:?}, not {:?}", expected.last()));
            }
            let Some(run) = found else { continue };
            let mut events = view.events(run.number, Some(key(from + 1)));
            let mut stored = Vec::new();
            while let Some((key, _)) = events.next()? {
                stored.push(key.order as u64);
            }
            if stored != expected {
                self.wrong(format!("view {batch}: {name:?} has the events {stored:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// A point read names no batch: it is not older than a view before it, nor newer than one behind it.
    fn read_point(&self, before: u64, random: u64) -> Result<(), Error> {
        let (is_hot, made) = Self::choose(before.max(4), random);
        let name = is_hot.map_or_else(|| cold(made), hot);
        let found = self.reader.run(name.hash())?.map_or(0, |run| run.arrival.last_received_at.0 as u64);
        let behind = self.reader.view(|view| view.batch())?;
        let expected = |at| written(is_hot, made, 0, at).last().copied().unwrap_or(0);
        if found < expected(before) || found > expected(behind) {
            self.wrong(format!("between views {before} and {behind}: {name:?} was written by {found}"));
        }
        Ok(())
    }
}

/// The other process; it ends when its input does, and if that names the last batch, when that was seen.
#[test]
#[ignore = "the process that reads, started by the tests below"]
fn reading_process() {
    let dir = std::env::var(STORE).unwrap();
    let dir = Path::new(&dir);
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let mut options = Options::new(dir.join("store"), dir.join("api"));
    if Mode::from_env() != Mode::Plain {
        options.interval = Duration::from_millis(1);
    }
    let secondary = Secondary::start(options, metrics.clone(), move |it| {
        let _ = ready.send(it);
    })
    .unwrap();
    while is_ready.recv_timeout(Duration::from_secs(180)).unwrap() != Readiness::Ready {}
    let comparer = Comparer {
        reader: secondary.reader(),
        shown: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        report: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let comparer = &comparer;
            scope.spawn(move || comparer.run(thread));
        }
        let mut last = String::new();
        let _ = std::io::stdin().read_to_string(&mut last);
        if let Ok(last) = last.parse::<u64>() {
            comparer.await_sample(last);
        }
        comparer.stop.store(true, Ordering::Relaxed);
    });
    let mut report = comparer.report.into_inner().unwrap();
    report.catch_ups = metrics.catch_ups.get();
    report.torn = metrics.torn_views.get();
    report.errors = metrics.errors.get();
    report.reopens = metrics.reopens.get();
    std::fs::write(dir.join("report"), serde_json::to_vec(&report).unwrap()).unwrap();
}

struct Reading(Child);

impl Reading {
    fn start(dir: &Path, mode: Mode) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["secondary::truth::reading_process", "--exact", "--ignored", "--nocapture"]);
        let name = MODES.into_iter().find(|(it, _)| *it == mode).unwrap().1;
        command.env(STORE, dir).env(MODE, name).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Once it has seen the batch, if one is named.
    fn finish(mut self, dir: &Path, last: Option<u64>) -> Report {
        let mut stdin = self.0.stdin.take().unwrap();
        if let Some(last) = last {
            stdin.write_all(last.to_string().as_bytes()).unwrap();
        }
        drop(stdin);
        assert!(self.0.wait().unwrap().success(), "the reading process failed");
        serde_json::from_slice(&std::fs::read(dir.join("report")).unwrap()).unwrap()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes in bursts, with pauses, many small flushes, and now and then opens the store again. Returns when each batch
/// was committed.
fn write(dir: &Path, time: Duration) -> Vec<u64> {
    let generations = Generations::open(&dir.join("store")).unwrap();
    let path = generations.path(generations.current_or_first().unwrap());
    let options = crate::Options { memtable: 64 << 10, ..crate::Options::default() };
    let mut committed = vec![0];
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut writer = Writer::open(&path, &options).unwrap();
        for round in 0..6 {
            for _ in 0..100 {
                writer.commit(make(committed.len() as u64)).unwrap();
                committed.push(now());
                if round % 3 == 2 {
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
            match round {
                3 => writer.settle().unwrap(),
                4 => std::thread::sleep(Duration::from_millis(100)),
                _ => {}
            }
            if Instant::now() >= end {
                break;
            }
        }
    }
    committed
}

fn compare(mode: Mode, time: Duration) -> (Report, Vec<u64>) {
    // One after the other: each wants the whole machine.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let reading = Reading::start(dir.path(), mode);
    let committed = write(dir.path(), time);
    // What was written last is seen too.
    let report = reading.finish(dir.path(), (mode == Mode::Plain).then(|| committed.len() as u64 - 1));
    println!(
        "{mode:?}: {} batches, {} views, {} refused, {} wrong; {} catch-ups, {} torn, {} errors, {} reopens",
        committed.len() - 1,
        report.views,
        report.refused,
        report.wrong,
        report.catch_ups,
        report.torn,
        report.errors,
        report.reopens
    );
    (report, committed)
}

fn seconds() -> u64 {
    std::env::var(SECONDS).map_or(20, |it| it.parse().unwrap())
}

#[test]
fn a_secondary_in_another_process_tells_the_truth() {
    // It must at no time be wrong, and in time whenever the machine does not stand still.
    assert!((0..4).any(|_| is_true_and_in_time()), "it is late each time");
}

fn is_true_and_in_time() -> bool {
    let (report, committed) = compare(Mode::Plain, Duration::from_secs(seconds()));
    assert_eq!((report.wrong, &report.examples), (0, &Vec::new()));
    let last = committed.len() as u64 - 1;
    assert_eq!(report.samples.iter().map(|(_, batch)| *batch).max(), Some(last), "the last batch was not seen");
    // A view is as stale as the first batch that it lacks is old.
    let lacks =
        |&(at, batch): &(u64, u64)| committed.get(batch as usize + 1).map_or(0, |since| at.saturating_sub(*since));
    let mut stale: Vec<u64> = report.samples.iter().map(lacks).collect();
    stale.sort_unstable();
    let p99 = Duration::from_micros(stale[stale.len() * 99 / 100]);
    println!(
        "{} samples: staleness p50 {} us, p99 {p99:?}, max {:?} us",
        stale.len(),
        stale[stale.len() / 2],
        stale.last()
    );
    report.views > 1000 * seconds() && report.refused == 0 && p99 <= Duration::from_secs(1)
}

#[test]
fn torn_views_are_not_served_however_many_there_are() {
    let were_some = (0..4).any(|_| {
        let (report, _) = compare(Mode::Torn, Duration::from_secs(seconds() / 2));
        assert_eq!((report.wrong, &report.examples), (0, &Vec::new()));
        report.torn > 0
    });
    assert!(were_some, "there were none");
}

#[test]
fn without_the_ring_torn_views_are_found_out() {
    control_fails(Mode::NoRing);
}

#[test]
fn without_the_gate_torn_views_are_found_out() {
    control_fails(Mode::NoGate);
}

/// Without a protection the comparison must find wrong views; how soon is up to RocksDB.
fn control_fails(mode: Mode) {
    const ATTEMPTS: usize = 30;
    for _ in 0..ATTEMPTS {
        let (report, _) = compare(mode, Duration::from_secs(3));
        if report.wrong > 0 {
            println!("{}", report.examples.join("\n"));
            return;
        }
    }
    panic!("{mode:?}: no wrong view in {ATTEMPTS} attempts");
}
