//! What was taken in but cannot be stored as an event, with all that looking at it and sending it again needs.
//! `docs/dead-letters.md` specifies the record: its header is the JSON text of [`DeadLetter`], its value the raw bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{GeneratedAt, ReceivedAt, RunName, Sequence, delight};

/// What a dead letter's header and key may take of a record.
pub const RESERVED_BYTES: usize = 128 * 1024;
/// The largest raw text kept whole: what a record may have, less header and key.
pub const MAX_WHOLE_BYTES: usize = 16_000_000 - RESERVED_BYTES;
/// What is kept of a larger one.
pub const TRUNCATED_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One message of a payload whose other messages were stored; acknowledged. The value is the message's JSON text.
    Message,
    /// A whole payload; acknowledged. The value is the request's body.
    Payload,
    /// A record of the journal that could not be applied. The value is the record's value.
    Record,
    /// A sample of what was answered with 4xx: never replayed. The value is the beginning of the request's body.
    Refused,
}

/// The journal record that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub partition: u32,
    pub offset: u64,
    /// The record's own header.
    pub header: String,
}

/// Members that do not apply are absent. Unknown members are ignored, so that later versions may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub version: u32,
    pub kind: Kind,
    /// For programs: `not_json`, `too_large` and the like.
    pub reason: String,
    /// For people: what is wrong, and where.
    pub detail: String,
    pub received_at: ReceivedAt,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of the request, by lower-case name. Never those that carry credentials.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<GeneratedAt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The answer that a refused request got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How often the same was refused, this time included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The length in bytes of what the value is the beginning of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
    #[serde(skip)]
    pub value: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not the header of a dead letter: {0}")]
    Header(#[from] serde_json::Error),
    #[error("a dead letter of version {0}; this program knows version 1")]
    Version(u32),
    #[error("a refused request is kept for diagnosis only")]
    Refused,
    #[error("only the beginning was kept: {kept} of {whole} bytes")]
    Truncated { kept: usize, whole: u64 },
    #[error("it does not say to which run and place it belongs")]
    Incomplete,
}

