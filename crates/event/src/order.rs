//! Times and places of events, and the order of a run.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Identity;

macro_rules! i64_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

i64_type!(
    /// When the listener saw an event, in milliseconds of the Unix epoch by the driver's clock. Any value is accepted.
    GeneratedAt
);
i64_type!(
    /// When the collector took an event in, in milliseconds of the Unix epoch by the collector's clock.
    ReceivedAt
);
i64_type!(
    /// An event's place in its run as its agent counts. Negative when an agent's counters disagree with its messages.
    Sequence
);

impl ReceivedAt {
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The place of an event in its run: by `order`, then `sequence`; `identity` parts what shares both.
///
/// `order` is `generated_at` for protocols that send it and 0 for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct EventKey {
    pub order: i64,
    pub sequence: Sequence,
    pub identity: Identity,
}

impl EventKey {
    pub const LEN: usize = 24;

    /// Bytes whose unsigned order is the order of the keys.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&ordered(self.order));
        bytes[8..16].copy_from_slice(&ordered(self.sequence.0));
        bytes[16..].copy_from_slice(&self.identity.0.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let part = |at: usize| -> [u8; 8] { std::array::from_fn(|i| bytes[at + i]) };
        Self {
            order: unordered(part(0)),
            sequence: Sequence(unordered(part(8))),
            identity: Identity(u64::from_be_bytes(part(16))),
        }
    }
}

/// Big-endian bytes of a signed integer that sort as it does.
pub fn ordered(value: i64) -> [u8; 8] {
    (value ^ i64::MIN).to_be_bytes()
}

pub fn unordered(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = EventKey> {
        let edge = prop_oneof![any::<i64>(), Just(i64::MIN), Just(-1), Just(0), Just(1), Just(i64::MAX)];
        (edge.clone(), edge, any::<u64>()).prop_map(|(order, sequence, identity)| EventKey {
            order,
            sequence: Sequence(sequence),
            identity: Identity(identity),
        })
    }

    proptest! {
        #[test]
        fn event_keys_round_trip_and_sort_as_their_bytes(a in key(), b in key()) {
            prop_assert_eq!(EventKey::from_bytes(&a.to_bytes()), a);
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }
    }
}
