//! The collector over HTTP.
#![allow(clippy::unwrap_used)]

mod accept;
mod refuse;
mod support;
