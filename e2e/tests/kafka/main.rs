//! Emberlog as three processes on a real Kafka: the tests of one process, and those that only Kafka needs. All share one
//! broker; each has topics of its own.
#![allow(clippy::unwrap_used)]

#[path = "../bad_input/main.rs"]
mod bad_input;
#[path = "../dead_letters.rs"]
mod dead_letters;
#[path = "../deletion.rs"]
mod deletion;
#[path = "../delight.rs"]
mod delight;
mod expiry;
#[path = "../export.rs"]
mod export;
mod halts;
#[path = "../import.rs"]
mod import;
#[path = "../kills.rs"]
mod kills;
#[path = "../names.rs"]
mod names;
#[path = "../ndjson.rs"]
mod ndjson;
#[path = "../operation.rs"]
mod operation;
mod processes;
#[path = "../rebuild.rs"]
mod rebuild;
#[path = "../recorded.rs"]
mod recorded;
#[path = "../redaction.rs"]
mod redaction;
#[path = "../security/main.rs"]
mod security;
#[path = "../ship.rs"]
mod ship;
mod spark;
