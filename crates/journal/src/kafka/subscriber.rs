//! The reading end of a topic: a handle on the thread that reads.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::inbox::Inbox;
use super::reader::{Reader, Slot};
use super::{STOP_PATIENCE, Settings, SubscriberMetrics, join, offsets, topics};
use crate::{Entry, Error, Extent, Position};

#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of records that may wait to be taken, beside as many in librdkafka.
    pub max_waiting_bytes: usize,
    /// Between two looks at whether every partition moves.
    pub watch_interval: Duration,
    /// Between two examinations of whether the topic is still the one that was read.
    pub audit_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_waiting_bytes: 16 << 20,
            watch_interval: Duration::from_secs(10),
            audit_interval: Duration::from_secs(60),
        }
    }
}

/// The thread that asks for extents may have to stop; it will ask again otherwise.
const EXTENTS_PATIENCE: Duration = Duration::from_secs(2);

/// Reads all partitions of one topic.
pub struct Subscriber {
    settings: Settings,
    partitions: u32,
    consumer: Slot,
    inbox: Arc<Inbox>,
    known: Vec<Extent>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("topic", &self.settings.topic).finish_non_exhaustive()
    }
}

/// Tells the brokers how far the store is, for lag tools only: nothing is ever read from it.
#[derive(Debug, Clone, Default)]
pub struct Committer(Arc<OnceLock<Arc<Inbox>>>);

impl Committer {
    /// All below `next_offset` is applied. Returns at once; a failure has no consequence.
    pub fn commit(&self, partition: u32, next_offset: u64) {
        if let Some(inbox) = self.0.get() {
            inbox.commit(partition, next_offset);
        }
    }
}

impl Subscriber {
    /// Examines the topic and starts the reading thread. An error that `is_retryable` means that brokers or topic are
    /// not there yet.
    pub fn open(settings: Settings, options: Options, metrics: SubscriberMetrics) -> Result<Self, Error> {
        settings.validate()?;
        let topic = topics::check(&settings)?;
        for warning in &topic.warnings {
            tracing::warn!("{warning}");
        }
        let partitions = topic.partitions;
        let inbox = Arc::new(Inbox::new(partitions, options.max_waiting_bytes, metrics.waiting_bytes.clone()));
        let consumer = Slot::default();
        let reader = Reader::new(settings.clone(), partitions, options, metrics, inbox.clone(), consumer.clone())?;
        let thread = thread::Builder::new().name("kafka-reader".to_owned()).spawn(move || reader.run());
        let thread = Some(thread.map_err(|error| Error::Unavailable(error.to_string()))?);
        Ok(Self { settings, partitions, consumer, inbox, known: Vec::new(), thread })
    }

    pub fn committer(&self) -> Committer {
        let committer = Committer::default();
        self.connect(&committer);
        committer
    }

    /// Makes a committer that was handed out before this one of its own.
    pub(super) fn connect(&self, committer: &Committer) {
        let _ = committer.0.set(self.inbox.clone());
    }
}

impl crate::Subscriber for Subscriber {
    fn extents(&mut self) -> Result<Vec<Extent>, Error> {
        let consumer = self.consumer.get();
        let consumer =
            consumer.ok_or_else(|| Error::Unavailable("the Kafka consumer is being made anew".to_owned()))?;
        self.known = offsets::extents(&consumer, &self.settings.topic, self.partitions, EXTENTS_PATIENCE)?;
        Ok(self.known.clone())
    }

    fn seek(&mut self, Position { partition, offset }: Position) -> Result<(), Error> {
        let out_of_range = |start, end| Error::OutOfRange { partition, wanted: offset, start, end };
        if partition >= self.partitions {
            return Err(out_of_range(0, 0));
        }
        let holds = |it: &Extent| it.start <= offset && offset <= it.end;
        if !self.known.get(partition as usize).is_some_and(holds) {
            let Extent { start, end, .. } = self.extents()?[partition as usize];
            if offset < start || offset > end {
                return Err(out_of_range(start, end));
            }
        }
        self.inbox.seek(partition, offset);
        Ok(())
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, Error> {
        self.inbox.next(max_wait)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.inbox.stop();
        if let Some(thread) = self.thread.take() {
            join(thread, STOP_PATIENCE);
        }
    }
}
