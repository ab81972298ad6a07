//! Deleting what is no longer wanted: whole segments, oldest first.

use std::time::{Duration, SystemTime};

use super::Local;
use super::log::View;
use super::segment::file_name;
use crate::Error;

/// How much of a journal is kept. The default keeps all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of all segments.
    pub max_bytes: Option<u64>,
    /// Age of the newest record of a segment.
    pub max_age: Option<Duration>,
}

impl Local {
    /// Ends the segment that is being written if it is old enough, although nothing more is written. Does not wait for it.
    pub fn end_old_segment(&self) {
        self.queue.wake();
    }

    /// Deletes segments that are over the limits and lie wholly below `applied`: the offset up to which the store has
    /// durably applied the journal. The segment that is being written stays. Returns the new start.
    pub fn retain(&self, retention: Retention, applied: u64, now: SystemTime) -> Result<u64, Error> {
        while let Some(base) = self.log.change(|view| take_oldest(view, retention, applied, now)) {
            let name = file_name(base);
            // Durable one by one, so that a power cut cannot leave a hole.
            let removed = self.storage.remove(&name).and_then(|()| self.storage.sync_dir());
            removed.map_err(|e| Error::Unavailable(format!("deleting {name}: {e}")))?;
            tracing::info!(segment = %name, "deleted a segment of the journal");
        }
        Ok(self.log.view().start())
    }
}

fn take_oldest(view: &mut View, retention: Retention, applied: u64, now: SystemTime) -> Option<u64> {
    let [oldest, next, ..] = view.segments.as_slice() else { return None };
    let bytes: u64 = view.segments.iter().map(|it| it.bytes).sum();
    // A segment's last record came before the next segment was made.
    let age = now.duration_since(next.created_at).unwrap_or_default();
    let unwanted = retention.max_bytes.is_some_and(|max| bytes > max) || retention.max_age.is_some_and(|max| age > max);
    let base = oldest.base;
    (unwanted && next.base <= applied).then(|| view.segments.remove(0)).map(|_| base)
}
