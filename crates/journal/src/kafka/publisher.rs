//! The writing end of a topic.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::budget::Budget;
use super::producer::{REPORTED, Service};
use super::ticket::{Outcome, Ticket};
use super::topics::{self, Topic};
use super::{HEADER, PublisherMetrics, STOP_PATIENCE, Settings, join, native};
use crate::{Error, Position, Publication, Record, partition};

/// Memory that librdkafka takes for a record beside its bytes, about.
const RECORD_OVERHEAD: usize = 400;

/// Bytes that are handed over before other tasks of the thread get their turn.
const STRIDE: usize = 1 << 20;

#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of records that may be on their way to the brokers; one publication alone may have more.
    pub max_bytes_in_flight: usize,
    /// Between two examinations of the topic.
    pub check_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_bytes_in_flight: 256 << 20, check_interval: Duration::from_secs(60) }
    }
}

/// Publishes to one topic.
pub struct Publisher {
    topic: Arc<Watched>,
    partitions: u32,
    budget: Arc<Budget>,
    metrics: PublisherMetrics,
    service: Service,
    watch: Watch,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.topic.settings.topic).finish_non_exhaustive()
    }
}

/// Which partitions a record goes to.
#[derive(Clone, Copy)]
enum Spread {
    ByKey,
    ToAll,
}

/// What the last examination of the topic said.
struct Watched {
    settings: Settings,
    max_record_bytes: AtomicUsize,
    refused: Mutex<Option<String>>,
}

impl Publisher {
    /// Examines the topic and makes a producer. An error that `is_retryable` means that brokers or topic are not there yet.
    pub fn open(settings: Settings, options: &Options, metrics: PublisherMetrics) -> Result<Self, Error> {
        settings.validate()?;
        let topic = topics::check(&settings)?;
        for warning in &topic.warnings {
            tracing::warn!("{warning}");
        }
        // Above the topic's limit of today: it may be raised while we run.
        let config = settings.producer(topic.max_message_bytes.max(topics::MAX_MESSAGE_BYTES));
        let verbose = settings.properties.is_verbose();
        let service = Service::start(config, verbose, metrics.producer_rebuilds.clone())?;
        let watched = Arc::new(Watched {
            settings,
            max_record_bytes: AtomicUsize::new(topic.max_record_bytes),
            refused: Mutex::new(None),
        });
        Ok(Self {
            partitions: topic.partitions,
            budget: Budget::new(options.max_bytes_in_flight, metrics.in_flight_bytes.clone()),
            metrics,
            service,
            watch: Watch::start(watched.clone(), topic, options.check_interval)?,
            topic: watched,
        })
    }

