//! What there is to read, learnt from the files alone while another process may be writing them. It changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frames::{SegmentFile, unreadable};
use super::log::{Segment, View};
use super::recovery::{bases, unlistable, whole_frames};
use super::segment::SegmentHeader;
use super::storage::Storage;
use crate::Error;

const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Follower {
    storage: Arc<dyn Storage>,
    view: View,
    tail: Option<Tail>,
}

/// The segment that is being written, and where its whole frames end.
#[derive(Debug)]
struct Tail {
    segment: SegmentFile,
    at: u64,
    offset: u64,
}

impl Follower {
    pub fn new(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        let mut follower = Self { storage, view: View::default(), tail: None };
        follower.refresh()?;
        Ok(follower)
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// Looks for new frames and segments. An unfinished frame at the end is not yet there.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let bases = bases(self.storage.list().map_err(|e| unlistable(&e))?);
        let Some(last) = bases.last() else { return Ok(()) };
        let mut tail = match self.tail.take() {
            Some(tail) if bases.contains(&tail.segment.header.base) => tail,
            _ => Tail::begin(&*self.storage, *last)?,
        };
        tail.advance()?;
        for base in bases.iter().filter(|it| **it > tail.segment.header.base).collect::<Vec<_>>() {
            tail.must_end_at(*base)?;
            tail = Tail::begin(&*self.storage, *base)?;
            tail.advance()?;
        }
        // Known sizes and times are of no use to a reader.
        let unmeasured = |base: &u64| Segment { base: *base, bytes: 0, created_at: std::time::UNIX_EPOCH };
        self.view = View { segments: bases.iter().map(unmeasured).collect(), end: tail.offset };
        self.tail = Some(tail);
        Ok(())
    }

    pub fn wait(&self, deadline: Instant) {
        std::thread::sleep(POLL.min(deadline.saturating_duration_since(Instant::now())));
    }
}

impl Tail {
    fn begin(storage: &dyn Storage, base: u64) -> Result<Self, Error> {
        Ok(Self { segment: SegmentFile::open(storage, base)?, at: SegmentHeader::LEN as u64, offset: base })
    }

    fn advance(&mut self) -> Result<(), Error> {
        // Tried twice: the frame that was unfinished at first may have been finished, and another written behind it.
        let found = whole_frames(&self.segment, self.at, self.offset);
        (self.at, self.offset) = found.or_else(|_| whole_frames(&self.segment, self.at, self.offset))?;
        Ok(())
    }

    /// A segment is followed by another only when it is complete.
    fn must_end_at(&self, next: u64) -> Result<(), Error> {
        let base = self.segment.header.base;
        let len = self.segment.file.len().map_err(|e| unreadable(base, &e))?;
        if self.at == len && self.offset == next {
            return Ok(());
        }
        Err(self.segment.damaged(self.at, &format!("it ends with offset {}, the next begins with {next}", self.offset)))
    }
}
