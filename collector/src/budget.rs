//! The memory that all requests together may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    gauge: IntGauge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

impl Budget {
    pub fn new(limit: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), gauge })
    }

    /// An empty share, which grows with what its request really holds.
    pub fn lease(self: &Arc<Self>) -> Lease {
        Lease { budget: self.clone(), bytes: 0 }
    }
}

/// One request's share. Dropping it gives all of it back.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Lease {
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let limit = self.budget.limit;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Exhausted)?;
        self.bytes += bytes;
        self.budget.gauge.add(as_i64(bytes));
        Ok(())
    }

    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.used.fetch_sub(less, Ordering::Relaxed);
        self.budget.gauge.sub(as_i64(less));
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_share_the_limit_and_give_back_what_they_held() {
        let gauge = IntGauge::new("bytes", "bytes").unwrap();
        let budget = Budget::new(100, gauge.clone());
        let (mut a, mut b) = (budget.lease(), budget.lease());
        assert_eq!((a.grow(60), b.grow(41), b.grow(40)), (Ok(()), Err(Exhausted), Ok(())));
        assert_eq!((gauge.get(), a.grow(usize::MAX)), (100, Err(Exhausted)));
        a.shrink_to(10);
        assert_eq!((a.bytes(), b.grow(50)), (10, Ok(())));
        drop((a, b));
        assert_eq!(gauge.get(), 0);
        assert_eq!(budget.lease().grow(100), Ok(()));
    }
}
