//! `b | batch number modulo 4096 (2)` -> batch number (8).
//!
//! A secondary reads the MANIFEST and then the WALs; a flush between the two hides earlier batches while later
//! ones are visible. A view is whole only if every batch since the last whole view is in the ring.

use super::take;

const KIND: u8 = b'b';
pub const SLOTS: u64 = 4096;

pub fn key(batch: u64) -> [u8; 3] {
    let [.., high, low] = (batch % SLOTS).to_be_bytes();
    [KIND, high, low]
}

pub fn decode(value: &[u8]) -> Option<u64> {
    take(value, 0).map(u64::from_be_bytes)
}
