//! A new generation of the store, made while the old one is served: from the journal, or from the old generation
//! itself. It survives a kill and goes on, and becomes the current one only when it has caught up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event::EventKey;
use journal::{Extent, Subscriber};
use serde::{Deserialize, Serialize};
use store::generation::{Generations, Next, Number};
use store::{Applied, Batch, Reader, Run, RunNumber, Writer};

use crate::start::{doubts, start};
use crate::{Applier, Error, Result};

/// What a new generation is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Replays the journal from its start: for a store that is lost or doubted.
    Journal,
    /// Copies the events of the served generation and goes on at its offsets: for a new format or a new fold.
    Store,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Store => "store",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    pub source: Source,
    /// Go on although the journal no longer holds all that the store does.
    pub accept_loss: bool,
    /// Give up what an interrupted rebuild has made.
    pub restart: bool,
    pub store: store::Options,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    pub done: u64,
    pub total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In bytes of events.
    Copying,
    /// In records of the journal.
    Replaying,
}

/// Bytes of one write batch.
const BATCH: usize = 4 << 20;

/// Makes the next generation and leaves it ready to be adopted. Nothing that is served changes.
pub fn make(
    dir: &Path,
    subscriber: &mut dyn Subscriber,
    options: &Options,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Progress),
) -> Result<Number> {
    let generations = Generations::open(dir)?;
    let _held = generations.hold_rebuild()?;
    let current = generations.current_or_first()?;
    let served = generations.path(current);
    let served = if served.exists() { Some(Reader::frozen(&served, &options.store)?) } else { None };
    let is_made = !options.restart && generations.next()?.is_some_and(|next| next.ready);
    if let (Source::Journal, Some(served), false) = (options.source, &served, options.accept_loss || is_made) {
        // Before anything is begun that would stand in the way of the other source.
        refuse_loss(served, subscriber)?;
    }
    let next = begin(&generations, options)?;
    if next.ready {
        return Ok(next.generation);
    }
    let mut writer = Writer::open(&generations.path(next.generation), &options.store)?;
    if let Some(served) = &served {
        // What has expired only the served store knows; and the journal may no longer hold the record of a deletion.
        copy_gone(served, &mut writer)?;
        if options.source == Source::Store {
            copy(served, &mut writer, stop, report)?;
        }
    }
    let writer = replay(writer, subscriber, options.accept_loss, stop, report)?;
    writer.settle()?;
    writer.sync()?;
    drop(writer);
    generations.set_next(&Next { ready: true, ..next.clone() })?;
    Ok(next.generation)
}

