//! What every binary shares: logs, the HTTP server and its limits, errors as answers, health, metrics and an orderly end.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod problem;

pub use problem::Problem;
