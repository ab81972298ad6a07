//! `r | run hash (16)` -> the run's record, as JSON.

use event::RunHash;

use crate::fold::run::Run;
use crate::{Error, Result};

pub const KIND: u8 = b'r';

/// A run's place among the runs of its partition, dense from 0 in journal order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct RunNumber {
    pub partition: u16,
    pub number: u64,
}

pub fn key(hash: RunHash) -> [u8; 17] {
    let mut key = [KIND; 17];
    key[1..].copy_from_slice(&hash.0);
    key
}

pub fn encode(run: &Run) -> Result<Vec<u8>> {
    serde_json::to_vec(run).map_err(|e| Error::Damaged(format!("a run record cannot be written: {e}")))
}

pub fn decode(value: &[u8]) -> Result<Run> {
    serde_json::from_slice(value).map_err(|e| Error::Damaged(format!("a run record cannot be read: {e}")))
}
