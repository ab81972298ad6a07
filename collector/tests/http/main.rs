//! The collector over HTTP.
#![allow(clippy::unwrap_used)]

mod accept;
mod redact;
mod refuse;
mod support;
