//! The life of a materializer: start at the stored offset, apply what comes, move to a new generation when a
//! rebuild has made one, stop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event::ReceivedAt;
use journal::{Extent, Position, Subscriber};
use store::generation::{Generations, Held, Next};
use store::{Applied, Reader, Writer};

use crate::{Applier, Error, Metrics, Outcome, Poison, Result};

/// Makes poison records safe in the dead letters.
pub type Quarantine = Box<dyn FnMut(&[Poison]) -> Result<(), journal::Error> + Send>;

/// Told the partition and the offset below which all is applied and survives a power cut.
pub type Synced = Box<dyn FnMut(u32, u64) + Send>;

#[derive(Debug, Clone)]
pub struct Options {
    pub store: store::Options,
    /// How often an idle materializer says that it is caught up, and looks for a new generation.
    pub idle: Duration,
    /// How often the store is made to survive a power cut, so that the journal may forget what is below.
    pub sync: Duration,
    /// Between two attempts after an error that may pass.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            store: store::Options::default(),
            idle: Duration::from_secs(1),
            sync: Duration::from_secs(60),
            retry: Duration::from_secs(1),
        }
    }
}

/// How long one wait for records lasts, and so how soon a stop is noticed.
const WAIT: Duration = Duration::from_millis(200);

pub struct Materializer {
    subscriber: Box<dyn Subscriber>,
    generations: Generations,
    _held: Held,
    applier: Applier,
    reader: Reader,
    quarantine: Quarantine,
    synced: Synced,
    metrics: Metrics,
    options: Options,
}

impl std::fmt::Debug for Materializer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Materializer").field("applier", &self.applier).finish_non_exhaustive()
    }
}

impl Materializer {
    /// Opens the store in `dir` and holds it. Reads can be served from then on, whatever the journal does.
    pub fn open(
        dir: &Path,
        mut subscriber: Box<dyn Subscriber>,
        quarantine: Quarantine,
        synced: Synced,
        metrics: Metrics,
        options: Options,
    ) -> Result<Self> {
        let generations = Generations::open(dir)?;
        let held = hold(&generations)?;
        let generation = generations.current_or_first()?;
        let writer = Writer::open(&generations.path(generation), &options.store)?;
        let reader = writer.reader();
        let partitions = subscriber.extents()?.into_iter().map(|it| it.partition);
        let applier = Applier::new(writer, partitions)?;
        Ok(Self { subscriber, generations, _held: held, applier, reader, quarantine, synced, metrics, options })
    }

