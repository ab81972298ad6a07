//! Publications on their way to the writer, within a budget of bytes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::metrics::Metrics;
use crate::{Error, Record};

/// Resolved with the offset of the last record.
pub type Answer = oneshot::Receiver<Result<u64, Error>>;

#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    budget: usize,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Pending>,
    in_flight: usize,
    stopped: Option<Stop>,
    is_woken: bool,
}

#[derive(Debug, Clone)]
enum Stop {
    Closed,
    Failed(String),
}

#[derive(Debug)]
pub struct Pending {
    pub records: Vec<Record>,
    bytes: usize,
    answer: oneshot::Sender<Result<u64, Error>>,
}

impl Queue {
    pub fn new(budget: usize, metrics: Metrics) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), budget, metrics }
    }

    /// One publication alone may exceed the budget, else it could never be written.
    pub fn push(&self, records: Vec<Record>) -> Result<Answer, Error> {
        let bytes = records.iter().map(|it| it.size() + size_of::<Record>()).sum();
        let mut state = self.lock();
        match &state.stopped {
            Some(Stop::Closed) => return Err(Error::Unavailable("it is being closed".to_owned())),
            Some(Stop::Failed(why)) => return Err(Error::Fatal(why.clone())),
            None => {}
        }
        if state.in_flight > 0 && bytes > self.budget.saturating_sub(state.in_flight) {
            self.metrics.refused_publications.inc();
            return Err(Error::Overloaded);
        }
        let (answer, receiver) = oneshot::channel();
        state.in_flight += bytes;
        self.metrics.in_flight_bytes.set(state.in_flight as i64);
        state.waiting.push_back(Pending { records, bytes, answer });
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Waits for publications, and takes what fits into `limit` bytes, but at least one unless woken. None after the last one.
    pub fn take(&self, limit: usize) -> Option<Vec<Pending>> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !std::mem::take(&mut state.is_woken) {
            if state.stopped.is_some() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(next) = state.waiting.front()
            && (taken.is_empty() || bytes + next.bytes <= limit)
        {
            bytes += next.bytes;
            taken.extend(state.waiting.pop_front());
        }
        Some(taken)
    }

    /// Lets the one that waits for publications go on without one.
    pub fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_one();
    }

    /// Gives the bytes back, and tells the publisher.
    pub fn resolve(&self, publication: Pending, result: Result<u64, Error>) {
        if result.is_err() {
            self.metrics.failed_publications.inc();
        }
        let mut state = self.lock();
        state.in_flight -= publication.bytes;
        self.metrics.in_flight_bytes.set(state.in_flight as i64);
        drop(state);
        // A publisher that no longer waits changes nothing.
        let _ = publication.answer.send(result);
    }

    /// Takes nothing more; what waits is still written.
    pub fn close(&self) {
        self.lock().stopped.get_or_insert(Stop::Closed);
        self.changed.notify_all();
    }

    /// Answers what waits, and everything from now on, with a fatal error.
    pub fn fail(&self, why: &str) {
        let mut state = self.lock();
        state.stopped = Some(Stop::Failed(why.to_owned()));
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for publication in waiting {
            self.resolve(publication, Err(Error::Fatal(why.to_owned())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
