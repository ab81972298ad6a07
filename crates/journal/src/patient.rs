//! A subscriber for commands that end with an answer: what may pass is tried again for a while. A service needs none, as
//! it tries again for ever.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Entry, Error, Extent, Position, Subscriber};

/// Brokers elect a new leader, or come back from a restart, within this.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(500);

/// Each call tries again for `patience` what fails in a way that may pass.
#[derive(Debug)]
pub struct Patient<S> {
    inner: S,
    patience: Duration,
}

impl<S: Subscriber> Patient<S> {
    pub fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience }
    }

    fn attempt<T>(&mut self, mut ask: impl FnMut(&mut S) -> Result<T, Error>) -> Result<T, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            match ask(&mut self.inner) {
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    tracing::debug!(%error, "tried again");
                    thread::sleep(PAUSE.min(self.patience));
                }
                result => return result,
            }
        }
    }
}

impl<S: Subscriber> Subscriber for Patient<S> {
    fn extents(&mut self) -> Result<Vec<Extent>, Error> {
        self.attempt(S::extents)
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.attempt(|inner| inner.seek(position))
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, Error> {
        self.attempt(|inner| inner.next(max_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as many times in a way that may pass, then as it says.
    #[derive(Debug)]
    struct Failing {
        passing: u32,
        then: Result<(), Error>,
    }

    impl Failing {
        fn answer<T>(&mut self, answer: T) -> Result<T, Error> {
            if self.passing > 0 {
                self.passing -= 1;
                return Err(Error::Unavailable("for now".to_owned()));
            }
            self.then.clone().map(|()| answer)
        }
    }

    impl Subscriber for Failing {
        fn extents(&mut self) -> Result<Vec<Extent>, Error> {
            self.answer(vec![Extent { partition: 0, start: 0, end: 7 }])
        }

        fn seek(&mut self, _: Position) -> Result<(), Error> {
            self.answer(())
        }

        fn next(&mut self, _: Duration) -> Result<Vec<Entry>, Error> {
            self.answer(Vec::new())
        }
    }

    #[test]
    fn what_passes_is_waited_for() {
        let mut patient = Patient::new(Failing { passing: 2, then: Ok(()) }, PATIENCE);
        assert_eq!(patient.extents().unwrap()[0].end, 7);
    }

    #[test]
    fn what_does_not_pass_is_told_with_its_reason_and_what_cannot_pass_at_once() {
        let mut patient = Patient::new(Failing { passing: u32::MAX, then: Ok(()) }, Duration::from_millis(20));
        let error = patient.seek(Position { partition: 0, offset: 0 }).unwrap_err();
        assert!(error.to_string().contains("for now"), "{error}");
        let halt = Err(Error::Rewritten { partition: 0, offset: 3 });
        let mut patient = Patient::new(Failing { passing: 0, then: halt }, PATIENCE);
        let began = Instant::now();
        assert!(matches!(patient.next(Duration::ZERO), Err(Error::Rewritten { .. })));
        assert!(began.elapsed() < PATIENCE / 2);
    }
}
