//! Limits and times of the collector.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Options {
    /// The largest body, as it is sent.
    pub wire_bytes: usize,
    /// The largest body, decompressed.
    pub decompressed_bytes: usize,
    /// What all requests together may hold in memory: bodies, and what they decompress and decode to.
    pub budget_bytes: usize,
    /// The largest event: what the journal takes in one record, less the room for key and header.
    pub event_bytes: usize,
    /// From the end of a body to its answer, whatever the journal does. Some agents wait for ever, and their
    /// applications' ends with them: five seconds, less what the answer's way takes.
    pub answer_within: Duration,
    /// How long a client may send nothing in the middle of a body.
    pub body_idle: Duration,
    /// How long a body may take.
    pub body_total: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wire_bytes: 32 << 20,
            decompressed_bytes: 256 << 20,
            // Room for one payload of the largest size, decompressed and decoded, and for others beside it.
            budget_bytes: 1 << 30,
            event_bytes: 16_000_000 - (64 << 10),
            answer_within: Duration::from_millis(4_500),
            body_idle: Duration::from_secs(10),
            body_total: Duration::from_secs(120),
        }
    }
}
