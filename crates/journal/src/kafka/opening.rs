//! Opening a topic that is not there yet, or whose brokers are not: tried again until it works.

use std::thread;

use super::reader::RETRY;
use crate::Error;

/// Attempts on a thread of its own, until one succeeds or fails for good, or `report` says that nobody waits any more.
/// The thread is not waited for: a question to brokers that are away takes its time.
pub fn start<T: 'static>(
    topic: String,
    mut attempt: impl FnMut() -> Result<T, Error> + Send + 'static,
    mut report: impl FnMut(Result<T, Error>) -> bool + Send + 'static,
) -> Result<(), Error> {
    let keep_trying = move || {
        let mut before = None;
        loop {
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
            thread::sleep(RETRY);
        }
    };
    let thread = thread::Builder::new().name("kafka-opening".to_owned()).spawn(keep_trying);
    thread.map(drop).map_err(|error| Error::Unavailable(error.to_string()))
}