/// Makes a ready generation the current one if no process serves the store; otherwise waits until that one did.
/// `false`: not adopted within the time.
pub fn adopt(dir: &Path, generation: Number, options: &store::Options, patience: Duration) -> Result<bool> {
    const STEP: Duration = Duration::from_millis(100);
    let generations = Generations::open(dir)?;
    let mut waited = Duration::ZERO;
    loop {
        if generations.current()? == Some(generation) {
            return Ok(true);
        }
        if let (Ok(_held), Some(next)) = (generations.hold(), generations.next()?)
            && next.ready
            && next.generation == generation
        {
            let served = generations.path(generations.current_or_first()?);
            if served.exists() {
                let mut applier = Applier::open(Writer::open(&generations.path(generation), options)?)?;
                applier.expire_as(&Reader::frozen(&served, options)?)?;
                applier.writer().sync()?;
            }
            generations.adopt(&next)?;
            return Ok(true);
        }
        if waited >= patience {
            return Ok(false);
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
}

fn begin(generations: &Generations, options: &Options) -> Result<Next> {
    if let Some(next) = generations.next()? {
        if options.restart {
            generations.abandon(&next)?;
        } else if next.source != options.source.name() {
            return Err(Error::OtherSource { found: next.source });
        } else {
            return Ok(next);
        }
    }
    let newest = generations.all()?.last().copied().unwrap_or(0).max(generations.current()?.unwrap_or(0));
    let next = Next { generation: newest + 1, source: options.source.name().to_owned(), ready: false };
    generations.set_next(&next)?;
    Ok(next)
}

/// Refuses a journal that lacks runs that the store holds, or a part of them.
fn refuse_loss(served: &Reader, subscriber: &mut dyn Subscriber) -> Result<()> {
    let applied = served.view(|view| view.all_applied())?;
    let applied: BTreeMap<u32, Applied> = applied.into_iter().map(|(partition, it)| (partition.into(), it)).collect();
    let extents = subscriber.extents()?;
    let doubts = doubts(subscriber, &extents, &applied)?;
    for (partition, applied) in applied {
        let start = extents.iter().find(|it| it.partition == partition).map(|it| it.start);
        // Cut back, or another journal: it may lack anything that the store holds.
        let is_doubted = start.is_none() || doubts.iter().any(|it| it.partition() == Some(partition));
        let mut runs = 0;
        each_run(served, |run| {
            let expired = start.is_some_and(|start| run.first_offset < start);
            let is_older = |gap| run.arrival.first_received_at < gap;
            let is_concerned = is_doubted || expired || applied.accepted_gap.is_some_and(is_older);
            runs += u64::from(u32::from(run.number.partition) == partition && is_concerned);
        })?;
        if runs > 0 {
            return Err(Error::WouldLose { partition, start: start.unwrap_or_default(), runs });
        }
    }
    Ok(())
}

fn copy_gone(served: &Reader, writer: &mut Writer) -> Result<()> {
    let mut batch = Batch::default();
    served.view(|view| {
        let mut after = None;
        while let Some((run, partition, gone)) = view.next_gone(after)? {
            after = Some((run, partition));
            batch.put_gone(run, partition, &gone)?;
            if batch.size() >= BATCH {
                writer.commit(std::mem::take(&mut batch))?;
            }
        }
        Ok::<_, Error>(())
    })?;
    Ok(writer.commit(batch)?)
}

fn each_run(reader: &Reader, mut visit: impl FnMut(&Run)) -> Result<()> {
    reader.view(|view| {
        let mut after = None;
        while let Some((hash, run)) = view.next_run(after)? {
            visit(&run);
            after = Some(hash);
        }
        Ok::<_, Error>(())
    })
}

/// How far a copy has come. The offsets are those of the first attempt: runs copied by it lack what came later.
#[derive(Debug, Serialize, Deserialize)]
struct Copied {
    applied: Vec<(u16, Applied)>,
    last: Option<RunNumber>,
    done: bool,
}

fn copy(served: &Reader, writer: &mut Writer, stop: &AtomicBool, report: &mut dyn FnMut(Progress)) -> Result<()> {
    let now = served.view(|view| view.all_applied())?;
    let mut copied = match writer.copied()? {
        Some(copied) => read_copied(&copied)?,
        None => Copied { applied: now.clone(), last: None, done: false },
    };
    if copied.done {
        return Ok(());
    }
    let mut runs = Vec::new();
    let (mut total, mut done) = (0, 0);
    each_run(served, |run| {
        total += run.summary.bytes;
        if copied.last.is_some_and(|last| run.number <= last) {
            done += run.summary.bytes;
        } else {
            runs.push((run.number, run.hash()));
        }
    })?;
    runs.sort_unstable_by_key(|(number, _)| *number);
    let mut batch = Batch::default();
    let mut unsaved = 0;
    for (number, hash) in runs {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let Some(run) = served.run(hash?)? else { continue };
        done += run.summary.bytes;
        unsaved += run.summary.bytes;
        copy_run(served, run, writer, &mut batch)?;
        copied.last = Some(number);
        if unsaved >= BATCH as u64 {
            unsaved = 0;
            commit(writer, &mut batch, &copied)?;
            report(Progress { phase: Phase::Copying, done, total });
        }
    }
    for (partition, applied) in &copied.applied {
        let next_run = now.iter().find(|(it, _)| it == partition).map_or(applied.next_run, |(_, now)| now.next_run);
        batch.put_applied(*partition, &Applied { next_run, ..*applied })?;
    }
    copied.done = true;
    report(Progress { phase: Phase::Copying, done, total });
    commit(writer, &mut batch, &copied)
}

/// Copies a run's events and samples verbatim, and folds its records anew; what the headers told is carried over.
fn copy_run(served: &Reader, run: Run, writer: &mut Writer, batch: &mut Batch) -> Result<()> {
    let mut new = Run { summary: store::Summary::default(), samples: store::Samples::default(), ..run };
    served.scan(|view| {
        let mut events = view.events(new.number, None);
        while let Some((key, event)) = events.next()? {
            put(&mut new, key, event, batch);
            if batch.size() >= BATCH {
                writer.commit(std::mem::take(batch))?;
            }
        }
        let mut samples = view.samples(new.number, None);
        while let Some((key, sample)) = samples.next()? {
            new.samples.fold(key, sample);
            batch.put_sample(new.number, key, sample);
            if batch.size() >= BATCH {
                writer.commit(std::mem::take(batch))?;
            }
        }
        Ok::<_, Error>(())
    })?;
    Ok(batch.put_run(&new, None)?)
}

fn put(run: &mut Run, key: EventKey, event: &[u8], batch: &mut Batch) {
    store::fold(run, key, event);
    batch.put_event(run.number, key, event);
}

fn commit(writer: &mut Writer, batch: &mut Batch, copied: &Copied) -> Result<()> {
    let text = serde_json::to_vec(copied)
        .map_err(|e| store::Error::Damaged(format!("the progress cannot be written: {e}")))?;
    batch.put_copied(&text);
    Ok(writer.commit(std::mem::take(batch))?)
}

fn read_copied(text: &[u8]) -> Result<Copied> {
    Ok(serde_json::from_slice(text).map_err(|e| store::Error::Damaged(format!("the progress cannot be read: {e}")))?)
}

/// Applies the journal from where the new generation is to its end.
fn replay(
    writer: Writer,
    subscriber: &mut dyn Subscriber,
    accept_loss: bool,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Progress),
) -> Result<Writer> {
    let partitions: Vec<u32> = subscriber.extents()?.iter().map(|it| it.partition).collect();
    let mut applier = Applier::new(writer, partitions)?;
    match start(subscriber, applier.progress()) {
        // All that the journal still holds; what the copy has already is recognised.
        Err(Error::Gap { .. } | Error::AnotherJournal { .. }) if accept_loss => {
            applier.restart();
            start(subscriber, applier.progress())?;
        }
        started => started?,
    }
    // Under load there is always a little more: the materializer that takes the store over applies it.
    const CLOSE: Duration = Duration::from_secs(2);
    loop {
        let began = Instant::now();
        let goal = subscriber.extents()?;
        reach(&goal, &mut applier, subscriber, stop, report)?;
        if began.elapsed() < CLOSE {
            return Ok(applier.into_writer());
        }
    }
}

/// Applies all that the journal held when `goal` was asked for.
fn reach(
    goal: &[Extent],
    applier: &mut Applier,
    subscriber: &mut dyn Subscriber,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Progress),
) -> Result<()> {
    const WAIT: Duration = Duration::from_millis(50);
    let total: u64 = goal.iter().map(|it| it.end - it.start.min(it.end)).sum();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let next = |partition| applier.progress().get(&partition).map_or(0, |it| it.next_offset);
        let left: u64 = goal.iter().map(|it| it.end.saturating_sub(next(it.partition).max(it.start))).sum();
        report(Progress { phase: Phase::Replaying, done: total - left.min(total), total });
        if left == 0 {
            return Ok(());
        }
        let entries = subscriber.next(WAIT)?;
        // Poison went to the dead letters when it was applied first.
        applier.apply(entries, &mut |_| Ok(()))?;
    }
}
