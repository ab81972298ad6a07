//! From librdkafka to the subscriber: chunks of records, and what to make of errors among them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::reader::{Reader, TICK};
use super::record::{Next, poll};
use crate::Error;

/// A chunk is handed over when it has as much, or when there is no more.
const CHUNK_BYTES: usize = 4 << 20;
const CHUNK_RECORDS: usize = 8192;

/// As often may a record be unreadable before it counts as damaged: the fault may be in memory or on the way. Not more
/// often than that: behind a wrong checksum librdkafka goes on at a wrong place of the response (2.12,
/// rdkafka_msgset_reader.c, `rd_kafka_buf_skip_to(rkbuf, crc_len)`), and what it takes there for a message of an old
/// format may end the process by an assertion.
const READS: u32 = 2;

/// Without an unreadable record for so long, the count begins anew; a missing right is told of again.
const FORGIVEN: Duration = Duration::from_secs(60);

impl Reader {
    pub(super) fn collect(&mut self) {
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
                    if self.consumer.as_ref().is_none_or(|it| !Arc::ptr_eq(it, &consumer)) {
                        break;
                    }
                    // An outage leaves hundreds of errors behind: one examination is for all of them.
                }
            }
            wait = Duration::ZERO;
        }
        if consumer.context().is_made_anew() {
            self.made_anew();
        }
    }

    /// librdkafka's own word that the topic has another id needs no examination, and lets nothing of it through. A topic
    /// of which nothing was read yet may be another one.
    fn made_anew(&mut self) {
        let known = (0..).zip(&self.tracks).find_map(|(partition, track)| Some((partition, track.last?)));
        match known {
            Some((partition, mark)) => self.fail(Error::Rewritten { partition, offset: mark.offset }),
            None => {
                self.health.suspicious = true;
                self.rebuild("the topic was made anew before anything of it was read");
            }
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
            Some(Code::TopicAuthorizationFailed) => {
                if self.health.last_forbidden.is_none_or(|it| it.elapsed() >= FORGIVEN) {
                    self.health.last_forbidden = Some(Instant::now());
                    let topic = &self.settings.topic;
                    tracing::warn!(%error, topic, "the user has no right to read the topic; it is tried again");
                }
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
        if self.health.unreadable < READS {
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

    pub(super) fn hand_over(&mut self) {
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
        self.inbox.push(chunk, |partition| self.tracks.get(partition as usize).map_or(0, |it| it.epoch));
    }
}
