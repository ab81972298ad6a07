//! Importing one log: what is there already is told by the target, the rest is sent.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, anyhow, ensure};
use event::spark::quick_name;
use event::{RunName, redact};
use eventlog::{Chunk, End, Head, Log, LogReader};

use super::report::{Outcome, Progress};
use super::target::{Attempt, Sent, Status, Target};

/// Lines that are sent at once: large enough for one fsync each, small enough for many of them in memory.
const CHUNK_BYTES: usize = 4 << 20;
/// Chunks that wait between reading and sending.
const WAITING: usize = 2;

/// What to do with runs that are there already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    pub as_attempt: Option<u32>,
    pub replace: bool,
    pub dry_run: bool,
}

/// Of which attempt of which run a log is; none while it does not say so.
pub fn attempt(log: &Log, rules: Rules) -> anyhow::Result<Option<Attempt>> {
    let Some(application) = Head::read(log)?.application else {
        // What runs may not have come so far.
        ensure!(log.in_progress || log.size() == 0, "{} holds no SparkListenerApplicationStart", log.place);
        return Ok(None);
    };
    let run = RunName::new(&application.name, &application.id).with_context(|| log.place.clone())?;
    Ok(Some(Attempt { run, number: rules.as_attempt.unwrap_or(application.attempt) }))
}

