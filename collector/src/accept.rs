//! From a request's body to an acknowledged payload: decode all of it, then publish and await.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use event::collect::{self, Limits, Payload};
use event::dead_letter::DeadLetter;
use event::delight::Route;
use event::{Kind, ReceivedAt, dead_letter, delight, ingest};
use journal::Record;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use crate::body::{self, Encoding};
use crate::budget::Lease;
use crate::letters::{self, Origin};
use crate::{Collector, Error, Options, gzip};

/// Bodies up to these sizes are decoded within a millisecond: cheaper where they are than on another thread.
const SMALL_GZIP: usize = 2 << 10;
const SMALL: usize = 64 << 10;
/// What an event holds in memory besides its bytes: its slices here, and its record.
const EVENT_OVERHEAD: usize = 160;

/// What a body is read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Collect,
    Ingest(ingest::Target),
    Delight(Route),
}

/// What became of a payload's messages. Duplicates are found later, and show in the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Stored {
    /// Events that are durable in the journal.
    pub stored: usize,
    /// Samples that are durable in the journal.
    #[serde(skip_serializing_if = "is_zero")]
    pub samples: usize,
    /// Messages that cannot be stored as events, durable among the dead letters.
    pub dead_lettered: usize,
    /// Heartbeats and other signs of life.
    pub heartbeats: usize,
    /// Where the payload's last record is in the journal, absent if it had none. Once a reader has applied this
    /// offset, it serves the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Position {
    pub partition: u32,
    pub offset: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Collector {
    /// A refused body comes back with its error, to be sampled.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        form: Form,
        body: Body,
        origin: &Origin,
    ) -> Result<Stored, (Error, Bytes)> {
        let without_body = |error| (error, Bytes::new());
        if self.is_shutting_down() {
            return Err(without_body(Error::ShuttingDown));
        }
        let encoding = body::encoding(&origin.headers).map_err(without_body)?;
        let mut lease = self.budget.lease();
        let received = body::receive(body, &origin.headers, &self.options, &mut lease).await;
        let deadline = Instant::now() + self.options.answer_within;
        let body = received.map_err(without_body)?;
        self.metrics.wire_bytes.inc_by(body.len() as u64);
        let decoded = self.decode(form, body.clone(), encoding, lease, deadline).await;
        let (payload, lease) = decoded.map_err(|e| (e, body))?;
        let stored = self.publish(payload, origin, deadline).await.map_err(without_body)?;
        drop(lease);
        Ok(stored)
    }

    pub(crate) async fn decode(
        self: &Arc<Self>,
        form: Form,
        body: Bytes,
        encoding: Encoding,
        mut lease: Lease,
        deadline: Instant,
    ) -> Result<(Payload, Lease), Error> {
        let timer = self.metrics.decode_seconds.start_timer();
        let is_gzip = encoding == Encoding::Gzip || body.starts_with(&gzip::MAGIC);
        let holds_gzip = is_gzip || matches!(form, Form::Delight(_));
        let is_small = body.len() <= if holds_gzip { SMALL_GZIP } else { SMALL };
        let collector = self.clone();
        let work = move || {
            let (payload, bytes) = decode(form, body, is_gzip, &collector.options, &mut lease)?;
            collector.metrics.decoded_bytes.inc_by(bytes as u64);
            collector.metrics.redactions.inc_by(payload.redacted as u64);
            Ok((payload, lease))
        };
        let result = if is_small { work() } else { self.off_thread(work, deadline).await };
        timer.observe_duration();
        result
    }

    /// A decoder that is too late still ends, and gives its memory back then.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
        deadline: Instant,
    ) -> Result<T, Error> {
        const BUSY: Error = Error::NotInTime("the collector is busy decoding");
        let permit = timeout_at(deadline, self.decoders.clone().acquire_owned()).await.map_err(|_| BUSY)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        match timeout_at(deadline, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                tracing::error!(%error, "a decoder failed");
                Err(Error::Internal("decoder"))
            }
            Err(_) => Err(BUSY),
        }
    }

    /// Events first: while the journal is away, a client that tries again makes no copies among the dead letters.
    pub(crate) async fn publish(&self, payload: Payload, origin: &Origin, deadline: Instant) -> Result<Stored, Error> {
        let _timer = self.metrics.publish_seconds.start_timer();
        let mut letters = letters::of_rejected(&payload, origin);
        let mut records = letters::records(&payload);
        let mut stored = payload.events.len();
        let journal = match self.publish_to(&self.events, records, deadline).await {
            Err(Error::Journal(journal::Error::RecordTooLarge { limit, .. })) => {
                records = letters::records(&payload);
                let too_large = records.extract_if(.., |record| record.size() > limit);
                let before = letters.len();
                letters.extend(too_large.map(|record| letters::of_too_large(&record, limit, &payload, origin)));
                stored -= letters.len() - before;
                self.publish_to(&self.events, records, deadline).await?
            }
            result => result?,
        };
        let dead_lettered = if origin.is_replay() { letters.len() } else { self.bury(letters, deadline).await? };
        let (stored, samples) = if payload.kind == Kind::Sample { (0, stored) } else { (stored, 0) };
        self.metrics.events.inc_by(stored as u64);
        self.metrics.samples.inc_by(samples as u64);
        self.metrics.heartbeats.inc_by(payload.heartbeats as u64);
        Ok(Stored { stored, samples, dead_lettered, heartbeats: payload.heartbeats, journal })
    }

    /// Makes dead letters durable; of those that their journal finds too large, the beginnings. Returns how many.
    pub(crate) async fn bury(&self, letters: Vec<DeadLetter>, deadline: Instant) -> Result<usize, Error> {
        let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.clone()).collect();
        let records = letters.iter().cloned().map(letters::record).collect();
        match self.publish_to(&self.dead_letters, records, deadline).await {
            Err(Error::Journal(journal::Error::RecordTooLarge { limit, .. })) => {
                let shorter = letters.into_iter().map(|letter| letters::record(letters::shortened(letter, limit)));
                self.publish_to(&self.dead_letters, shorter.collect(), deadline).await?
            }
            result => result?,
        };
        for reason in &reasons {
            self.metrics.dead_letters.with_label_values(&[reason]).inc();
        }
        Ok(reasons.len())
    }

    pub(crate) async fn publish_to(
        &self,
        publisher: &Arc<dyn journal::Publisher>,
        records: Vec<Record>,
        deadline: Instant,
    ) -> Result<Option<Position>, Error> {
        if records.is_empty() {
            return Ok(None);
        }
        let positions = timeout_at(deadline, publisher.publish(records)).await;
        let positions = positions.map_err(|_| Error::NotInTime("the journal did not answer"))??;
        Ok(positions.first().map(|it| Position { partition: it.partition, offset: it.offset }))
    }
}

