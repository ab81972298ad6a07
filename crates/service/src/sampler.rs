//! Logs for what clients can cause as often as they like: one line, and then one every ten seconds with the count.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const BETWEEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Sampler(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u64,
    said: Option<Instant>,
}

impl Sampler {
    /// Counts one more; gives how many there were since the last line if another one is due.
    pub fn offer(&self) -> Option<u64> {
        self.offer_at(Instant::now())
    }

    fn offer_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.said.is_some_and(|at| now.duration_since(at) < BETWEEN) {
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_those_after_it_are_counted() {
        let (sampler, start) = (Sampler::default(), Instant::now());
        assert_eq!((sampler.offer_at(start), sampler.offer_at(start)), (Some(1), None));
        assert_eq!(sampler.offer_at(start + BETWEEN), Some(2));
    }
}
