//! Starts, rebuilds and changes of generation, on a journal in memory.
#![allow(clippy::unwrap_used)]

mod gone;
mod halts;
mod rebuild;
mod support;
