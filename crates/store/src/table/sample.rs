//! `s | partition (2) | run number (8) | time (8) | 0 (8) | identity (8)` -> the sample's bytes. A sample is placed as an
//! event is, by its time for an `order`, with no sequence.

use event::EventKey;

use super::event as event_table;
use super::run::RunNumber;

const KIND: u8 = b's';

/// The prefix of all samples of a run.
pub fn of_run(run: RunNumber) -> [u8; event_table::RUN_LEN] {
    as_sample(event_table::of_run(run))
}

/// Where all samples of a run begin, and where those of the next could.
pub fn range(run: RunNumber) -> [Vec<u8>; 2] {
    event_table::range(run).map(|mut key| {
        key[0] = KIND;
        key
    })
}

pub fn key(run: RunNumber, sample: EventKey) -> [u8; event_table::LEN] {
    as_sample(event_table::key(run, sample))
}

pub fn parse(key: &[u8]) -> Option<(RunNumber, EventKey)> {
    event_table::parse_kind(key, KIND)
}

fn as_sample<const N: usize>(mut key: [u8; N]) -> [u8; N] {
    key[0] = KIND;
    key
}

#[cfg(test)]
mod tests {
    use event::{Identity, Sequence};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip_and_lie_in_the_range_of_their_run_alone(partition: u16, number in 0..u64::MAX, time: i64, identity: u64) {
            let run = RunNumber { partition, number };
            let sample = EventKey { order: time, sequence: Sequence(0), identity: Identity(identity) };
            let key = key(run, sample).to_vec();
            prop_assert_eq!(parse(&key), Some((run, sample)));
            prop_assert_eq!(event_table::parse(&key), None);
            let [first, end] = range(run);
            prop_assert!(first <= key && key < end && key.starts_with(&of_run(run)));
            let [next, _] = range(RunNumber { partition, number: number + 1 });
            prop_assert!(end <= next);
        }
    }
}
