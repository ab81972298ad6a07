//! Realistic Spark events in any number, the same for the same seed: templates recorded from Spark 3.5.9, with
//! ids, times and metrics that vary as they do there.
//!
//! A [`Run`] yields the events of one application; a [`Workload`] interleaves many runs as payloads of
//! `POST /collect`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod generator;

pub use generator::{Message, Payload, Payloads, Run, Workload};
