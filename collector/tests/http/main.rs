//! The collector over HTTP.
#![allow(clippy::unwrap_used)]

mod accept;
mod administration;
mod delight;
mod ingest;
mod redact;
mod refuse;
mod support;
