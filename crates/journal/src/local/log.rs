//! What is durable: the segments and the end of the journal, as its writer tells its readers.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::metrics::Metrics;
use crate::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub base: u64,
    pub bytes: u64,
    pub created_at: SystemTime,
}

/// The segments in order, and the offset behind the last durable record.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub segments: Vec<Segment>,
    pub end: u64,
}

impl View {
    pub fn start(&self) -> u64 {
        self.segments.first().map_or(self.end, |it| it.base)
    }

    /// The base of the segment that holds `offset`, or will.
    pub fn segment_of(&self, offset: u64) -> Option<u64> {
        let behind = self.segments.partition_point(|it| it.base <= offset);
        behind.checked_sub(1).map(|i| self.segments[i].base)
    }
}

#[derive(Debug)]
pub struct Log {
    view: Mutex<View>,
    grown: Condvar,
    failure: watch::Sender<Option<String>>,
    metrics: Metrics,
}

impl Log {
    pub fn new(view: View, metrics: Metrics) -> Self {
        let log = Self { view: Mutex::default(), grown: Condvar::new(), failure: watch::Sender::new(None), metrics };
        log.change(|it| *it = view);
        log
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what readers see, and wakes them.
    pub fn change<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut view = self.view();
        let result = change(&mut view);
        self.metrics.start_offset.set(view.start() as i64);
        self.metrics.end_offset.set(view.end as i64);
        self.metrics.segments.set(view.segments.len() as i64);
        self.metrics.segment_bytes.set(view.segments.iter().map(|it| it.bytes).sum::<u64>() as i64);
        drop(view);
        self.grown.notify_all();
        result
    }

    /// Waits until there is a record at `offset`, a failure, or the time is over.
    pub fn wait(&self, offset: u64, deadline: Instant) -> Result<(), Error> {
        let mut view = self.view();
        while view.end <= offset {
            if let Some(why) = self.failure.borrow().as_ref() {
                return Err(Error::Fatal(why.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            view = self.grown.wait_timeout(view, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    pub fn fail(&self, why: &str) {
        tracing::error!(why, "the journal has failed; this process must not write to it again");
        self.metrics.failed.set(1);
        // Under the lock, so that no reader goes to sleep between looking and being woken.
        let view = self.view();
        self.failure.send_replace(Some(why.to_owned()));
        drop(view);
        self.grown.notify_all();
    }

    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }
}
