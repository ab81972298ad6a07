//! `m | format` -> the format's name; `m | batch` -> the number of the last batch (8), RocksDB's sequence behind it (8);
//! `m | copied` -> how far a rebuild from another store has come.

use super::take;

pub const FORMAT_KEY: &[u8] = b"mformat";
pub const BATCH_KEY: &[u8] = b"mbatch";
pub const COPIED_KEY: &[u8] = b"mcopied";

/// Changes when an older program could not read the store, or an older store this program.
pub const FORMAT: &str = "emberlog-store-1";

/// A batch's number, and the sequence number of RocksDB's that its last change has.
pub fn encode_batch(number: u64, sequence: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value[8..].copy_from_slice(&sequence.to_be_bytes());
    value
}

/// The sequence number is missing in a store that no batch was written to since it was added.
pub fn decode_batch(value: &[u8]) -> Option<(u64, Option<u64>)> {
    Some((u64::from_be_bytes(take(value, 0)?), take(value, 8).map(u64::from_be_bytes)))
}