    /// A reader that stays on the served generation.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Applies until told to stop. An error means that it has halted: reads go on, but a person is needed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let result = self.follow(stop);
        let synced = self.applier.writer().sync();
        match result {
            Err(Error::Stopped) => Ok(synced?),
            Err(error) => {
                self.metrics.halted.set(1);
                tracing::error!(%error, "the materializer has halted; reads go on");
                Err(error)
            }
            Ok(()) => Ok(synced?),
        }
    }

    fn follow(&mut self, stop: &AtomicBool) -> Result<()> {
        self.retrying(stop, |it| start(it.subscriber.as_mut(), it.applier.progress()))?;
        let (mut said, mut synced) = (Instant::now(), Instant::now());
        loop {
            self.retrying(stop, |it| it.turn(stop))?;
            if said.elapsed() >= self.options.idle {
                said = Instant::now();
                self.retrying(stop, |it| it.tell())?;
                self.retrying(stop, |it| it.adopt_if_ready(stop))?;
            }
            if synced.elapsed() >= self.options.sync {
                synced = Instant::now();
                self.retrying(stop, Self::sync)?;
            }
        }
    }

    /// Repeats what failed for a reason that may pass, from the stored offset on.
    fn retrying(&mut self, stop: &AtomicBool, mut step: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut failed = false;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let again = if failed { start(self.subscriber.as_mut(), self.applier.progress()) } else { Ok(()) };
            match again.and_then(|()| step(self)) {
                Err(error) if error.is_retryable() => {
                    failed = true;
                    self.metrics.retries.inc();
                    tracing::warn!(%error, "applying failed; it is tried again");
                    std::thread::sleep(self.options.retry);
                    if let Err(error) = self.applier.writer().resume() {
                        tracing::warn!(%error, "RocksDB cannot go on yet");
                    }
                }
                result => return result,
            }
        }
    }

    /// Applies one batch, if one comes.
    fn turn(&mut self, stop: &AtomicBool) -> Result<()> {
        let entries = self.subscriber.next(WAIT)?;
        if entries.is_empty() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let timer = self.metrics.batch_seconds.start_timer();
        let outcome = self.applier.apply(entries, &mut self.quarantine)?;
        timer.observe_duration();
        self.count(&outcome);
        Ok(())
    }

    fn count(&self, outcome: &Outcome) {
        self.metrics.events.inc_by(outcome.events);
        self.metrics.bytes.inc_by(outcome.bytes);
        self.metrics.signs_of_life.inc_by(outcome.signs_of_life);
        self.metrics.duplicates.inc_by(outcome.duplicates);
        self.metrics.conflicts.inc_by(outcome.conflicts);
        self.metrics.runs.inc_by(outcome.new_runs);
        self.metrics.quarantined.inc_by(outcome.poison.len() as u64);
    }

    /// Publishes lag, and when there is none, the time until which all is applied.
    fn tell(&mut self) -> Result<()> {
        let now = ReceivedAt::now();
        let progress = self.applier.progress();
        let next = |partition| progress.get(&partition).map_or(0, |it| it.next_offset);
        let lag: u64 = self.subscriber.extents()?.iter().map(|it| it.end.saturating_sub(next(it.partition))).sum();
        self.metrics.lag_records.set(i64::try_from(lag).unwrap_or(i64::MAX));
        if lag == 0 {
            self.applier.caught_up(now)?;
        }
        let through = self.applier.progress().values().map(|it| it.through.0).min().unwrap_or_default();
        #[allow(clippy::cast_precision_loss)] // Times of this millennium are exact.
        self.metrics.applied_through.set(through as f64 / 1000.0);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let progress = self.applier.progress().clone();
        self.applier.writer().sync()?;
        for (partition, applied) in progress {
            (self.synced)(partition, applied.next_offset);
        }
        Ok(())
    }

    /// Moves to a generation that a rebuild has finished. The old one is served until the new one has applied as
    /// much, so that no answer goes back in time.
    fn adopt_if_ready(&mut self, stop: &AtomicBool) -> Result<()> {
        let Some(next) = self.generations.next()?.filter(|next| next.ready) else { return Ok(()) };
        let writer = match Writer::open(&self.generations.path(next.generation), &self.options.store) {
            // The rebuild has not closed it yet.
            Err(store::Error::Locked(_)) => return Ok(()),
            writer => writer?,
        };
        let adopted = self.catch_up(&next, writer, stop);
        if adopted.is_err() {
            start(self.subscriber.as_mut(), self.applier.progress())?;
        }
        adopted
    }

    fn catch_up(&mut self, next: &Next, writer: Writer, stop: &AtomicBool) -> Result<()> {
        let goal = self.applier.progress().clone();
        let mut applier = Applier::new(writer, goal.keys().copied())?;
        start(self.subscriber.as_mut(), applier.progress())?;
        while !has_reached(applier.progress(), &goal) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let entries = self.subscriber.next(WAIT)?;
            let quarantine = &mut self.quarantine;
            // What is below the goal is in the dead letters already.
            applier.apply(entries, &mut |poison: &[Poison]| {
                let is_new = |it: &&Poison| goal.get(&it.partition).is_none_or(|goal| it.offset >= goal.next_offset);
                let new: Vec<Poison> = poison.iter().filter(is_new).cloned().collect();
                if new.is_empty() { Ok(()) } else { quarantine(&new) }
            })?;
        }
        self.generations.adopt(next)?;
        self.reader.follow(&applier.writer().reader());
        self.applier = applier;
        tracing::info!(generation = next.generation, source = next.source, "serving a new generation of the store");
        Ok(())
    }
}

/// A rebuild that ends while nobody serves holds the store for moments: no reason to refuse a server's start.
fn hold(generations: &Generations) -> Result<Held> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match generations.hold() {
            Err(store::Error::Locked(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            held => return Ok(held?),
        }
    }
}

fn has_reached(progress: &BTreeMap<u32, Applied>, goal: &BTreeMap<u32, Applied>) -> bool {
    goal.iter().all(|(partition, goal)| progress.get(partition).is_some_and(|it| it.next_offset >= goal.next_offset))
}

/// Sets the subscriber to where the store is, if the journal is the one that the store was applied from.
pub(crate) fn start(subscriber: &mut dyn Subscriber, progress: &BTreeMap<u32, Applied>) -> Result<()> {
    let extents = subscriber.extents()?;
    if extents.len() != progress.len() {
        return Err(Error::Partitions { found: progress.len(), expected: extents.len() });
    }
    for Extent { partition, start, end } in extents {
        let applied = progress.get(&partition).copied().unwrap_or_default();
        let next = applied.next_offset;
        // A store that has applied nothing begins where the journal does.
        let from = if next == 0 { start } else { next };
        if from < start || from > end {
            return Err(Error::Gap { partition, applied: next, start, end });
        }
        if next > start {
            subscriber.seek(Position { partition, offset: next - 1 })?;
            if read_one(subscriber, Position { partition, offset: next - 1 })? != applied.fingerprint {
                return Err(Error::AnotherJournal { partition, offset: next - 1 });
            }
        }
        subscriber.seek(Position { partition, offset: from })?;
    }
    Ok(())
}

fn read_one(subscriber: &mut dyn Subscriber, at: Position) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let entries = subscriber.next(WAIT)?;
        let found = entries.iter().find(|it| it.partition == at.partition && it.offset == at.offset);
        if let Some(entry) = found {
            return Ok(entry.record.fingerprint());
        }
    }
    Err(Error::Journal(journal::Error::Unavailable(format!(
        "the record at {}:{} did not come",
        at.partition, at.offset
    ))))
}
