//! The thread that reads a topic. It hands out only what follows what was handed out before: whenever something has
//! happened that may have changed the topic, it first has it examined.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::audit::{Known, Mark, audit};
use super::context::Context;
use super::inbox::{Inbox, Orders, Seek};
use super::subscriber::Options;
use super::{HEADER, PATIENCE, Settings, SubscriberMetrics, native, offsets, refused, unavailable};
use crate::{Entry, Error, Extent, Record};

/// A chunk is handed over when it has as much, or when there is no more.
const CHUNK_BYTES: usize = 4 << 20;
const CHUNK_RECORDS: usize = 8192;

/// How long the thread waits for a record before it looks around.
const TICK: Duration = Duration::from_millis(100);

/// Between two attempts at what the brokers do not let happen now.
const RETRY: Duration = Duration::from_secs(1);

/// As often may a record be unreadable before it counts as damaged: the fault may be in memory or on the way.
const REREADS: u32 = 3;

/// Without an unreadable record for so long, the count begins anew.
const FORGIVEN: Duration = Duration::from_secs(60);

/// The longest time between two consumers made anew in vain.
const MAX_STALL_PATIENCE: Duration = Duration::from_secs(600);

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
    settings: Settings,
    options: Options,
    metrics: SubscriberMetrics,
    inbox: Arc<Inbox>,
    slot: Slot,
    consumer: Option<Arc<BaseConsumer<Context>>>,
    tracks: Vec<Track>,
    held: Vec<Entry>,
    health: Health,
}

/// Where the reading of a partition is.
#[derive(Debug, Clone, Default)]
struct Track {
    epoch: u64,
    /// `None` until the first seek.
    position: Option<u64>,
    assigned: bool,
    /// The first record since the last seek, the last one, and the last one at the last examination.
    first: Option<Mark>,
    last: Option<Mark>,
    anchor: Option<Mark>,
    /// Position and end of the log at the last look.
    looked: Option<(u64, u64)>,
}

/// What makes the thread look closer.
struct Health {
    /// Something has happened that may have changed the topic; nothing is handed out until it was examined.
    suspicious: bool,
    /// Halted until a seek.
    failed: bool,
    /// librdkafka had nothing more since the last look.
    drained: bool,
    unreadable: u32,
    last_unreadable: Instant,
    last_look: Instant,
    last_audit: Instant,
    last_connect: Option<Instant>,
    /// Of an examination that could not be completed.
    last_try: Option<Instant>,
    last_rebuild: Instant,
    stall_patience: Duration,
}

/// A poll's yield.
enum Next {
    Record(Entry),
    Nothing,
    Trouble(KafkaError),
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
        let now = Instant::now();
        let health = Health {
            suspicious: false,
            failed: false,
            drained: false,
            unreadable: 0,
            last_unreadable: now,
            last_look: now,
            last_audit: now,
            last_connect: None,
            last_try: None,
            last_rebuild: now,
            stall_patience: Duration::ZERO,
        };
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
        let failed = |error| unavailable(&format!("reading {topic}"), &error);
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
    fn rebuild(&mut self, why: &str) {
        tracing::warn!(why, topic = self.settings.topic, "the Kafka consumer is made anew");
        self.metrics.consumer_rebuilds.inc();
        self.held.clear();
        self.slot.set(None);
        self.consumer = None;
        self.health.last_connect = None;
        self.health.last_rebuild = Instant::now();
    }

