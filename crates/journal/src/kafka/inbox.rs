//! What passes between the reading thread and the subscriber: records one way, within a bound of bytes, and orders the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::{Entry, Error};

#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    ordered: Condvar,
    limit: usize,
    waiting_bytes: IntGauge,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<Entry>>,
    bytes: usize,
    /// Of the last seek in each partition; what was read before it is not wanted.
    epochs: Vec<u64>,
    orders: Orders,
    failure: Option<Error>,
}

/// What the reading thread is to do.
#[derive(Debug, Default)]
pub struct Orders {
    pub seeks: Vec<Seek>,
    /// For lag tools: the next offset of a partition.
    pub commits: BTreeMap<u32, u64>,
    pub stop: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Seek {
    pub partition: u32,
    pub offset: u64,
    pub epoch: u64,
}

impl Inbox {
    pub fn new(partitions: u32, limit: usize, waiting_bytes: IntGauge) -> Self {
        let state = State { epochs: vec![0; partitions as usize], ..State::default() };
        Self { state: Mutex::new(state), arrived: Condvar::new(), ordered: Condvar::new(), limit, waiting_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk, or what went wrong behind the last one; nothing if neither comes in time.
    pub fn next(&self, max_wait: Duration) -> Result<Vec<Entry>, Error> {
        let deadline = Instant::now() + max_wait;
        let mut state = self.lock();
        loop {
            if let Some(chunk) = state.chunks.pop_front() {
                state.bytes -= bytes(&chunk);
                self.waiting_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
                self.ordered.notify_one();
                return Ok(chunk);
            }
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn seek(&self, partition: u32, offset: u64) {
        let mut state = self.lock();
        let Some(epoch) = state.epochs.get_mut(partition as usize) else { return };
        *epoch += 1;
        let epoch = *epoch;
        for chunk in &mut state.chunks {
            chunk.retain(|it| it.partition != partition);
        }
        state.chunks.retain(|it| !it.is_empty());
        state.bytes = state.chunks.iter().map(|it| bytes(it)).sum();
        state.failure = None;
        state.orders.seeks.retain(|it| it.partition != partition);
        state.orders.seeks.push(Seek { partition, offset, epoch });
        self.ordered.notify_one();
    }

    pub fn commit(&self, partition: u32, next_offset: u64) {
        self.lock().orders.commits.insert(partition, next_offset);
    }

    pub fn stop(&self) {
        self.lock().orders.stop = true;
        self.ordered.notify_one();
    }

    /// Takes the orders. With a wait: sleeps until there is one.
    pub fn orders(&self, max_wait: Duration) -> Orders {
        let mut state = self.lock();
        if !max_wait.is_zero() && !state.orders.is_urgent() {
            state = self.ordered.wait_timeout(state, max_wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        // A stop stays one.
        let stop = state.orders.stop;
        Orders { stop, ..std::mem::take(&mut state.orders) }
    }

    /// Whether records would wait in vain: the subscriber has as much as it may.
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        !state.chunks.is_empty() && state.bytes >= self.limit
    }

    /// Hands a chunk over, without what a seek has made unwanted; `epochs` are the reading thread's.
    pub fn push(&self, mut chunk: Vec<Entry>, epochs: impl Fn(u32) -> u64) {
        let mut state = self.lock();
        if !state.orders.seeks.is_empty() {
            chunk.retain(|it| state.epochs.get(it.partition as usize) == Some(&epochs(it.partition)));
        }
        if chunk.is_empty() {
            return;
        }
        state.bytes += bytes(&chunk);
        self.waiting_bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
        state.chunks.push_back(chunk);
        self.arrived.notify_one();
    }

    /// What the subscriber gets when it has taken all chunks, again and again until it seeks. `false`: it has sought already.
    pub fn fail(&self, error: Error) -> bool {
        let mut state = self.lock();
        let heard = state.orders.seeks.is_empty();
        if heard {
            state.failure = Some(error);
            self.arrived.notify_one();
        }
        heard
    }
}

impl Orders {
    pub fn is_urgent(&self) -> bool {
        self.stop || !self.seeks.is_empty()
    }
}

fn bytes(chunk: &[Entry]) -> usize {
    chunk.iter().map(|it| it.record.size()).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Record;

    fn entry(partition: u32, offset: u64) -> Entry {
        let record = Record { key: Bytes::new(), header: Bytes::new(), value: vec![b' '; 10].into() };
        Entry { partition, offset, record }
    }

    fn inbox() -> Inbox {
        Inbox::new(2, 25, IntGauge::new("bytes", "Bytes.").unwrap())
    }

    fn taken(inbox: &Inbox) -> Vec<(u32, u64)> {
        inbox.next(Duration::ZERO).unwrap().iter().map(|it| (it.partition, it.offset)).collect()
    }

    #[test]
    fn what_was_read_before_a_seek_is_not_handed_out_after_it() {
        let inbox = inbox();
        inbox.push(vec![entry(0, 5), entry(1, 7)], |_| 0);
        inbox.seek(0, 2);
        inbox.push(vec![entry(0, 6), entry(1, 8)], |_| 0);
        assert_eq!(taken(&inbox), [(1, 7)]);
        assert_eq!(taken(&inbox), [(1, 8)]);
        let orders = inbox.orders(Duration::ZERO);
        assert_eq!((orders.seeks[0].partition, orders.seeks[0].offset, orders.seeks[0].epoch), (0, 2, 1));
        inbox.push(vec![entry(0, 2)], |_| 1);
        assert_eq!(taken(&inbox), [(0, 2)]);
    }

    #[test]
    fn a_failure_comes_behind_the_records_read_before_it_and_stays_until_a_seek() {
        let inbox = inbox();
        inbox.push(vec![entry(0, 5)], |_| 0);
        assert!(inbox.fail(Error::Damaged("x".to_owned())));
        assert_eq!(taken(&inbox), [(0, 5)]);
        for _ in 0..2 {
            assert!(matches!(inbox.next(Duration::ZERO), Err(Error::Damaged(_))));
        }
        inbox.seek(0, 0);
        assert_eq!(taken(&inbox), []);
        assert!(!inbox.fail(Error::Damaged("of before".to_owned())));
        assert_eq!(taken(&inbox), []);
    }

    #[test]
    fn it_is_full_at_its_limit_of_bytes_and_no_longer_when_they_are_taken() {
        let inbox = inbox();
        inbox.push(vec![entry(0, 0), entry(0, 1)], |_| 0);
        assert!(!inbox.is_full());
        inbox.push(vec![entry(0, 2)], |_| 0);
        assert!(inbox.is_full());
        assert_eq!(inbox.waiting_bytes.get(), 30);
        taken(&inbox);
        assert!(!inbox.is_full());
        inbox.seek(0, 0);
        assert_eq!(inbox.lock().bytes, 0);
    }
}