pub fn import(
    log: &Log,
    attempt: &Attempt,
    rules: Rules,
    target: &dyn Target,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let mut status = target.status(attempt)?;
    if let Some(why) = stands_against(&status, rules) {
        if !rules.replace {
            return Ok(Outcome::LeftAlone(why));
        }
        if !rules.dry_run {
            target.reopen(&attempt.run)?;
        }
        status = Status::default();
    } else if rules.replace && status.events > 0 {
        if !rules.dry_run {
            target.reopen(&attempt.run)?;
        }
        status = Status::default();
    }
    let may_have_holes = status.ingested > status.next && status.ingested == status.events;
    if may_have_holes
        && rules.as_attempt.is_none()
        && target.only_attempt(&attempt.run)? == Some(attempt.number)
        && is_all_there(log, &status)?
    {
        return Ok(Outcome::AlreadyThere { incomplete: log.in_progress });
    }
    if rules.dry_run {
        return count(log, &status, progress);
    }
    let anchor = anchor(attempt, &status, target)?;
    match read_and_send(log, attempt, &status, anchor, target, progress) {
        Ok((read, sent)) => Ok(outcome(&status, read, sent)),
        Err(error) if error.is::<AnotherLog>() => Ok(Outcome::LeftAlone(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Where lines became dead letters, the run has holes, and only the count of the others tells that they are there: sent again,
/// they would do no harm, but there would be more dead letters. The run must have no other attempt, whose events are counted too.
fn is_all_there(log: &Log, status: &Status) -> anyhow::Result<bool> {
    let mut good = 0;
    let mut count = |chunk: Chunk| {
        good += events_of(&chunk).count() as u64;
        Ok::<_, anyhow::Error>(())
    };
    LogReader::new(0, CHUNK_BYTES).read(log, &mut |_| (), &mut count)?;
    Ok(good == status.ingested)
}

/// The lines that can be stored.
fn events_of(chunk: &Chunk) -> impl Iterator<Item = &[u8]> {
    let largest = collector::Options::default().event_bytes;
    chunk.bytes.split(|b| *b == b'\n').filter(move |line| {
        line.len() <= largest && std::str::from_utf8(line).is_ok_and(|it| event::spark::validate(it).is_ok())
    })
}

/// Why a run is not to be touched.
fn stands_against(status: &Status, rules: Rules) -> Option<String> {
    if status.deleted {
        return Some("the run was deleted; --replace imports it anew".to_owned());
    }
    let others = status.events.saturating_sub(status.ingested);
    (others > 0 && rules.as_attempt.is_none()).then(|| {
        format!(
            "{others} of the run's events came from a listener; --replace imports it anew, --as-attempt N beside them"
        )
    })
}

/// The last event that is there, as far as the target can tell which it is: the log must hold it at the same place.
pub fn anchor(attempt: &Attempt, status: &Status, target: &dyn Target) -> anyhow::Result<Option<Vec<u8>>> {
    match status.next.checked_sub(1) {
        Some(last) if status.events == status.next => target.event(&attempt.run, last),
        _ => Ok(None),
    }
}

/// The run's events are not the beginning of the log.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is not the event that the run has there: it is another log, or was compacted since")]
pub struct AnotherLog {
    /// From 1.
    pub line: u64,
}

struct Read {
    end: End,
    lines: u64,
    in_progress: bool,
}

fn outcome(status: &Status, read: Read, sent: Sent) -> Outcome {
    let incomplete = read.in_progress || read.end == End::Cut;
    match read.lines {
        0 => Outcome::Empty,
        lines if lines < status.next => Outcome::LeftAlone(format!(
            "the run has {} events, and the log {lines}: it was compacted, or cut, since",
            status.next
        )),
        lines if lines == status.next || sent == Sent::default() => Outcome::AlreadyThere { incomplete },
        _ => Outcome::Imported { from: status.next, sent, incomplete },
    }
}

/// What an import would do.
fn count(log: &Log, status: &Status, progress: &Progress) -> anyhow::Result<Outcome> {
    let mut good = 0;
    let mut count = |chunk: Chunk| {
        good += events_of(&chunk).count() as u64;
        Ok::<_, anyhow::Error>(())
    };
    let reader = LogReader::new(status.next, CHUNK_BYTES);
    let (end, lines) = reader.read(log, &mut |bytes| progress.read(bytes), &mut count)?;
    let is_known = status.next > 0 && good == 0;
    let dead_lettered = if is_known { 0 } else { lines.saturating_sub(status.next + good) };
    let sent = Sent { stored: good, dead_lettered };
    Ok(outcome(status, Read { end, lines, in_progress: log.in_progress }, sent))
}

/// One thread reads and decompresses, this one sends.
fn read_and_send(
    log: &Log,
    attempt: &Attempt,
    status: &Status,
    anchor: Option<Vec<u8>>,
    target: &dyn Target,
    progress: &Progress,
) -> anyhow::Result<(Read, Sent)> {
    let (chunks, waiting) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || read(log, status, anchor, &chunks, progress));
        let sent = send(attempt, status.next > 0, &waiting, target, progress);
        // A reader that still reads finds nobody to take it.
        drop(waiting);
        let read = reading.join().map_err(|_| anyhow!("the thread that reads {} panicked", log.place))?;
        // Nobody to take it is what comes of a failed sender.
        let sent = sent?;
        Ok((read?, sent))
    })
}

fn read(
    log: &Log,
    status: &Status,
    anchor: Option<Vec<u8>>,
    chunks: &SyncSender<Chunk>,
    progress: &Progress,
) -> anyhow::Result<Read> {
    let mut anchor = anchor;
    let skip = status.next - u64::from(anchor.is_some());
    let mut emit = |mut chunk: Chunk| {
        if let Some(anchor) = anchor.take() {
            is_next(&anchor, &mut chunk)?;
        }
        if chunk.count == 0 {
            return Ok(());
        }
        chunks.send(chunk).map_err(|_| anyhow!("sending has ended"))
    };
    let reader = LogReader::new(skip, CHUNK_BYTES);
    let (end, lines) = reader.read(log, &mut |bytes| progress.read(bytes), &mut emit)?;
    Ok(Read { end, lines, in_progress: log.in_progress })
}

/// `is_resumed`: if nothing is left but lines that are no events, they are dead letters since the run's last event came, and
/// are not to become more of them.
fn send(
    attempt: &Attempt,
    is_resumed: bool,
    chunks: &Receiver<Chunk>,
    target: &dyn Target,
    progress: &Progress,
) -> anyhow::Result<Sent> {
    let (mut feed, mut may_be_known, mut held) = (target.feed(attempt)?, is_resumed, None);
    while let Ok(chunk) = chunks.recv() {
        if std::mem::take(&mut may_be_known) && events_of(&chunk).next().is_none() {
            held = Some(chunk);
            continue;
        }
        for chunk in held.take().into_iter().chain([chunk]) {
            let events = chunk.count;
            feed.send(chunk)?;
            progress.sent(events);
        }
    }
    feed.finish()
}

/// Takes the first line out, which must be the last event that is there.
pub fn is_next(anchor: &[u8], chunk: &mut Chunk) -> Result<(), AnotherLog> {
    let end = memchr::memchr(b'\n', &chunk.bytes).map_or(chunk.bytes.len(), |end| end + 1);
    let mut line: Vec<u8> = chunk.bytes.drain(..end).collect();
    line.pop();
    chunk.first += 1;
    chunk.count = chunk.count.saturating_sub(1);
    // What is stored may have lost its secrets.
    let is_redacted = || redact::count(anchor) > 0 && quick_name(anchor) == quick_name(&line);
    if anchor == line || is_redacted() { Ok(()) } else { Err(AnotherLog { line: chunk.first }) }
}