    fn fail(&mut self, error: Error) {
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

impl Track {
    fn seek(&mut self, seek: Seek) {
        // What was read just before the new place still tells whether the topic is the same.
        let before = |it: &Mark| it.offset + 1 == seek.offset;
        let mark = [self.first, self.last, self.anchor].into_iter().flatten().find(before);
        *self = Self { epoch: seek.epoch, position: Some(seek.offset), last: mark, anchor: mark, ..Self::default() };
    }

    fn saw(&mut self, entry: &Entry, is_last: bool) {
        self.position = Some(entry.offset + 1);
        if self.first.is_none() || is_last {
            let mark = Mark { offset: entry.offset, fingerprint: entry.record.fingerprint() };
            self.first.get_or_insert(mark);
            self.last = Some(mark);
        }
    }
}

/// Records.
impl Reader {
    fn collect(&mut self) {
        let Some(consumer) = self.consumer.clone() else { return };
        let mut bytes = 0;
        let mut wait = TICK;
        while self.held.len() < CHUNK_RECORDS && bytes < CHUNK_BYTES {
            match poll(&consumer, wait) {
                Next::Record(entry) => {
                    bytes += entry.record.size();
                    self.held.push(entry);
                }
                Next::Nothing => {
                    self.health.drained = true;
                    break;
                }
                Next::Trouble(error) => {
                    self.trouble(&error);
                    break;
                }
            }
            wait = Duration::ZERO;
        }
        if consumer.context().is_made_anew() && self.tracks.iter().any(|it| it.last.is_some()) {
            self.made_anew();
        }
    }

    /// librdkafka's own word that the topic has another id needs no examination, and lets nothing of it through.
    fn made_anew(&mut self) {
        let known = (0..).zip(&self.tracks).find_map(|(partition, track)| Some((partition, track.last?)));
        if let Some((partition, mark)) = known {
            self.fail(Error::Rewritten { partition, offset: mark.offset });
        }
    }

    fn trouble(&mut self, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::BadMessage | Code::BadCompression | Code::NotImplemented | Code::MessageSizeTooLarge) => {
                self.unreadable(error);
            }
            Some(Code::GroupAuthorizationFailed) => {
                tracing::debug!(%error, "offsets for lag tools cannot be committed");
            }
            Some(Code::AutoOffsetReset) => {
                self.health.suspicious = true;
                self.rebuild(&error.to_string());
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                self.health.suspicious = true;
                self.rebuild(&error.to_string());
            }
            _ => {
                tracing::debug!(%error, "a Kafka consumer's error");
                self.health.suspicious = true;
            }
        }
    }

    /// librdkafka goes on behind what it cannot read; we do not.
    fn unreadable(&mut self, error: &KafkaError) {
        let is_new = self.health.last_unreadable.elapsed() > FORGIVEN;
        self.health.unreadable = if is_new { 1 } else { self.health.unreadable + 1 };
        self.health.last_unreadable = Instant::now();
        if self.health.unreadable < REREADS {
            self.keep_held();
            self.rebuild(&format!("a record cannot be read: {error}"));
        } else {
            let place = self.places();
            self.keep_held();
            self.fail(Error::Damaged(format!(
                "a record of {} at or behind {place} cannot be read: {error}",
                self.settings.topic
            )));
        }
    }

    /// What came before the trouble is as good as ever.
    fn keep_held(&mut self) {
        if !self.health.suspicious {
            self.hand_over();
        }
    }

    fn places(&self) -> String {
        let places =
            (0..).zip(&self.tracks).filter_map(|(it, track): (u32, _)| Some(format!("{it}:{}", track.position?)));
        places.collect::<Vec<_>>().join(", ")
    }

    fn hand_over(&mut self) {
        let chunk = std::mem::take(&mut self.held);
        if chunk.is_empty() {
            return;
        }
        let mut last = vec![usize::MAX; self.tracks.len()];
        for (at, entry) in chunk.iter().enumerate() {
            if let Some(last) = last.get_mut(entry.partition as usize) {
                *last = at;
            }
        }
        for (at, entry) in chunk.iter().enumerate() {
            let partition = entry.partition as usize;
            if let Some(track) = self.tracks.get_mut(partition) {
                track.saw(entry, last[partition] == at);
            }
            self.metrics.read_bytes.inc_by(entry.record.size() as u64);
        }
        self.metrics.read_records.inc_by(chunk.len() as u64);
        self.health.stall_patience = Duration::ZERO;
        self.inbox.push(chunk, |partition| self.tracks.get(partition as usize).map_or(0, |it| it.epoch));
    }
}

