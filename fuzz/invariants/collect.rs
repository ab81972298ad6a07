//! What must hold for any bytes that come as a payload of `POST /collect`.

use event::collect::{Limits, Payload, Rejected, decode, decode_redacted};
use event::dead_letter::{DeadLetter, Kind};
use event::{Header, ReceivedAt, Redaction, spark};

const LIMITS: Limits = Limits { event_bytes: 200, rejected_bytes: 300, truncated_bytes: 50 };

pub fn hold_for(body: &[u8]) {
    redacts_without_losing_count(body);
    let Ok(payload) = decode(body, ReceivedAt(1), LIMITS) else { return };
    for event in &payload.events {
        let text = std::str::from_utf8(&event.value).expect("events are text");
        assert_eq!(spark::validate(text), Ok(()));
        assert!(event.value.len() <= LIMITS.event_bytes);
        let header = Header::parse(&event.header).expect("events have headers");
        assert!(header.event_key().is_some());
        assert_eq!(header.protocol, payload.protocol);
    }
    assert_eq!(payload.heartbeat.is_some(), payload.heartbeats > 0);
    is_what_another_parser_reads(body, &payload);
    for rejected in &payload.rejected {
        assert!(rejected.raw.len() <= LIMITS.rejected_bytes);
        replays_to_itself(&payload, rejected);
    }
}

/// The events are the contents of the messages at their places, byte for byte. Of what the other parser refuses (depth,
/// numbers beyond its range) nothing is compared.
fn is_what_another_parser_reads(body: &[u8], payload: &Payload) {
    let Ok(parsed) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let messages = parsed["messages"].as_array().expect("a payload has messages");
    assert_eq!(parsed["job_name"].as_str(), Some(payload.run.job.as_str()));
    assert_eq!(parsed["run_id"].as_str(), Some(payload.run.run.as_str()));
    assert_eq!(payload.events.len() + payload.heartbeats + payload.rejected.len(), messages.len());
    let counter = integer(&parsed["counters"]["message_counter"]);
    let first = counter.map_or(0, |counter| counter - messages.len() as i64);
    for event in &payload.events {
        let header = Header::parse(&event.header).expect("events have headers");
        let sequence = header.sequence.expect("events have sequences").0;
        let message = &messages[usize::try_from(sequence - first).expect("a place in the payload")];
        assert_eq!(message["content"].as_str().map(str::as_bytes), Some(&event.value[..]));
        assert_eq!(integer(&message["generated_at"]), header.generated_at.map(|it| it.0));
    }
}

/// To the other parser -0 is no integer.
fn integer(value: &serde_json::Value) -> Option<i64> {
    value.as_i64().or_else(|| (value.as_f64() == Some(0.0)).then_some(0))
}

/// Redaction may make an event too large, and changes nothing else of what becomes of a payload.
fn redacts_without_losing_count(body: &[u8]) {
    let kept = decode(body, ReceivedAt(1), LIMITS);
    let redacted = decode_redacted(body, ReceivedAt(1), LIMITS, &Redaction::default());
    let (Ok(kept), Ok(redacted)) = (&kept, &redacted) else { return assert_eq!(kept.is_ok(), redacted.is_ok()) };
    let count = |it: &Payload| (it.run.clone(), it.heartbeats, it.events.len() + it.rejected.len());
    assert_eq!(count(kept), count(redacted));
    if redacted.redacted == 0 {
        assert_eq!((&kept.events, &kept.rejected), (&redacted.events, &redacted.rejected));
    }
}

/// Sent again while nothing has changed, a rejected message is rejected again, for the same reason.
fn replays_to_itself(payload: &Payload, rejected: &Rejected) {
    let letter = DeadLetter {
        job_name: Some(payload.run.job.to_string()),
        run_id: Some(payload.run.run.to_string()),
        instance_id: payload.instance_id.clone(),
        sequence: Some(rejected.sequence),
        truncated_from: rejected.truncated_from.map(|bytes| bytes as u64),
        value: rejected.raw.clone(),
        ..DeadLetter::new(Kind::Message, rejected.reason.as_str(), "", ReceivedAt(1))
    };
    let Ok(replay) = letter.replay() else { return };
    let again = decode(&replay.body, ReceivedAt(1), LIMITS).expect("a replay is a payload");
    assert_eq!(again.run, payload.run);
    assert_eq!(again.rejected.len(), 1);
    assert_eq!((again.rejected[0].reason, again.rejected[0].sequence), (rejected.reason, rejected.sequence));
}
