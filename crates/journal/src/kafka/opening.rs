//! Opening a topic that is not there yet, or whose brokers are not: tried again until it works.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::reader::RETRY;
use crate::Error;

/// How long the end waits for an attempt. OpenSSL's handlers at the process's exit must not run while a client is being
/// made, which takes milliseconds; a question to brokers that are away, which may take longer, does not matter.
const END: Duration = Duration::from_secs(1);

/// The thread that opens a topic. It makes no other attempt once this is dropped.
#[derive(Debug)]
pub struct Opening {
    stop: Option<SyncSender<()>>,
    /// Locked only to be shared between threads.
    ended: Mutex<Receiver<()>>,
}

/// Attempts on a thread of its own, until one succeeds or fails for good, or `report` says that nobody waits any more.
pub fn start<T: 'static>(
    topic: String,
    mut attempt: impl FnMut() -> Result<T, Error> + Send + 'static,
    mut report: impl FnMut(Result<T, Error>) -> bool + Send + 'static,
) -> Result<Opening, Error> {
    let (stop, stopped) = mpsc::sync_channel::<()>(0);
    let (ends, ended) = mpsc::channel::<()>();
    let keep_trying = move || {
        // Dropped with the thread's end.
        let _ends = ends;
        let mut before = None;
        let mut pause = Duration::ZERO;
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = RETRY;
            let result = attempt();
            let is_last = result.as_ref().err().is_none_or(|error| !error.is_retryable());
            match &result {
                Ok(_) => tracing::info!(topic, "the topic is open"),
                Err(error) => {
                    let why = error.to_string();
                    if !is_last && before.as_ref() != Some(&why) {
                        tracing::warn!(topic, "waiting for Kafka: {why}");
                    }
                    before = Some(why);
                }
            }
            if !report(result) || is_last {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("kafka-opening".to_owned()).spawn(keep_trying);
    thread.map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok(Opening { stop: Some(stop), ended: Mutex::new(ended) })
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(END);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_end_waits_for_the_attempt_under_way_and_no_other_is_made() {
        // On a machine that stands still meanwhile it may give up waiting, as it should, or be too late for the first.
        assert!((0..10).any(|_| waits_for_the_only_attempt()));
    }

    fn waits_for_the_only_attempt() -> bool {
        let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, is_done) = (begun.clone(), done.clone());
        let attempt = move || {
            begins.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(200));
            is_done.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(Error::Unavailable("away".to_owned()))
        };
        let opening = start("t".to_owned(), attempt, |_| true).unwrap();
        let deadline = Instant::now() + Duration::from_secs(180);
        while begun.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        drop(opening);
        let counts = || (begun.load(Ordering::SeqCst), done.load(Ordering::SeqCst));
        let at_the_end = counts();
        thread::sleep(RETRY + Duration::from_millis(200));
        (at_the_end, counts()) == ((1, 1), (1, 1))
    }

    #[test]
    fn an_attempt_that_takes_long_holds_the_end_up_for_a_moment_only() {
        let attempt = || {
            thread::sleep(Duration::from_secs(120));
            Ok(())
        };
        let opening = start("t".to_owned(), attempt, |_| true).unwrap();
        thread::sleep(Duration::from_millis(50));
        let began = Instant::now();
        drop(opening);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
