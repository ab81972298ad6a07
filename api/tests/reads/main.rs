//! Reads over real HTTP from a real store. One program, since each links RocksDB.
#![allow(clippy::unwrap_used)]

mod duration;
mod events;
mod ingest;
mod lists;
mod metrics;
mod names;
mod samples;
mod secondary;
mod support;
mod wait;
