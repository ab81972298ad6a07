//! The harness of the end-to-end tests: the real program, agents that behave as those in the field do, and a ledger
//! that judges what is served by what was sent and acknowledged.
#![allow(clippy::unwrap_used)] // A panic is how a test fails.

pub mod agent;
pub mod case;
pub mod client;
pub mod delight;
pub mod ledger;
pub mod parts;
pub mod payload;
pub mod process;
pub mod random;
pub mod recorded;
pub mod s3;
pub mod security;
pub mod server;
pub mod spark;
pub mod topic;
pub mod wait;
