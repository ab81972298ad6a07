//! The records that a payload becomes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::http::HeaderMap;
use bytes::Bytes;
use event::collect::{Payload, Rejected};
use event::dead_letter::{DeadLetter, Kind};
use event::delight::Route;
use event::{Header, Protocol, ReceivedAt, Redaction};
use journal::Record;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Options, gzip};

/// What dead letters keep of a request's headers; none of them carries credentials.
const KEPT_HEADERS: [&str; 6] =
    ["content-type", "content-encoding", "content-length", "transfer-encoding", "user-agent", "x-forwarded-for"];

/// In a request that sends a dead letter again: its number. What cannot be stored is a dead letter already, and becomes no other.
pub const REPLAY_HEADER: &str = "emberlog-replay";

/// Where a payload came from.
#[derive(Debug)]
pub struct Origin {
    pub path: String,
    pub source: Option<SocketAddr>,
    pub headers: HeaderMap,
}

impl Origin {
    /// Whether it brings dead letters again.
    pub fn is_replay(&self) -> bool {
        self.headers.contains_key(REPLAY_HEADER)
    }

    fn letter(&self, kind: Kind, reason: &str, detail: &str) -> DeadLetter {
        let text = |name: &str| {
            let value = String::from_utf8_lossy(self.headers.get(name)?.as_bytes()).into_owned();
            Some((name.to_owned(), service::problem::bounded(&value)))
        };
        DeadLetter {
            path: Some(service::problem::bounded(&self.path)),
            source: self.source.map(|address| address.to_string()),
            headers: KEPT_HEADERS.into_iter().filter_map(text).collect::<BTreeMap<_, _>>(),
            ..DeadLetter::new(kind, reason, detail, ReceivedAt::now())
        }
    }
}

/// The payload's records for the journal: its sign of life, and its events in order.
pub fn records(payload: &Payload) -> Vec<Record> {
    let key = Bytes::from(payload.run.to_key());
    let record = |header: &Bytes, value| Record { key: key.clone(), header: header.clone(), value };
    let heartbeat = payload.heartbeat.iter().map(|header| record(header, Bytes::new()));
    heartbeat.chain(payload.events.iter().map(|event| record(&event.header, event.value.clone()))).collect()
}

pub fn of_rejected(payload: &Payload, origin: &Origin) -> Vec<DeadLetter> {
    let letter = |rejected: &Rejected| DeadLetter {
        generated_at: rejected.generated_at,
        sequence: Some(rejected.sequence),
        truncated_from: rejected.truncated_from.map(|bytes| bytes as u64),
        value: rejected.raw.clone(),
        ..of_payload(payload, origin.letter(Kind::Message, rejected.reason.as_str(), &rejected.detail))
    };
    payload.rejected.iter().map(letter).collect()
}

/// An event that the journal did not take: a broker's limit may be lower than ours.
pub fn of_too_large(record: &Record, limit: usize, payload: &Payload, origin: &Origin) -> DeadLetter {
    let detail = format!("the record has {} bytes; the journal's limit is {limit}", record.size());
    let header = Header::parse(&record.header).ok();
    let letter = origin.letter(Kind::Message, event::collect::Reason::TooLarge.as_str(), &detail);
    let letter = DeadLetter {
        generated_at: header.and_then(|it| it.generated_at),
        sequence: header.and_then(|it| it.sequence),
        ..of_payload(payload, letter)
    };
    let message = match payload.protocol {
        Protocol::Collect | Protocol::Instance => event::collect::message_of(&record.value, letter.generated_at).into(),
        Protocol::Delight | Protocol::Ingest | Protocol::Admin => record.value.clone(),
    };
    letter.with_value_up_to(message, limit.saturating_sub(event::dead_letter::RESERVED_BYTES))
}

/// A payload that is acknowledged although nothing of it could be read; `length`: of the body, of which `kept` may be the
/// beginning.
pub fn of_undecodable(error: &Error, kept: &Bytes, length: usize, origin: &Origin) -> DeadLetter {
    let letter = DeadLetter {
        protocol: Some(Protocol::Delight.to_string()),
        ..origin.letter(Kind::Payload, error.reason(), &error.to_string())
    };
    let letter = letter.with_value(kept.clone());
    if kept.len() < length { DeadLetter { truncated_from: Some(length as u64), ..letter } } else { letter }
}

/// A payload whose lines are known, but too many or too full of secrets to be taken in: their beginning, without secrets,
/// which what came would keep.
pub fn of_its_lines(error: &Error, body: &Bytes, route: Route, origin: &Origin, options: &Options) -> DeadLetter {
    if options.redaction.is_off() {
        return of_undecodable(error, body, body.len(), origin);
    }
    let text = match body.starts_with(&gzip::MAGIC) {
        true => gzip::decompress_all(body, options.decompressed_bytes).unwrap_or_default().into(),
        false => body.clone(),
    };
    let data = event::delight::read(&text, route).map(|envelope| envelope.data).unwrap_or_default();
    let lines = gzip::beginning(&data, event::dead_letter::TRUNCATED_BYTES);
    let kept = options.redaction.scrub(&lines).map_or(lines, |it| it.text);
    let letter = of_undecodable(error, &kept.into(), body.len(), origin);
    DeadLetter { truncated_from: Some(body.len() as u64), ..letter }
}

/// Of a letter that its journal does not take the beginning.
pub fn shortened(letter: DeadLetter, limit: usize) -> DeadLetter {
    let (whole, value) = (letter.truncated_from, letter.value.clone());
    let letter = letter.with_value_up_to(value, limit.saturating_sub(event::dead_letter::RESERVED_BYTES));
    DeadLetter { truncated_from: whole.or(letter.truncated_from), ..letter }
}

fn of_payload(payload: &Payload, letter: DeadLetter) -> DeadLetter {
    DeadLetter {
        protocol: Some(payload.protocol.to_string()),
        job_name: Some(payload.run.job.to_string()),
        run_id: Some(payload.run.run.to_string()),
        instance_id: payload.instance_id.clone(),
        ..letter
    }
}

/// A sample of what was refused, with how often the same was: the beginning of the body without its secrets. Gzip hides
/// them, so that only what can be decompressed is kept.
pub fn of_refused(error: &Error, body: &Bytes, count: u64, origin: &Origin, redaction: &Redaction) -> DeadLetter {
    let letter = origin.letter(Kind::Refused, error.reason(), &error.to_string());
    let letter = DeadLetter { status: Some(error.status().as_u16()), count: Some(count), ..letter };
    let letter = letter.with_value_up_to(body.clone(), event::dead_letter::TRUNCATED_BYTES);
    if redaction.is_off() {
        return letter;
    }
    let beginning = match body.starts_with(&gzip::MAGIC) {
        true => gzip::beginning(body, event::dead_letter::TRUNCATED_BYTES).into(),
        false => letter.value.clone(),
    };
    let value = redaction.scrub(&beginning).map_or(beginning, |it| it.text.into());
    DeadLetter { value, ..letter }
}

/// What makes two refused bodies the same sample.
pub fn sample_hash(error: &Error, body: &Bytes) -> u64 {
    let beginning = &body[..body.len().min(event::dead_letter::TRUNCATED_BYTES)];
    xxh3_64(beginning) ^ xxh3_64(error.reason().as_bytes())
}

pub fn record(letter: DeadLetter) -> Record {
    Record { key: letter.key().into(), header: letter.header().into(), value: letter.value }
}
