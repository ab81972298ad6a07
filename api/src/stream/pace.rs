//! How fast a client takes an answer: one that takes next to nothing must not keep its place from others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that the connection has taken.
#[derive(Debug, Clone, Default)]
pub struct Taken(Arc<AtomicU64>);

impl Taken {
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks at the client again and again, each time after data have waited for it for the time of the patience. The time
/// that the store takes is not the client's.
///
/// Buffers of the system are filled and emptied by up to some megabytes at once, so that the patience must not be short.
#[derive(Debug)]
pub struct Pace {
    taken: Taken,
    /// Bytes in each time of the patience.
    least: u64,
    patience: Duration,
    /// Since the last look.
    waited: Duration,
    before: u64,
}

impl Pace {
    pub fn new(taken: Taken, rate: u64, patience: Duration) -> Self {
        let least = u128::from(rate) * patience.as_millis() / 1000;
        let least = u64::try_from(least).unwrap_or(u64::MAX);
        Self { taken, least, patience, waited: Duration::ZERO, before: 0 }
    }

    /// Until the next look.
    pub fn left(&self) -> Duration {
        self.patience.saturating_sub(self.waited)
    }

    /// Counts a time in which data waited for the client. False if it has taken too little.
    pub fn holds(&mut self, waited: Duration) -> bool {
        self.waited += waited;
        if self.waited < self.patience {
            return true;
        }
        let taken = self.taken.bytes();
        let is_enough = taken - self.before >= self.least;
        (self.waited, self.before) = (Duration::ZERO, taken);
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_judged_by_what_it_takes_while_data_wait_for_it() {
        let second = Duration::from_secs(1);
        let taken = Taken::default();
        let mut pace = Pace::new(taken.clone(), 100, 60 * second);
        // What it takes at once at the start fills buffers, and says nothing of what comes then.
        taken.add(6000);
        assert!(pace.holds(59 * second) && pace.left() == second);
        assert!(pace.holds(second));
        taken.add(6000);
        assert!(pace.holds(60 * second));
        taken.add(5999);
        assert!(pace.holds(30 * second) && !pace.holds(30 * second));
        // No least rate.
        let mut pace = Pace::new(Taken::default(), 0, second);
        assert!(pace.holds(3600 * second));
    }
}
