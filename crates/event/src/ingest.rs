//! Decodes a body of `POST /v1/ingest/{job}/{run}`: one event a line.
//!
//! The line i, from 0, has the sequence `first_sequence + i`. A line of nothing but space is none: it is skipped, and
//! takes no sequence, so that a client that counts the events it sends is always right. `\r\n` ends a line too.
//! A line that cannot be stored is rejected and keeps its sequence; if none can of a body that begins a run or an attempt, it is
//! refused.

use bytes::Bytes;

use crate::collect::{Error, Limits, Payload};
use crate::lines::{self, Plan};
use crate::{GeneratedAt, Header, Instance, Kind, Protocol, ReceivedAt, Redaction, RunName, Sequence};

/// Attempts go from 0 to this.
pub const MAX_ATTEMPT: u32 = i32::MAX as u32;

/// What the request says besides its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub run: RunName,
    pub first_sequence: i64,
    pub attempt: u32,
}

/// The place of an attempt's events among those of other attempts: its number.
pub fn order_of(attempt: u32) -> i64 {
    attempt.into()
}

/// Whether an order is the number of an attempt, and no time: none of Spark's is as early as the last attempt, in January 1970.
pub fn is_attempt(order: i64) -> bool {
    (0..=i64::from(MAX_ATTEMPT)).contains(&order)
}

/// Whose sequences those of an attempt are. The first attempt shares its own with agents that name none.
pub fn instance_of(attempt: u32) -> Option<Instance> {
    (attempt != 0).then(|| Instance::of_attempt(attempt))
}

/// Decodes the decompressed body of one request.
pub fn decode(
    body: &Bytes,
    target: Target,
    received_at: ReceivedAt,
    limits: Limits,
    redaction: &Redaction,
) -> Result<Payload, Error> {
    if target.first_sequence < 0 {
        return Err(Error::FirstSequence);
    }
    let Target { run, first_sequence, attempt } = target;
    let template = Header {
        kind: Kind::Event,
        protocol: Protocol::Ingest,
        generated_at: (attempt != 0).then(|| GeneratedAt(order_of(attempt))),
        sequence: None,
        identity: None,
        received_at,
        instance: instance_of(attempt),
    };
    let plan = Plan { run, template, first: Sequence(first_sequence), skips_blank: true, limits, redaction };
    let payload = lines::decode(body, plan)?;
    match payload.rejected.first() {
        // Who begins so sends no events at all. Who goes on has come to bad lines, at the end of a log for example.
        Some(first) if payload.events.is_empty() && first_sequence == 0 => {
            Err(Error::NoGoodLine { first: first.detail.clone() })
        }
        None if payload.events.is_empty() => Err(Error::Empty),
        _ => Ok(payload),
    }
}

#[cfg(test)]
mod tests;
