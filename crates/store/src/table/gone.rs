//! `d | run hash (16) | partition (2)` -> why a run is gone, as JSON: what comes of it later is dropped.
//!
//! The partition, because the record of a deletion stands in each, and means the run only in its own: the others may
//! be applied long before or after it.

use event::{ReceivedAt, RunHash};
use serde::{Deserialize, Serialize};

use super::take;
use crate::{Error, Result};

pub const KIND: u8 = b'd';
const LEN: usize = 1 + 16 + 2;

/// Why a run is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    pub cause: Cause,
    /// When it was deleted by the collector's clock, or expired by the materializer's.
    pub at: ReceivedAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// By a record of the journal, which a replay finds again.
    Deleted,
    /// By the retention of this store.
    Expired,
}

/// The prefix of a run's, whatever its partition.
pub fn of_run(run: RunHash) -> [u8; 17] {
    let mut key = [KIND; 17];
    key[1..].copy_from_slice(&run.0);
    key
}

pub fn key(run: RunHash, partition: u16) -> [u8; LEN] {
    let mut key = [0; LEN];
    key[..17].copy_from_slice(&of_run(run));
    key[17..].copy_from_slice(&partition.to_be_bytes());
    key
}

pub fn parse(key: &[u8]) -> Option<(RunHash, u16)> {
    if key.len() != LEN || key[0] != KIND {
        return None;
    }
    Some((RunHash(take(key, 1)?), u16::from_be_bytes(take(key, 17)?)))
}

pub fn encode(gone: &Gone) -> Result<Vec<u8>> {
    serde_json::to_vec(gone).map_err(|e| Error::Damaged(format!("a deletion cannot be written: {e}")))
}

pub fn decode(value: &[u8]) -> Result<Gone> {
    serde_json::from_slice(value).map_err(|e| Error::Damaged(format!("a deletion cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip_and_begin_with_their_run(run: [u8; 16], partition: u16) {
            let key = key(RunHash(run), partition);
            prop_assert_eq!(parse(&key), Some((RunHash(run), partition)));
            prop_assert!(key.starts_with(&of_run(RunHash(run))));
        }
    }
}
