//! The thread that reads a topic. It hands out only what follows what was handed out before: whenever something has
//! happened that may have changed the topic, it first has it examined.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;

use super::context::Context;
use super::health::Health;
use super::inbox::{Inbox, Orders};
use super::subscriber::Options;
use super::track::{Track, offset};
use super::{PATIENCE, Settings, SubscriberMetrics, native, refused};
use crate::{Entry, Error};

/// How long the thread waits for a record before it looks around.
pub const TICK: Duration = Duration::from_millis(100);

/// Between two attempts at what the brokers do not let happen now.
pub const RETRY: Duration = Duration::from_secs(1);

/// The consumer of the moment, for questions beside the reading.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Arc<BaseConsumer<Context>>>>>);

impl Slot {
    pub fn get(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, consumer: Option<Arc<BaseConsumer<Context>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = consumer;
    }
}

pub struct Reader {
    pub(super) settings: Settings,
    pub(super) options: Options,
    pub(super) metrics: SubscriberMetrics,
    pub(super) inbox: Arc<Inbox>,
    pub(super) slot: Slot,
    pub(super) consumer: Option<Arc<BaseConsumer<Context>>>,
    pub(super) tracks: Vec<Track>,
    pub(super) held: Vec<Entry>,
    pub(super) health: Health,
}

impl Reader {
    pub fn new(
        settings: Settings,
        partitions: u32,
        options: Options,
        metrics: SubscriberMetrics,
        inbox: Arc<Inbox>,
        slot: Slot,
    ) -> Result<Self, Error> {
        let health = Health::new();
        let tracks = vec![Track::default(); partitions as usize];
        let mut reader =
            Self { settings, options, metrics, inbox, slot, consumer: None, tracks, held: Vec::new(), health };
        reader.connect()?;
        Ok(reader)
    }

    pub fn run(mut self) {
        loop {
            let wait = if self.is_idle() { TICK } else { Duration::ZERO };
            let orders = self.inbox.orders(wait);
            if orders.stop {
                break;
            }
            self.follow(orders);
            if !self.health.failed {
                self.turn();
            }
        }
        self.slot.set(None);
    }

    /// Nothing can be read now: only an order, or time, changes that.
    fn is_idle(&self) -> bool {
        self.health.failed || self.consumer.is_none() || !self.held.is_empty() || self.inbox.is_full()
    }

    fn turn(&mut self) {
        if self.consumer.is_none() && !self.reconnect() {
            return;
        }
        if self.held.is_empty() && !self.inbox.is_full() {
            self.collect();
        }
        self.look();
        self.examine_if_due();
        if !self.health.suspicious && !self.health.failed && !self.held.is_empty() {
            self.hand_over();
        }
    }
}

/// The consumer.
impl Reader {
    fn connect(&mut self) -> Result<(), Error> {
        let context = Context::new(self.settings.properties.is_verbose());
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&self.settings.consumer(), context).map_err(|it| refused(&it))?;
        let topic = &self.settings.topic;
        let failed = |error| {
            // For the line that says why. Nothing is assigned, so nothing else comes.
            consumer.poll(TICK);
            consumer.context().unavailable(&format!("reading {topic}"), &error)
        };
        // An offset asked for before the leader is known is asked for again only after half a second.
        consumer.fetch_metadata(Some(topic), PATIENCE).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        for (partition, track) in (0..).zip(&mut self.tracks) {
            track.assigned = track.position.is_some();
            track.looked = None;
            if let Some(position) = track.position {
                list.add_partition_offset(topic, native(partition), offset(position)).map_err(failed)?;
            }
        }
        if list.count() > 0 {
            consumer.assign(&list).map_err(failed)?;
        }
        let consumer = Arc::new(consumer);
        self.slot.set(Some(consumer.clone()));
        self.consumer = Some(consumer);
        Ok(())
    }

    fn reconnect(&mut self) -> bool {
        if self.health.last_connect.is_some_and(|it| it.elapsed() < RETRY) {
            return false;
        }
        self.health.last_connect = Some(Instant::now());
        match self.connect() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "no new Kafka consumer yet; it is tried again");
                false
            }
        }
    }

    /// Gives the consumer up; another goes on at the same positions.
    pub(super) fn rebuild(&mut self, why: &str) {
        tracing::warn!(why, topic = self.settings.topic, "the Kafka consumer is made anew");
        self.metrics.consumer_rebuilds.inc();
        self.held.clear();
        self.slot.set(None);
        self.consumer = None;
        self.health.last_connect = None;
        self.health.last_rebuild = Instant::now();
    }

    pub(super) fn fail(&mut self, error: Error) {
        tracing::error!(%error, topic = self.settings.topic, "reading has stopped");
        self.held.clear();
        self.slot.set(None);
        self.consumer = None;
        self.health.failed = self.inbox.fail(error);
        // Questions are still answered; nothing is read.
        for track in &mut self.tracks {
            track.position = None;
        }
        self.health.last_connect = None;
        self.reconnect();
    }
}

/// Orders.
impl Reader {
    fn follow(&mut self, orders: Orders) {
        if !orders.commits.is_empty() {
            self.commit(&orders);
        }
        if orders.seeks.is_empty() {
            return;
        }
        self.health.failed = false;
        let (mut fresh, mut moved) = (TopicPartitionList::new(), TopicPartitionList::new());
        for seek in &orders.seeks {
            let Some(track) = self.tracks.get_mut(seek.partition as usize) else { continue };
            let list = if track.assigned { &mut moved } else { &mut fresh };
            let added = list.add_partition_offset(&self.settings.topic, native(seek.partition), offset(seek.offset));
            track.seek(*seek);
            track.assigned = added.is_ok();
        }
        self.held.retain(|it| !orders.seeks.iter().any(|seek| seek.partition == it.partition));
        if let Some(consumer) = self.consumer.clone()
            && let Err(error) = place(&consumer, &fresh, moved)
        {
            self.rebuild(&error.to_string());
        }
    }

    fn commit(&self, orders: &Orders) {
        let Some(consumer) = &self.consumer else { return };
        let mut list = TopicPartitionList::new();
        for (partition, next) in &orders.commits {
            // A partition that cannot be named is not worth more than the others' offsets.
            let _ = list.add_partition_offset(&self.settings.topic, native(*partition), offset(*next));
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "offsets for lag tools were not committed");
        }
    }
}

/// A seek returns when nothing of before can come any more. It fails while the assignment is not yet in force.
fn place(
    consumer: &BaseConsumer<Context>,
    fresh: &TopicPartitionList,
    moved: TopicPartitionList,
) -> Result<(), KafkaError> {
    if fresh.count() > 0 {
        consumer.incremental_assign(fresh)?;
    }
    let deadline = Instant::now() + RETRY;
    let mut left = moved;
    while left.count() > 0 {
        let result = consumer.seek_partitions(left, PATIENCE)?;
        left = TopicPartitionList::new();
        for element in result.elements() {
            if let Err(error) = element.error() {
                if Instant::now() > deadline {
                    return Err(error);
                }
                left.add_partition_offset(element.topic(), element.partition(), element.offset())?;
            }
        }
        if left.count() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}
