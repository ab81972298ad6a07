//! The life of a materializer: start at the stored offset, apply what comes, move to a new generation when a
//! rebuild has made one, halt when going on would skip or mix records, stop.

mod adopt;
mod halted;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event::ReceivedAt;
use journal::{Extent, Subscriber};
use store::generation::{Generations, Held};
use store::{Reader, Writer};

use crate::halt::Files;
use crate::poison::{Limit, Quarantine};
use crate::retention::{Due, Watch};
use crate::start::{WAIT, start};
use crate::{Applier, Error, Metrics, Outcome, Result, Retention};

/// Opens the journal: at the start, and again after a halt.
pub type Connect = Box<dyn FnMut() -> Result<Box<dyn Subscriber>, journal::Error> + Send>;

/// Told the partition and the offset below which all is applied and survives a power cut.
pub type Synced = Box<dyn FnMut(u32, u64) + Send>;

/// What a materializer needs of its process.
pub struct Hooks {
    pub connect: Connect,
    pub quarantine: Quarantine,
    pub synced: Synced,
    /// Told what the materializer does from now on.
    pub state: Box<dyn FnMut(State<'_>) + Send>,
}

#[derive(Debug)]
pub enum State<'a> {
    /// The journal is being read.
    Following,
    /// Something failed for a reason that may pass, and is tried again; reads go on.
    Retrying(&'a Error),
    /// Nothing is applied until a person has decided; reads go on.
    Halted(&'a Error),
}

#[derive(Debug, Clone)]
pub struct Options {
    pub store: store::Options,
    /// How often an idle materializer says that it is caught up, and looks for a new generation.
    pub idle: Duration,
    /// How often the store is made to survive a power cut, so that the journal may forget what is below.
    pub sync: Duration,
    /// Between two attempts after an error that may pass.
    pub retry: Duration,
    /// Records that may be quarantined within an hour.
    pub poison_limit: u64,
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            store: store::Options::default(),
            idle: Duration::from_secs(1),
            sync: Duration::from_secs(60),
            retry: Duration::from_secs(1),
            poison_limit: 1000,
            retention: Retention::default(),
        }
    }
}

pub struct Materializer {
    subscriber: Option<Box<dyn Subscriber>>,
    generations: Generations,
    _held: Held,
    files: Files,
    applier: Applier,
    reader: Reader,
    hooks: Hooks,
    poison: Limit,
    metrics: Metrics,
    options: Options,
    watch: Option<Watch>,
    /// What has expired and is not removed yet.
    due: Due,
}

impl std::fmt::Debug for Materializer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Materializer").field("applier", &self.applier).finish_non_exhaustive()
    }
}

impl Materializer {
    /// Opens the store in `dir` and holds it. Reads can be served from then on, whatever the journal does.
    pub fn open(dir: &Path, hooks: Hooks, metrics: Metrics, options: Options) -> Result<Self> {
        let generations = Generations::open(dir)?;
        let held = hold(&generations)?;
        let generation = generations.current_or_first()?;
        let applier = Applier::open(Writer::open(&generations.path(generation), &options.store)?)?;
        let reader = applier.writer().reader();
        Ok(Self {
            subscriber: None,
            generations,
            _held: held,
            files: Files::new(dir),
            watch: Watch::start(&options.retention, reader.clone()),
            due: Due::default(),
            reader,
            applier,
            hooks,
            poison: Limit::new(options.poison_limit),
            metrics,
            options,
        })
    }

