//! Whether a view of a store that another process writes to lacks batches in the middle.
//!
//! A catch-up reads the MANIFEST before the WALs. A flush that ends in between removes a WAL whose file the MANIFEST
//! did not name yet: what was in it is hidden until the next catch-up, while newer batches are visible.
//!
//! If a WAL vanishes between its listing and its opening, the catch-up reads none and says that all is well. Its view is
//! whole, but RocksDB has taken over the MANIFEST's sequence number, up to which views made now would see later what the
//! next catch-up adds. So no batch may be missing up to RocksDB's sequence number either.

use rocksdb::DB;

use crate::Result;
use crate::table::{meta, ring};

/// What is known of the batches that one secondary has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The last batch of the last whole view: whatever was in a view stays in all later ones.
    whole: u64,
    /// The last batch of the last catch-up that went well, its view being whole or not.
    reached: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Every batch up to this one is visible.
    Whole(u64),
    /// A batch is missing, or will appear in views that are made now.
    Torn,
    /// More batches have passed than the ring remembers; the next catch-up will tell.
    Unsure,
    /// The last batch is older than one that was seen: the store was replaced, or has lost its end.
    Back { seen: u64, found: u64 },
}

impl Seen {
    /// Judges the view as it is now; `caught_up`: the catch-up before it has reported no error.
    pub(crate) fn judge(&mut self, db: &DB, caught_up: bool) -> Result<Finding> {
        let (last, sequence) = last_batch(db)?;
        if last < self.whole {
            return Ok(Finding::Back { seen: self.whole, found: last });
        }
        // What a catch-up lacks because of a flush is in files that the next one finds in the MANIFEST. So of two in
        // a row the second holds all that the first should have held, and only what came between can be missing.
        let sure =
            last - self.whole <= ring::SLOTS || self.reached.is_some_and(|it| last - it.min(last) <= ring::SLOTS);
        if caught_up {
            self.reached = Some(last);
        }
        let hides_more = sequence.is_some_and(|sequence| db.latest_sequence_number() > sequence);
        if hides_more || !all_in_ring(db, self.whole, last)? {
            return Ok(Finding::Torn);
        }
        if !sure {
            return Ok(Finding::Unsure);
        }
        self.whole = last;
        Ok(Finding::Whole(last))
    }
}

/// The last batch that is visible, and the sequence number that it ends at; 0 in a new store.
fn last_batch(db: &DB) -> Result<(u64, Option<u64>)> {
    Ok(db.get_pinned(meta::BATCH_KEY)?.as_deref().and_then(meta::decode_batch).unwrap_or((0, None)))
}

/// Whether every batch behind `from` up to `last` is visible, as far back as the ring goes.
fn all_in_ring(db: &DB, from: u64, last: u64) -> Result<bool> {
    for batch in from.max(last.saturating_sub(ring::SLOTS)) + 1..=last {
        if db.get_pinned(ring::key(batch))?.as_deref().and_then(ring::decode) != Some(batch) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database whose view can be made to look as a torn one does.
    struct Store(DB, #[allow(dead_code)] tempfile::TempDir);

    impl Store {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut options = rocksdb::Options::default();
            options.create_if_missing(true);
            Self(DB::open(&options, dir.path()).unwrap(), dir)
        }

        fn show(&self, batches: impl IntoIterator<Item = u64>) {
            for batch in batches {
                self.0.put(ring::key(batch), batch.to_be_bytes()).unwrap();
                let sequence = self.0.latest_sequence_number() + 1;
                self.0.put(meta::BATCH_KEY, meta::encode_batch(batch, sequence)).unwrap();
            }
        }
    }

    #[test]
    fn a_view_without_one_batch_is_torn_until_the_batch_appears() {
        let store = Store::new();
        let mut seen = Seen::default();
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(0));
        store.show(1..=7);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(7));
        store.show([8, 10]);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Torn);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Torn);
        store.show([9, 10]);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(10));
    }

    #[test]
    fn a_view_that_more_will_appear_in_is_not_taken_for_whole() {
        let store = Store::new();
        let mut seen = Seen::default();
        store.show(1..=7);
        store.0.put(b"x", b"").unwrap();
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Torn);
        store.show([8]);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(8));
    }

    #[test]
    fn a_slot_that_holds_the_batch_of_the_round_before_is_a_missing_batch() {
        let store = Store::new();
        let mut seen = Seen::default();
        store.show(1..=ring::SLOTS);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(ring::SLOTS));
        store.show([ring::SLOTS + 2]);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Torn);
    }

    #[test]
    fn when_more_batches_passed_than_the_ring_holds_only_a_second_catch_up_is_trusted() {
        let store = Store::new();
        let last = 3 * ring::SLOTS;
        store.show(1..=last);
        let mut seen = Seen::default();
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Unsure);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(last));

        let mut seen = Seen::default();
        assert_eq!(seen.judge(&store.0, false).unwrap(), Finding::Unsure);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Unsure, "a failed catch-up proves nothing");
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(last));

        store.0.delete(ring::key(last - 5)).unwrap();
        store.show([last]);
        let mut seen = Seen::default();
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Torn);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Torn, "the whole ring is checked");
    }

    #[test]
    fn a_store_that_went_back_is_not_taken_for_the_one_that_was_seen() {
        let store = Store::new();
        let mut seen = Seen::default();
        store.show(1..=9);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Whole(9));
        store.show([4]);
        assert_eq!(seen.judge(&store.0, true).unwrap(), Finding::Back { seen: 9, found: 4 });
    }
}
