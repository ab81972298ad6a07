//! What must hold for any bytes that are decoded as a payload. Shared by the fuzz target (nightly) and a property test
//! of the crate `event` (stable).

use event::collect::{Limits, decode};
use event::dead_letter::{DeadLetter, Kind};
use event::{Header, ReceivedAt, spark};

const LIMITS: Limits = Limits { event_bytes: 200, rejected_bytes: 300, truncated_bytes: 50 };

pub fn hold_for(body: &[u8]) {
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
    for rejected in &payload.rejected {
        assert!(rejected.raw.len() <= LIMITS.rejected_bytes);
        replays_to_itself(&payload, rejected);
    }
}

/// Sent again while nothing has changed, a rejected message is rejected again, for the same reason.
fn replays_to_itself(payload: &event::collect::Payload, rejected: &event::collect::Rejected) {
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