    async fn send(&self, records: Vec<Record>, spread: Spread) -> Result<Vec<Position>, Error> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.topic.admit(&records)?;
        let copies = match spread {
            Spread::ByKey => 1,
            Spread::ToAll => self.partitions as usize,
        };
        let bytes = records.iter().map(Record::size).sum::<usize>() * copies;
        let count = records.len() * copies;
        let lease = self.budget.take(bytes + count * RECORD_OVERHEAD).inspect_err(|_| {
            self.metrics.refused_publications.inc();
        })?;
        let began = Instant::now();
        let (ticket, outcome) = Ticket::new(count, lease);
        let ticket = Arc::new(ticket);
        let mut handed = 0;
        for record in records {
            handed += record.size();
            match spread {
                Spread::ByKey => {
                    self.hand_over(&record, partition::of_key(&record.key, self.partitions), &ticket)?;
                }
                Spread::ToAll => {
                    (0..self.partitions).try_for_each(|partition| self.hand_over(&record, partition, &ticket))?;
                }
            }
            if handed >= STRIDE {
                handed = 0;
                tokio::task::yield_now().await;
            }
        }
        drop(ticket);
        let outcome = tokio::time::timeout(REPORTED, outcome).await;
        let lost = || Error::Unavailable("Kafka's client did not report on the publication".to_owned());
        let outcome: Outcome = outcome.map_err(|_| lost())?.map_err(|_| lost())?;
        let positions = outcome.map_err(|error| {
            if error.rdkafka_error_code() == Some(Code::MessageSizeTooLarge) {
                self.watch.nudge();
            }
            self.explain(&error)
        })?;
        self.metrics.acknowledge_seconds.observe(began.elapsed().as_secs_f64());
        self.metrics.records.inc_by(count as u64);
        self.metrics.raw_bytes.inc_by(bytes as u64);
        Ok(positions)
    }

    fn hand_over(&self, record: &Record, partition: u32, ticket: &Arc<Ticket>) -> Result<(), Error> {
        let headers =
            OwnedHeaders::new_with_capacity(1).insert(Header { key: HEADER, value: Some(&record.header[..]) });
        let message = BaseRecord::with_opaque_to(&self.topic.settings.topic, ticket.clone())
            .partition(native(partition))
            .key(&record.key[..])
            .payload(&record.value[..])
            .headers(headers);
        let sent = self.service.slot().current().send(message);
        sent.map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) => {
                let limit = self.topic.max_record_bytes.load(Ordering::Relaxed);
                Error::RecordTooLarge { bytes: record.size(), limit: limit.min(record.size().saturating_sub(1)) }
            }
            Some(Code::QueueFull) => Error::Overloaded,
            _ => self.explain(&error),
        })
    }

    fn explain(&self, error: &KafkaError) -> Error {
        let topic = &self.topic.settings.topic;
        let advice = match error.rdkafka_error_code() {
            Some(Code::MessageTimedOut) => "the brokers did not acknowledge in time",
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => "the topic is not there",
            Some(Code::UnknownPartition) => "the topic has other partitions than when this process started; restart it",
            Some(Code::MessageSizeTooLarge) => "the topic's max.message.bytes was lowered; it is being read again",
            Some(Code::TopicAuthorizationFailed) => "the user has no right to write to it",
            Some(Code::Fatal | Code::PurgeQueue | Code::PurgeInflight) => {
                let why = self.service.slot().failure().unwrap_or_else(|| error.to_string());
                // A broker lets nobody publish who may not write to any topic, and calls it a right on the cluster.
                let is_forbidden = why.contains("Cluster authorization failed");
                let hint = if is_forbidden { "; the user has no right to write to it" } else { "" };
                return Error::Unavailable(format!("publishing to {topic}: the producer has failed ({why}){hint}"));
            }
            _ => "not acknowledged",
        };
        Error::Unavailable(format!("publishing to {topic}: {advice} ({error})"))
    }
}

impl crate::Publisher for Publisher {
    fn publish(&self, records: Vec<Record>) -> Publication<'_> {
        self.publication(records, Spread::ByKey)
    }

    fn publish_to_all(&self, record: Record) -> Publication<'_> {
        self.publication(vec![record], Spread::ToAll)
    }
}

impl Publisher {
    fn publication(&self, records: Vec<Record>, spread: Spread) -> Publication<'_> {
        Box::pin(async move {
            self.send(records, spread).await.inspect_err(|error| {
                if matches!(error, Error::Unavailable(_)) {
                    self.metrics.failed_publications.inc();
                }
            })
        })
    }
}

impl Watched {
    fn admit(&self, records: &[Record]) -> Result<(), Error> {
        let limit = self.max_record_bytes.load(Ordering::Relaxed);
        if let Some(bytes) = records.iter().map(Record::size).find(|it| *it > limit) {
            return Err(Error::RecordTooLarge { bytes, limit });
        }
        match &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(Error::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    fn examine(&self, before: &mut Topic) {
        let refused = match topics::check(&self.settings) {
            Ok(topic) => {
                for warning in topic.warnings.iter().filter(|it| !before.warnings.contains(it)) {
                    tracing::warn!("{warning}");
                }
                self.max_record_bytes.store(topic.max_record_bytes, Ordering::Relaxed);
                *before = topic;
                None
            }
            // The records themselves will tell.
            Err(error) if error.is_retryable() => return,
            Err(error) => Some(error.to_string()),
        };
        let mut state = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(why), true) = (&refused, *state != refused) {
            tracing::error!("nothing is published any more: {why}");
        }
        *state = refused;
    }
}

/// Examines the topic again and again; ends when it is dropped.
struct Watch {
    nudge: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(watched: Arc<Watched>, mut topic: Topic, interval: Duration) -> Result<Self, Error> {
        let (nudge, nudged) = mpsc::sync_channel(1);
        let examine = move || {
            while nudged.recv_timeout(interval) != Err(RecvTimeoutError::Disconnected) {
                watched.examine(&mut topic);
            }
        };
        let thread = thread::Builder::new().name("kafka-topic".to_owned()).spawn(examine);
        let thread = thread.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { nudge: Some(nudge), thread: Some(thread) })
    }

    /// Examines it now, unless that is under way already.
    fn nudge(&self) {
        if let Some(nudge) = &self.nudge {
            let _ = nudge.try_send(());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.nudge.take());
        if let Some(thread) = self.thread.take() {
            join(thread, STOP_PATIENCE);
        }
    }
}