/// Health.
impl Reader {
    /// Compares positions with the ends of the log. A partition that has not moved since the last look, though records
    /// were there and librdkafka had nothing to give, stands still.
    fn look(&mut self) {
        if self.health.last_look.elapsed() < self.options.watch_interval {
            return;
        }
        self.health.last_look = Instant::now();
        let drained = std::mem::take(&mut self.health.drained);
        let Some(consumer) = &self.consumer else { return };
        let extents = match offsets::extents(consumer, &self.settings.topic, count(&self.tracks)) {
            Ok(extents) => extents,
            // A consumer that cannot even ask may be the one that is stuck; a fresh client will see.
            Err(_) => {
                self.health.suspicious = true;
                return;
            }
        };
        let mut stalled = None;
        for (track, Extent { partition, start, end }) in self.tracks.iter_mut().zip(extents) {
            let Some(position) = track.position else { continue };
            if position < start || position > end {
                self.health.suspicious = true;
            }
            if let Some((before, was_end)) = track.looked.replace((position, end))
                && before == position
                && position < was_end
            {
                stalled = Some((partition, position, end));
            }
        }
        if let (Some((partition, position, end)), true) = (stalled, drained && self.held.is_empty()) {
            self.stalled(partition, position, end);
        }
    }

    /// At the end of a log may be what is never handed out, so that a new consumer changes nothing: each time in vain
    /// doubles the patience.
    fn stalled(&mut self, partition: u32, position: u64, end: u64) {
        if self.health.last_rebuild.elapsed() < self.health.stall_patience {
            return;
        }
        let patience = (self.health.stall_patience * 2).max(self.options.watch_interval * 2);
        self.health.stall_patience = patience.min(MAX_STALL_PATIENCE);
        self.rebuild(&format!("partition {partition} stands still at offset {position}, the log ends at {end}"));
    }

    fn examine_if_due(&mut self) {
        let due = self.health.last_audit.elapsed() >= self.options.audit_interval;
        let waited = self.health.last_try.is_none_or(|it| it.elapsed() >= RETRY);
        if self.health.failed || !(due || self.health.suspicious) || !waited {
            return;
        }
        let suspicious = self.health.suspicious;
        match audit(&self.settings, count(&self.tracks), &self.known(suspicious)) {
            Ok(_) => {
                self.health.suspicious = false;
                self.health.last_audit = Instant::now();
                self.health.last_try = None;
                self.metrics.audits.inc();
                let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
                self.metrics.last_audit.set(i64::try_from(now).unwrap_or(i64::MAX));
                if !suspicious {
                    self.tracks.iter_mut().for_each(|it| it.anchor = it.last);
                }
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, topic = self.settings.topic, "the topic cannot be examined now; it is tried again");
                self.health.last_try = Some(Instant::now());
            }
            Err(error) => self.fail(error),
        }
    }

    /// After a fault the newest record is looked at again; from time to time an older one, as the newest would not tell
    /// of a change before it.
    fn known(&self, newest: bool) -> Vec<Known> {
        let known = |(partition, track): (u32, &Track)| {
            let mark = if newest { track.last } else { track.anchor.or(track.last) };
            Some(Known { partition, position: track.position?, mark })
        };
        (0..).zip(&self.tracks).filter_map(known).collect()
    }
}

fn count(tracks: &[Track]) -> u32 {
    u32::try_from(tracks.len()).unwrap_or(u32::MAX)
}

fn offset(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

fn poll(consumer: &BaseConsumer<Context>, wait: Duration) -> Next {
    match consumer.poll(wait) {
        Some(Ok(message)) => Next::Record(entry(&message)),
        Some(Err(error)) => Next::Trouble(error),
        None => Next::Nothing,
    }
}

/// One allocation for a record's three parts.
pub fn entry(message: &BorrowedMessage<'_>) -> Entry {
    // The crate panics on a header whose name is not UTF-8, which anybody may have written.
    let header = catch_unwind(AssertUnwindSafe(|| header(message))).unwrap_or_default();
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    let all = Bytes::from([key, header, value].concat());
    let (header_at, value_at) = (key.len(), key.len() + header.len());
    let record =
        Record { key: all.slice(..header_at), header: all.slice(header_at..value_at), value: all.slice(value_at..) };
    Entry {
        partition: u32::try_from(message.partition()).unwrap_or_default(),
        offset: u64::try_from(message.offset()).unwrap_or_default(),
        record,
    }
}

/// The last of the name, as other clients take it. A foreign record may have none.
fn header<'a>(message: &'a BorrowedMessage<'_>) -> &'a [u8] {
    let Some(headers) = message.headers() else { return &[] };
    let named = |at| headers.try_get(at).filter(|it| it.key == HEADER).map(|it| it.value.unwrap_or_default());
    (0..headers.count()).rev().find_map(named).unwrap_or_default()
}
