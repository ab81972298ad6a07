//! Where the reading of each partition is.

use std::time::Duration;

use rdkafka::Offset;

use super::audit::Mark;
use super::inbox::Seek;
use crate::Entry;

/// Where the reading of a partition is.
#[derive(Debug, Clone, Default)]
pub struct Track {
    pub epoch: u64,
    /// `None` until the first seek.
    pub position: Option<u64>,
    pub assigned: bool,
    /// The first record since the last seek, the last one, and the last one at the last examination.
    first: Option<Mark>,
    pub last: Option<Mark>,
    pub anchor: Option<Mark>,
    /// Position and end of the log at the last look.
    pub looked: Option<(u64, u64)>,
    /// How long after one new consumer this partition asks for another.
    pub patience: Duration,
}

impl Track {
    pub fn seek(&mut self, seek: Seek) {
        // What was read just before the new place still tells whether the topic is the same.
        let before = |it: &Mark| it.offset + 1 == seek.offset;
        let mark = [self.first, self.last, self.anchor].into_iter().flatten().find(before);
        *self = Self { epoch: seek.epoch, position: Some(seek.offset), last: mark, anchor: mark, ..Self::default() };
    }

    /// Whether nothing came since the last look, though something was there.
    pub fn stands_still(&mut self, position: u64, end: u64) -> bool {
        let before = self.looked.replace((position, end));
        before.is_some_and(|(before, was_end)| before == position && position < was_end)
    }

    pub fn saw(&mut self, entry: &Entry, is_last: bool) {
        self.position = Some(entry.offset + 1);
        self.patience = Duration::ZERO;
        if self.first.is_none() || is_last {
            let mark = Mark { offset: entry.offset, fingerprint: entry.record.fingerprint() };
            self.first.get_or_insert(mark);
            self.last = Some(mark);
        }
    }
}

pub fn count(tracks: &[Track]) -> u32 {
    u32::try_from(tracks.len()).unwrap_or(u32::MAX)
}

pub fn offset(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}
