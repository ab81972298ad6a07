//! Where reading begins, if the journal is the one that the store was applied from.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use journal::{Extent, Position, Subscriber};
use store::Applied;

use crate::{Error, Result};

/// How long one wait for records lasts, and so how soon a stop is noticed.
pub const WAIT: Duration = Duration::from_millis(200);

/// How long reading the last applied records again may take.
const REREAD: Duration = Duration::from_secs(10);

/// Sets the subscriber to where the store is in every partition.
pub fn start(subscriber: &mut dyn Subscriber, progress: &BTreeMap<u32, Applied>) -> Result<()> {
    let extents = subscriber.extents()?;
    if !extents.iter().map(|it| it.partition).eq(progress.keys().copied()) {
        return Err(Error::Partitions { found: extents.len(), expected: progress.len() });
    }
    if let Some(doubt) = doubts(subscriber, &extents, progress)?.pop() {
        return Err(doubt);
    }
    for Extent { partition, start, .. } in extents {
        let next = progress.get(&partition).map_or(0, |it| it.next_offset);
        // A store that has applied nothing begins where the journal does.
        subscriber.seek(Position { partition, offset: if next == 0 { start } else { next } })?;
    }
    Ok(())
}

/// What speaks against going on, at most one error a partition: its offset is not there, or another record is before it.
pub fn doubts(
    subscriber: &mut dyn Subscriber,
    extents: &[Extent],
    progress: &BTreeMap<u32, Applied>,
) -> Result<Vec<Error>> {
    let mut doubts = Vec::new();
    let mut marks = BTreeMap::new();
    for Extent { partition, start, end } in extents.iter().copied() {
        let Some(applied) = progress.get(&partition).filter(|it| it.next_offset > 0) else { continue };
        let next = applied.next_offset;
        if next < start || next > end {
            doubts.push(Error::Gap { partition, applied: next, start, end });
        } else if next > start {
            marks.insert(partition, (next - 1, applied.fingerprint));
        }
    }
    reread(subscriber, marks, &mut doubts)?;
    Ok(doubts)
}

fn reread(
    subscriber: &mut dyn Subscriber,
    mut marks: BTreeMap<u32, (u64, u64)>,
    doubts: &mut Vec<Error>,
) -> Result<()> {
    for (partition, (offset, _)) in &marks {
        subscriber.seek(Position { partition: *partition, offset: *offset })?;
    }
    let deadline = Instant::now() + REREAD;
    while let Some((partition, (offset, _))) = marks.first_key_value() {
        if Instant::now() > deadline {
            let text = format!("the record at {partition}:{offset} did not come");
            return Err(journal::Error::Unavailable(text).into());
        }
        for entry in subscriber.next(WAIT)? {
            let Some((offset, fingerprint)) = marks.remove(&entry.partition) else { continue };
            // Offsets ascend: the first that comes is the one that was asked for, or it is gone.
            if entry.offset != offset || entry.record.fingerprint() != fingerprint {
                doubts.push(Error::AnotherJournal { partition: entry.partition, offset });
            }
        }
    }
    Ok(())
}
