//! Identities of jobs, runs and events; the record header that travels with each event;
//! what is known of Spark's events; and the decoding of every protocol.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod collect;
pub mod dead_letter;
pub mod deletion;
pub mod delight;
pub mod header;
pub mod identity;
pub mod ingest;
pub mod json;
mod lines;
pub mod name;
pub mod order;
pub mod redact;
mod sample;
pub mod spark;

pub use dead_letter::DeadLetter;
pub use deletion::Deletion;
pub use header::{Header, Instance, Kind, Protocol};
pub use identity::Identity;
pub use name::{JobName, RunHash, RunId, RunName};
pub use order::{EventKey, GeneratedAt, ReceivedAt, Sequence};
pub use redact::Redaction;
