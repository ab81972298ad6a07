//! A subscriber for a process that starts before its brokers or its topic.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::opening::{self, Opening};
use super::subscriber::Committer;
use super::{Settings, Subscriber, SubscriberMetrics, SubscriberOptions};
use crate::{Entry, Error, Extent, Position};

/// How long a call waits for the topic to open.
const WAIT: Duration = Duration::from_secs(1);

/// Usable at once: until the topic is open, every call is answered `Error::Unavailable` with the reason, after a second
/// at most. An error that is not retryable stays.
#[derive(Debug)]
pub struct DeferredSubscriber {
    stage: Stage,
    committer: Committer,
    _opening: Opening,
}

#[derive(Debug)]
enum Stage {
    Opening { attempts: Receiver<Result<Subscriber, Error>>, last: Error },
    Open(Box<Subscriber>),
    Failed(Error),
}

impl DeferredSubscriber {
    /// Begins to open the topic, and tries again once a second. Fails at once if a property is wrong.
    pub fn start(settings: Settings, options: SubscriberOptions, metrics: SubscriberMetrics) -> Result<Self, Error> {
        settings.validate()?;
        // An attempt is not followed by another before somebody has asked for its result.
        let (sender, attempts) = mpsc::sync_channel(0);
        let attempt = {
            let settings = settings.clone();
            move || Subscriber::open(settings.clone(), options.clone(), metrics.clone())
        };
        let opening = opening::start(settings.topic, attempt, move |result| sender.send(result).is_ok())?;
        let last = Error::Unavailable("Kafka has not answered yet".to_owned());
        Ok(Self { stage: Stage::Opening { attempts, last }, committer: Committer::default(), _opening: opening })
    }

    /// It can be used at once too; what is committed before the topic is open is forgotten.
    pub fn committer(&self) -> Committer {
        self.committer.clone()
    }

    fn open(&mut self, wait: Duration) -> Result<&mut Subscriber, Error> {
        if let Stage::Opening { attempts, last } = &mut self.stage {
            self.stage = match attempts.recv_timeout(wait.min(WAIT)) {
                Ok(Ok(subscriber)) => {
                    subscriber.connect(&self.committer);
                    Stage::Open(Box::new(subscriber))
                }
                Ok(Err(error)) if error.is_retryable() => {
                    *last = error.clone();
                    return Err(error);
                }
                Ok(Err(error)) => Stage::Failed(error),
                Err(RecvTimeoutError::Timeout) => return Err(last.clone()),
                Err(RecvTimeoutError::Disconnected) => {
                    Stage::Failed(Error::Fatal("the thread that opens the topic has ended".to_owned()))
                }
            };
        }
        match &mut self.stage {
            Stage::Open(subscriber) => Ok(subscriber),
            Stage::Failed(error) | Stage::Opening { last: error, .. } => Err(error.clone()),
        }
    }
}

impl crate::Subscriber for DeferredSubscriber {
    fn extents(&mut self) -> Result<Vec<Extent>, Error> {
        self.open(WAIT)?.extents()
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.open(WAIT)?.seek(position)
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, Error> {
        self.open(max_wait)?.next(max_wait)
    }
}
