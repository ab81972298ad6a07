//! One log that may still grow: read where the last turn ended, and sent.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use eventlog::{Chunk, Decoder, Log, LogFile, LogReader};

use crate::import::{Attempt, Status, Target, anchor, is_next};

/// Lines that are sent at once.
const CHUNK_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 256 << 10;
/// Stored bytes that one log may send before it is another's turn.
const TURN_BYTES: u64 = 16 << 20;
/// How often it is asked whether a listener sends the same.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Reads the parts of a log one behind the other.
pub struct Follower {
    pub attempt: Attempt,
    reader: LogReader,
    anchor: Option<Vec<u8>>,
    open: Option<Open>,
    /// The number of the file that comes next.
    next: u64,
    asked: Instant,
    stop: Arc<AtomicBool>,
}

/// A file stays open while it is renamed or removed.
struct Open {
    file: LogFile,
    source: Box<dyn Read + Send>,
    decoder: Decoder,
    offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There is more to read now.
    More,
    /// All that was written is sent.
    Waiting,
    /// The application has ended, and all of its log is sent.
    Done,
}

/// Why a log is not sent.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    #[error("a listener sends the same application: {events} of the run's events came from it")]
    Listener { events: u64 },
    #[error("the run was deleted; `emberlog import --replace` takes it in anew")]
    Deleted,
    #[error("its file {number} was compacted or removed before it was sent")]
    Gone { number: u64 },
    #[error("it has {lines} lines, and the run has more events: it was compacted since")]
    Fewer { lines: u64 },
    #[error("it is shorter than it was: another log has taken its name")]
    Shorter,
}

impl Status {
    /// Whether the lines of a log may go into the run.
    fn allows(self) -> Result<(), Left> {
        match self.events.saturating_sub(self.ingested) {
            _ if self.deleted => Err(Left::Deleted),
            0 => Ok(()),
            events => Err(Left::Listener { events }),
        }
    }
}

impl Follower {
    /// Asks the server where to go on.
    pub fn begin(log: &Log, attempt: Attempt, target: &dyn Target, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let status = target.status(&attempt)?;
        status.allows()?;
        let anchor = anchor(&attempt, &status, target)?;
        let skip = status.next - u64::from(anchor.is_some());
        Ok(Self {
            attempt,
            reader: LogReader::new(skip, CHUNK_BYTES),
            anchor,
            open: None,
            next: log.files.first().map_or(0, |it| it.number),
            asked: Instant::now(),
            stop,
        })
    }

    /// Sends what has come since, and tells how many lines it was.
    pub fn turn(&mut self, log: &Log, target: &dyn Target) -> anyhow::Result<(Turn, u64)> {
        let mut taken = 0;
        let mut sent = 0;
        loop {
            let Some(mut open) = self.open_next(log)? else {
                if log.in_progress {
                    return Ok((Turn::Waiting, sent));
                }
                // The place to go on at was not found in all of it.
                ensure!(self.anchor.is_none(), Left::Fewer { lines: self.reader.lines() });
                return Ok((Turn::Done, sent));
            };
            let ended = self.read(&mut open, log, target, &mut taken, &mut sent)?;
            let number = open.file.number;
            if !ended {
                self.open = Some(open);
                return Ok((Turn::More, sent));
            }
            let is_last = log.files.last().is_none_or(|it| it.number <= number);
            if is_last && log.in_progress {
                self.open = Some(open);
                return Ok((Turn::Waiting, sent));
            }
            self.end(&open, target, &mut sent)?;
            self.next = number + 1;
        }
    }

    fn open_next(&mut self, log: &Log) -> anyhow::Result<Option<Open>> {
        if let Some(open) = self.open.take() {
            let size = log.files.iter().find(|it| it.number == open.file.number).map(|it| it.size);
            // A compacted file has another length; it is not this one.
            ensure!(log.compacted || size.is_none_or(|size| size >= open.offset), Left::Shorter);
            return Ok(Some(open));
        }
        match log.files.iter().find(|it| it.number >= self.next) {
            Some(file) if file.number == self.next && (!file.compact || self.reader.lines() == 0) => {
                let decoder = Decoder::new(file.codec)?;
                Ok(Some(Open { source: file.place.open()?, file: file.clone(), decoder, offset: 0 }))
            }
            Some(_) => bail!(Left::Gone { number: self.next }),
            None => Ok(None),
        }
    }

    /// Reads to the end of what is written; false if the turn ended before.
    fn read(
        &mut self,
        open: &mut Open,
        log: &Log,
        target: &dyn Target,
        taken: &mut u64,
        sent: &mut u64,
    ) -> anyhow::Result<bool> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = open.source.read(&mut buffer)?;
            let Self { reader, anchor, attempt, asked, stop, .. } = self;
            let mut emit = |chunk| send(attempt, anchor, asked, stop, target, chunk, sent);
            if count == 0 {
                reader.flush(&mut emit)?;
                return Ok(true);
            }
            open.offset += count as u64;
            *taken += count as u64;
            reader.push(log, &open.file, &mut open.decoder, &buffer[..count], &mut emit)?;
            if *taken >= TURN_BYTES {
                return Ok(false);
            }
        }
    }

    /// A file that is followed by another, or that its application has closed.
    fn end(&mut self, open: &Open, target: &dyn Target, sent: &mut u64) -> anyhow::Result<()> {
        let Self { reader, anchor, attempt, asked, stop, .. } = self;
        let mut emit = |chunk| send(attempt, anchor, asked, stop, target, chunk, sent);
        reader.end_of_file(&open.file, &open.decoder, open.offset, false, &mut emit)?;
        reader.flush(&mut emit)
    }
}

fn send(
    attempt: &Attempt,
    anchor: &mut Option<Vec<u8>>,
    asked: &mut Instant,
    stop: &AtomicBool,
    target: &dyn Target,
    mut chunk: Chunk,
    sent: &mut u64,
) -> anyhow::Result<()> {
    if let Some(anchor) = anchor.take() {
        is_next(&anchor, &mut chunk)?;
    }
    if chunk.count == 0 {
        return Ok(());
    }
    ensure!(!stop.load(Ordering::Relaxed), "stopped");
    if asked.elapsed() >= ASK_EVERY {
        *asked = Instant::now();
        target.status(attempt)?.allows()?;
    }
    let count = chunk.count;
    target.feed(attempt)?.send(chunk)?;
    *sent += count;
    Ok(())
}
