//! `e | partition (2) | run number (8) | order (8) | sequence (8) | identity (8)` -> the event's bytes.

use event::EventKey;

use super::run::RunNumber;
use super::take;

const KIND: u8 = b'e';
pub const RUN_LEN: usize = 1 + 2 + 8;
pub const LEN: usize = RUN_LEN + EventKey::LEN;

/// The prefix of all events of a run.
pub fn of_run(run: RunNumber) -> [u8; RUN_LEN] {
    let mut key = [KIND; RUN_LEN];
    key[1..3].copy_from_slice(&run.partition.to_be_bytes());
    key[3..].copy_from_slice(&run.number.to_be_bytes());
    key
}

/// Where all events of a run begin, and where those of the next could.
pub fn range(run: RunNumber) -> [Vec<u8>; 2] {
    let first = of_run(run).to_vec();
    // Longer than any key of the run that begins alike, and below the next run's.
    let end = [&first[..], &[0xff; EventKey::LEN + 1]].concat();
    [first, end]
}

pub fn key(run: RunNumber, event: EventKey) -> [u8; LEN] {
    let mut key = [0; LEN];
    key[..RUN_LEN].copy_from_slice(&of_run(run));
    key[RUN_LEN..].copy_from_slice(&event.to_bytes());
    key
}

/// The prefix of a run's events of one `order`.
pub fn of_order(run: RunNumber, order: i64) -> Vec<u8> {
    [&of_run(run)[..], &event::order::ordered(order)].concat()
}

/// The prefix of a run's events of one `order` and `sequence`.
pub fn of_sequence(run: RunNumber, order: i64, sequence: event::Sequence) -> Vec<u8> {
    [&of_order(run, order)[..], &event::order::ordered(sequence.0)].concat()
}

pub fn parse(key: &[u8]) -> Option<(RunNumber, EventKey)> {
    parse_kind(key, KIND)
}

/// Of a table whose keys differ in their first byte only.
pub fn parse_kind(key: &[u8], kind: u8) -> Option<(RunNumber, EventKey)> {
    if key.len() != LEN || key[0] != kind {
        return None;
    }
    let run = RunNumber { partition: u16::from_be_bytes(take(key, 1)?), number: u64::from_be_bytes(take(key, 3)?) };
    Some((run, EventKey::from_bytes(&take(key, RUN_LEN)?)))
}

#[cfg(test)]
mod tests {
    use event::{Identity, Sequence};
    use proptest::prelude::*;

    use super::*;

    type Parts = (RunNumber, EventKey);

    fn parts() -> impl Strategy<Value = Parts> {
        let small = prop_oneof![any::<i64>(), -2..2i64];
        (0..3u16, prop_oneof![any::<u64>(), 0..3u64], small.clone(), small, 0..3u64).prop_map(
            |(partition, number, order, sequence, identity)| {
                let event = EventKey { order, sequence: Sequence(sequence), identity: Identity(identity) };
                (RunNumber { partition, number }, event)
            },
        )
    }

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_by_run_then_place(a in parts(), b in parts()) {
            let (ka, kb) = (key(a.0, a.1), key(b.0, b.1));
            prop_assert_eq!(parse(&ka), Some(a));
            prop_assert_eq!(a.cmp(&b), ka.cmp(&kb));
            prop_assert_eq!(ka.starts_with(&of_sequence(b.0, b.1.order, b.1.sequence)),
                a.0 == b.0 && a.1.order == b.1.order && a.1.sequence == b.1.sequence);
        }
    }
}