    /// A reader that stays on the served generation.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Applies until told to stop.
    pub fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut halted: Option<Error> = None;
        loop {
            let result = match halted.take() {
                None => self.follow(stop),
                Some(error) => self.halt(&error, stop),
            };
            match result {
                Err(Error::Stopped) => return Ok(self.applier.writer().sync()?),
                Err(error) => halted = Some(error),
                Ok(()) => {}
            }
        }
    }

    fn follow(&mut self, stop: &AtomicBool) -> Result<()> {
        self.retrying(stop, Self::begin)?;
        // Partitions of which nothing was applied yet would look as old as the epoch.
        self.retrying(stop, Self::tell)?;
        // An order that was left for a halt that is over is not for the next one.
        self.files.clear_order()?;
        self.files.clear_halted()?;
        (self.hooks.state)(State::Following);
        let (mut said, mut synced) = (Instant::now(), Instant::now());
        loop {
            self.retrying(stop, |it| it.turn(stop))?;
            self.retrying(stop, Self::expire)?;
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
        let mut failed: Option<String> = None;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let again = if failed.is_some() { self.begin() } else { Ok(()) };
            match again.and_then(|()| step(self)) {
                Err(error) if error.is_retryable() => {
                    self.metrics.retries.inc();
                    let text = error.to_string();
                    if failed.as_ref() != Some(&text) {
                        tracing::warn!(%error, "applying failed; it is tried again");
                        (self.hooks.state)(State::Retrying(&error));
                    }
                    failed = Some(text);
                    std::thread::sleep(self.options.retry);
                    if let Err(error) = self.applier.writer().resume() {
                        tracing::warn!(%error, "RocksDB cannot go on yet");
                    }
                }
                result => return result,
            }
        }
    }

    /// Opens the journal if it is not open, and goes to where the store is.
    fn begin(&mut self) -> Result<()> {
        let subscriber = match &mut self.subscriber {
            Some(subscriber) => subscriber,
            none => none.insert((self.hooks.connect)()?),
        };
        self.applier.begin_with(subscriber.extents()?.into_iter().map(|it| it.partition));
        start(subscriber.as_mut(), self.applier.progress())
    }

    fn subscriber(&mut self) -> Result<&mut dyn Subscriber> {
        let closed = || journal::Error::Unavailable("it is not open".to_owned());
        Ok(self.subscriber.as_deref_mut().ok_or_else(closed)?)
    }

    /// Applies one batch, if one comes.
    fn turn(&mut self, stop: &AtomicBool) -> Result<()> {
        let entries = self.subscriber()?.next(WAIT)?;
        if entries.is_empty() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let timer = self.metrics.batch_seconds.start_timer();
        let outcome = self.applier.apply(entries, &mut self.hooks.quarantine)?;
        timer.observe_duration();
        self.count(&outcome);
        self.poison.count(&outcome.poison)
    }

    /// Removes some of what has expired: applying goes on in between.
    fn expire(&mut self) -> Result<()> {
        const AT_ONCE: usize = 500;
        if self.due == Due::default() {
            let Some(due) = self.watch.as_ref().and_then(Watch::due) else { return Ok(()) };
            self.due = due;
        }
        let retention = &self.options.retention;
        let runs = self.due.runs.split_off(self.due.runs.len().saturating_sub(AT_ONCE));
        let forget = self.due.forget.split_off(self.due.forget.len().saturating_sub(AT_ONCE));
        let expired = self.applier.expire(&runs, &forget, ReceivedAt::now(), retention)?;
        self.metrics.expired_runs.inc_by(expired);
        if expired > 0 {
            tracing::info!(runs = expired, "removed runs that have expired");
        }
        Ok(())
    }

    fn count(&self, outcome: &Outcome) {
        self.metrics.dropped.inc_by(outcome.dropped);
        self.metrics.deleted_runs.inc_by(outcome.deleted_runs);
        self.metrics.events.inc_by(outcome.events);
        self.metrics.bytes.inc_by(outcome.bytes);
        self.metrics.samples.inc_by(outcome.samples);
        self.metrics.signs_of_life.inc_by(outcome.signs_of_life);
        self.metrics.duplicates.inc_by(outcome.duplicates);
        self.metrics.conflicts.inc_by(outcome.conflicts);
        self.metrics.runs.inc_by(outcome.new_runs);
        self.metrics.quarantined.inc_by(outcome.poison.len() as u64);
    }

    /// Publishes lag, and of partitions that have none, the time until which all is applied.
    fn tell(&mut self) -> Result<()> {
        let now = ReceivedAt::now();
        let extents = self.subscriber()?.extents()?;
        let progress = self.applier.progress();
        let next = |partition| progress.get(&partition).map_or(0, |it| it.next_offset);
        let lag = |it: &Extent| it.end.saturating_sub(next(it.partition).max(it.start));
        let total: u64 = extents.iter().map(lag).sum();
        // Each by itself: under load there may be no moment at which nothing is left of any.
        let caught_up: Vec<u32> = extents.iter().filter(|it| lag(it) == 0).map(|it| it.partition).collect();
        self.metrics.lag_records.set(i64::try_from(total).unwrap_or(i64::MAX));
        if !caught_up.is_empty() {
            self.applier.caught_up(&caught_up, now)?;
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
            (self.hooks.synced)(partition, applied.next_offset);
        }
        Ok(())
    }
}

/// A rebuild that ends while nobody serves holds the store for moments: no reason to refuse a server's start.
fn hold(generations: &Generations) -> Result<Held> {
    const STEP: Duration = Duration::from_millis(20);
    // Five seconds, but not by the clock: the rebuild may stand still as long as this process does.
    for _ in 0..250 {
        match generations.hold() {
            Err(store::Error::Locked(_)) => std::thread::sleep(STEP),
            held => return Ok(held?),
        }
    }
    Ok(generations.hold()?)
}