/// Decompresses and decodes, each step's memory charged before it is taken.
fn decode(
    form: Form,
    body: Bytes,
    is_gzip: bool,
    options: &Options,
    lease: &mut Lease,
) -> Result<(Payload, usize), Error> {
    if body.is_empty() {
        return Err(Error::Payload(collect::Error::Empty));
    }
    let limit = options.decompressed_bytes;
    let text: Bytes = match is_gzip {
        true => gzip::decompress(&body, limit, |more| lease.grow(more))?.into(),
        false => body,
    };
    if text.len() > limit {
        return Err(Error::TooLargeDecompressed { limit });
    }
    lease.grow(text.len())?;
    let (received_at, limits, redaction) = (ReceivedAt::now(), limits(options), &options.redaction);
    // Whatever leaves this process comes from here, except samples of what is refused and payloads that no one can read.
    let (payload, decoded) = match form {
        Form::Collect => (collect::decode_redacted(&text, received_at, limits, redaction)?, text.len()),
        Form::Ingest(target) => (ingest::decode(&text, target, received_at, limits, redaction)?, text.len()),
        Form::Delight(route) => decode_delight(&text, route, options, received_at, lease)?,
    };
    let held = text.len().max(payload.bytes) + (payload.events.len() + payload.rejected.len()) * EVENT_OVERHEAD;
    lease.grow(held.saturating_sub(lease.bytes()))?;
    lease.shrink_to(held);
    Ok((payload, decoded))
}

/// The same for an envelope with gzip inside; also how many bytes that has inflated.
fn decode_delight(
    text: &Bytes,
    route: Route,
    options: &Options,
    received_at: ReceivedAt,
    lease: &mut Lease,
) -> Result<(Payload, usize), Error> {
    // Its base64, and what that holds.
    lease.grow(text.len())?;
    let mut envelope = delight::read(text, route)?;
    if matches!(route, Route::Heartbeat | Route::Ack) {
        return Ok((envelope.sign_of_life(route, received_at), 0));
    }
    let packed = std::mem::take(&mut envelope.data);
    let lines = gzip::decompress(&packed, options.decompressed_bytes, |more| lease.grow(more));
    let lines: Bytes = lines.map_err(Error::of_data)?.into();
    drop(packed);
    let (limits, redaction) = (limits(options), &options.redaction);
    let payload = match route {
        Route::Metrics => envelope.samples(&lines, received_at, limits, redaction)?,
        _ => envelope.events(&lines, received_at, limits, redaction)?,
    };
    Ok((payload, lines.len()))
}

fn limits(options: &Options) -> Limits {
    Limits {
        event_bytes: options.event_bytes,
        rejected_bytes: dead_letter::MAX_WHOLE_BYTES,
        truncated_bytes: dead_letter::TRUNCATED_BYTES,
    }
}
