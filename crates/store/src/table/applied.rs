//! `o | partition (2)` -> how far the partition is applied, as JSON. Written in every batch.

use event::ReceivedAt;

use crate::{Error, Result};

pub const KIND: u8 = b'o';

/// How far a journal partition is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// The offset to go on at.
    pub next_offset: u64,
    /// Of the record before `next_offset`; 0 while there is none.
    pub fingerprint: u64,
    /// The number of the next new run.
    pub next_run: u64,
    /// All that was received until then is applied: the wall clock while caught up, else the last record's `received_at`.
    pub through: ReceivedAt,
    /// When a person last accepted that records of it are missing, or that it is another one: what was applied before
    /// may be in no journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_gap: Option<ReceivedAt>,
}

pub fn key(partition: u16) -> [u8; 3] {
    let [high, low] = partition.to_be_bytes();
    [KIND, high, low]
}

pub fn partition(key: &[u8]) -> Option<u16> {
    match key {
        [KIND, high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

pub fn encode(applied: &Applied) -> Result<Vec<u8>> {
    serde_json::to_vec(applied).map_err(|e| Error::Damaged(format!("an offset cannot be written: {e}")))
}

pub fn decode(value: &[u8]) -> Result<Applied> {
    serde_json::from_slice(value).map_err(|e| Error::Damaged(format!("an offset cannot be read: {e}")))
}
