//! The bytes that may be on their way to the brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

use crate::Error;

#[derive(Debug)]
pub struct Budget {
    limit: usize,
    taken: AtomicUsize,
    gauge: IntGauge,
}

/// Bytes of the budget, given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub fn new(limit: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0), gauge })
    }

    /// One publication alone may be over the limit, or it could never be sent.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Result<Lease, Error> {
        let fits = |taken: usize| {
            let sum = taken.saturating_add(bytes);
            (taken == 0 || sum <= self.limit).then_some(sum)
        };
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).map_err(|_| Error::Overloaded)?;
        self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(Lease { budget: self.clone(), bytes })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.gauge.sub(i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_limit_is_refused_until_bytes_come_back_but_one_alone_may_be_larger() {
        let budget = Budget::new(100, IntGauge::new("bytes", "Bytes.").unwrap());
        let large = budget.take(1000).unwrap();
        assert!(matches!(budget.take(1), Err(Error::Overloaded)));
        drop(large);
        let (first, second) = (budget.take(60).unwrap(), budget.take(40).unwrap());
        assert!(matches!(budget.take(1), Err(Error::Overloaded)));
        assert_eq!(budget.gauge.get(), 100);
        drop((first, second));
        assert_eq!((budget.gauge.get(), budget.taken.load(Ordering::Relaxed)), (0, 0));
    }
}