/// A request that sends a dead letter again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl DeadLetter {
    pub fn new(kind: Kind, reason: &str, detail: impl Into<String>, received_at: ReceivedAt) -> Self {
        Self {
            version: 1,
            kind,
            reason: reason.to_owned(),
            detail: detail.into(),
            received_at,
            protocol: None,
            path: None,
            source: None,
            headers: BTreeMap::new(),
            job_name: None,
            run_id: None,
            instance_id: None,
            generated_at: None,
            sequence: None,
            origin: None,
            status: None,
            count: None,
            truncated_from: None,
            value: Bytes::new(),
        }
    }

    /// Takes the raw bytes: all of them up to [`MAX_WHOLE_BYTES`], of more the beginning.
    #[must_use]
    pub fn with_value(self, raw: Bytes) -> Self {
        self.with_value_up_to(raw, MAX_WHOLE_BYTES)
    }

    /// As [`Self::with_value`], for a journal that takes less.
    #[must_use]
    pub fn with_value_up_to(mut self, raw: Bytes, limit: usize) -> Self {
        if raw.len() > limit {
            self.truncated_from = u64::try_from(raw.len()).ok();
            // A copy, so that 64 KiB do not keep the whole body in memory.
            self.value = Bytes::copy_from_slice(&raw[..limit.min(TRUNCATED_BYTES)]);
        } else {
            self.value = raw;
        }
        self
    }

    /// The record's key: that of the run, or empty if it is not known.
    pub fn key(&self) -> Vec<u8> {
        match (&self.job_name, &self.run_id) {
            (Some(job), Some(run)) => RunName::new(job, run).map(|name| name.to_key()).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The record's header.
    pub fn header(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|e| unreachable!("texts and numbers are always JSON: {e}"))
    }

    /// Reads a record's header and value.
    pub fn from_parts(header: &[u8], value: Bytes) -> Result<Self, Error> {
        let letter: Self = serde_json::from_slice(header)?;
        if letter.version != 1 {
            return Err(Error::Version(letter.version));
        }
        Ok(Self { value, ..letter })
    }

    /// The request to send to get it stored after all, once what stood against it is gone.
    pub fn replay(&self) -> Result<Replay, Error> {
        if let Some(whole) = self.truncated_from {
            return Err(Error::Truncated { kept: self.value.len(), whole });
        }
        match self.kind {
            Kind::Refused => Err(Error::Refused),
            Kind::Payload => self.replay_payload(),
            Kind::Message if self.protocol.as_deref() == Some("ingest") => self.replay_line(),
            Kind::Message if self.protocol.as_deref() == Some("delight") => self.replay_delight(),
            Kind::Message => self.replay_message(),
            Kind::Record => Err(Error::Incomplete),
        }
    }

    /// The body as it came. Of its headers those that say what it is: how it was sent then says nothing of now.
    fn replay_payload(&self) -> Result<Replay, Error> {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| ["content-type", "content-encoding"].contains(&name.as_str()));
        Ok(Replay { path: self.path.clone().ok_or(Error::Incomplete)?, headers, body: self.value.clone() })
    }

    /// What the Delight agent would send if it had only this line.
    fn replay_delight(&self) -> Result<Replay, Error> {
        let app_id = self.run_id.as_ref().ok_or(Error::Incomplete)?;
        let is_sample = self.path.as_ref().is_some_and(|path| path.trim_end_matches('/').ends_with("/metrics"));
        let counter = self.sequence.and_then(|sequence| sequence.0.checked_add(1)).ok_or(Error::Incomplete)?;
        let data = delight::pack(&[&self.value[..], b"\n"].concat());
        let body = match is_sample {
            true => serde_json::json!({"dmAppId": app_id, "data": data}),
            false => serde_json::json!({"dmAppId": app_id, "counters": {"messageCounter": counter}, "data": data}),
        };
        Ok(Replay {
            path: (if is_sample { "/collector/metrics" } else { "/collector/bulk" }).to_owned(),
            headers: BTreeMap::new(),
            body: body.to_string().into(),
        })
    }

    /// A body of this one line, with the sequence and the attempt that it had.
    fn replay_line(&self) -> Result<Replay, Error> {
        let (Some(job), Some(run)) = (&self.job_name, &self.run_id) else { return Err(Error::Incomplete) };
        let sequence = self.sequence.ok_or(Error::Incomplete)?;
        let attempt = self.generated_at.unwrap_or_default();
        let [job, run] = [job, run].map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC));
        Ok(Replay {
            path: format!("/v1/ingest/{job}/{run}?first_sequence={sequence}&attempt={attempt}"),
            headers: BTreeMap::new(),
            body: self.value.clone(),
        })
    }

    /// A payload of this one message, with the counter that gives it its sequence again.
    fn replay_message(&self) -> Result<Replay, Error> {
        let (Some(job), Some(run)) = (&self.job_name, &self.run_id) else { return Err(Error::Incomplete) };
        let counter = self.sequence.and_then(|sequence| sequence.0.checked_add(1)).ok_or(Error::Incomplete)?;
        let mut body = serde_json::json!({"job_name": job, "run_id": run, "counters": {"message_counter": counter}});
        if let Some(instance_id) = &self.instance_id {
            body["instance_id"] = instance_id.as_str().into();
        }
        // The message may be anything that is JSON: it goes in as its text, before the envelope's last bracket.
        let mut body = body.to_string().into_bytes();
        body.pop();
        body.extend_from_slice(b",\"messages\":[");
        body.extend_from_slice(&self.value);
        body.extend_from_slice(b"]}");
        Ok(Replay { path: "/collect".to_owned(), headers: BTreeMap::new(), body: body.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{self, Limits};

    const LIMITS: Limits =
        Limits { event_bytes: 1000, rejected_bytes: MAX_WHOLE_BYTES, truncated_bytes: TRUNCATED_BYTES };

    fn letter() -> DeadLetter {
        DeadLetter {
            protocol: Some("collect".to_owned()),
            job_name: Some("nightly \"é\"/\n".to_owned()),
            run_id: Some("local-1".to_owned()),
            generated_at: Some(GeneratedAt(-5)),
            sequence: Some(Sequence(41)),
            headers: BTreeMap::from([("user-agent".to_owned(), "x".to_owned())]),
            origin: Some(Origin { partition: 1, offset: 2, header: "1 event".to_owned() }),
            ..DeadLetter::new(Kind::Message, "too_large", "messages[0].content: large", ReceivedAt(7))
        }
    }

    #[test]
    fn a_dead_letter_round_trips_and_tolerates_what_later_versions_add() {
        let letter = letter().with_value(Bytes::from_static(b"\xff raw"));
        assert_eq!(DeadLetter::from_parts(&letter.header(), letter.value.clone()).unwrap(), letter);
        let header = String::from_utf8(letter.header()).unwrap().replace("{\"version\":1", "{\"new\":[],\"version\":1");
        assert_eq!(DeadLetter::from_parts(header.as_bytes(), letter.value.clone()).unwrap(), letter);
        let later = header.replace("\"version\":1", "\"version\":2");
        assert!(matches!(DeadLetter::from_parts(later.as_bytes(), Bytes::new()), Err(Error::Version(2))));
    }

    #[test]
    fn of_what_is_too_large_the_beginning_is_kept() {
        let letter = letter().with_value(Bytes::from(vec![7; MAX_WHOLE_BYTES + 1]));
        assert_eq!((letter.value.len(), letter.truncated_from), (TRUNCATED_BYTES, Some(MAX_WHOLE_BYTES as u64 + 1)));
        assert!(matches!(letter.replay(), Err(Error::Truncated { .. })));
        assert_eq!(super::tests::letter().with_value(Bytes::from(vec![7; MAX_WHOLE_BYTES])).truncated_from, None);
    }

    #[test]
    fn a_replayed_message_decodes_to_its_run_and_sequence() {
        let content = r#"{\"Event\":\"E\"}"#;
        let raw = format!(r#"{{"content":"{content}","generated_at":-5,"message_type":"spark-event"}}"#);
        let replay = letter().with_value(raw.into()).replay().unwrap();
        let payload = collect::decode(&replay.body, ReceivedAt(8), LIMITS).unwrap();
        let header = crate::Header::parse(&payload.events[0].header).unwrap();
        assert_eq!(payload.run.job.as_str(), "nightly \"é\"/\n");
        assert_eq!((header.generated_at, header.sequence), (Some(GeneratedAt(-5)), Some(Sequence(41))));
        assert_eq!(&payload.events[0].value[..], br#"{"Event":"E"}"#);
    }

    #[test]
    fn a_replayed_line_is_sent_to_its_run_attempt_and_sequence() {
        let letter = DeadLetter {
            protocol: Some("ingest".to_owned()),
            run_id: Some("..".to_owned()),
            generated_at: Some(GeneratedAt(3)),
            ..letter()
        };
        let replay = letter.with_value(Bytes::from_static(b"{}")).replay().unwrap();
        let path = "/v1/ingest/nightly%20%22%C3%A9%22%2F%0A/%2E%2E?first_sequence=41&attempt=3";
        assert_eq!((replay.path.as_str(), &replay.body[..]), (path, &b"{}"[..]));
    }

    #[test]
    fn a_replayed_line_of_delight_decodes_to_its_run_and_sequence() {
        let letter = DeadLetter {
            protocol: Some("delight".to_owned()),
            run_id: Some("my-app".to_owned()),
            path: Some("/collector//bulk".to_owned()),
            sequence: Some(Sequence(-3)),
            ..letter()
        };
        let replay = letter.clone().with_value(Bytes::from_static(br#"{"Event":"E"}"#)).replay().unwrap();
        assert_eq!(replay.path, "/collector/bulk");
        let payload = delight::tests::decode(&replay.body, delight::Route::Bulk).unwrap();
        let header = crate::Header::parse(&payload.events[0].header).unwrap();
        assert_eq!((payload.run.run.as_str(), header.sequence), ("my-app", Some(Sequence(-3))));
        assert_eq!(&payload.events[0].value[..], br#"{"Event":"E"}"#);
        let sample = DeadLetter { path: Some("/collector/metrics/".to_owned()), ..letter };
        let replay = sample.with_value(Bytes::from_static(br#"{"timestamp":1}"#)).replay().unwrap();
        assert_eq!(replay.path, "/collector/metrics");
        assert_eq!(delight::tests::decode(&replay.body, delight::Route::Metrics).unwrap().events.len(), 1);
    }

    #[test]
    fn a_replayed_payload_is_what_came_without_how_it_was_sent() {
        let headers = [("content-type", "text/plain"), ("content-length", "7"), ("transfer-encoding", "chunked")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let letter = DeadLetter { kind: Kind::Payload, path: Some("/collector/bulk".to_owned()), headers, ..letter() };
        let replay = letter.with_value(Bytes::from_static(b"x")).replay().unwrap();
        assert_eq!(replay.headers.keys().collect::<Vec<_>>(), ["content-type"]);
        assert_eq!((replay.path.as_str(), &replay.body[..]), ("/collector/bulk", &b"x"[..]));
    }

    #[test]
    fn what_was_refused_is_never_replayed() {
        let refused = DeadLetter { kind: Kind::Refused, ..letter() };
        assert!(matches!(refused.replay(), Err(Error::Refused)));
    }
}
