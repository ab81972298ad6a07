//! Which of the refused requests are kept for diagnosis: few distinct ones, each again when it has become much more
//! frequent, and never many in a short time, so that a flood of garbage fills nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const DISTINCT: usize = 64;
const WINDOW: Duration = Duration::from_secs(3600);
const BETWEEN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Samples(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    window: Option<Instant>,
    last_kept: Option<Instant>,
    seen: HashMap<u64, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    /// The count at which it is kept again: 1, 10, 100 and so on.
    due: u64,
}

impl Samples {
    /// Counts one more; gives its count in this hour if it is to be kept.
    pub fn offer(&self, hash: u64, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().ok()?;
        if state.window.is_none_or(|start| now.duration_since(start) >= WINDOW) {
            state.window = Some(now);
            state.seen.clear();
        }
        let may_keep = state.last_kept.is_none_or(|last| now.duration_since(last) >= BETWEEN);
        if state.seen.len() >= DISTINCT && !state.seen.contains_key(&hash) {
            return None;
        }
        let seen = state.seen.entry(hash).or_insert(Seen { count: 0, due: 1 });
        seen.count += 1;
        if seen.count < seen.due || !may_keep {
            return None;
        }
        while seen.due <= seen.count {
            seen.due = seen.due.saturating_mul(10);
        }
        let count = seen.count;
        state.last_kept = Some(now);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_kept_first_and_then_ever_more_seldom() {
        let (samples, start) = (Samples::default(), Instant::now());
        let kept: Vec<_> = (0..1000).filter_map(|i| samples.offer(7, start + i * BETWEEN)).collect();
        assert_eq!(kept, [1, 10, 100, 1000]);
    }

    #[test]
    fn many_in_a_short_time_are_counted_but_not_kept() {
        let (samples, now) = (Samples::default(), Instant::now());
        assert_eq!((samples.offer(1, now), samples.offer(2, now), samples.offer(2, now)), (Some(1), None, None));
        assert_eq!(samples.offer(2, now + BETWEEN), Some(3));
    }

    #[test]
    fn distinct_samples_are_bounded_until_the_hour_is_over() {
        let (samples, start) = (Samples::default(), Instant::now());
        let kept = (0..1000).filter(|i| samples.offer(*i, start + BETWEEN * *i as u32).is_some()).count();
        assert_eq!(kept, DISTINCT);
        assert_eq!(samples.offer(5000, start + WINDOW), Some(1));
    }
}
