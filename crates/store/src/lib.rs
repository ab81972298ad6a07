//! What is kept of every run, on RocksDB: events in the order of their run, and records derived from them.
//!
//! One [`Writer`] owns a store; any number of [`Reader`]s see it, each answer from one [`View`], in the writer's
//! process or through a [`Secondary`] in another.
//! Keys are in `table`, one file a kind; derived records in `fold`, one folder for all of them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod database;
mod fold;
mod gate;
pub mod generation;
pub mod metrics;
mod reader;
mod reclaim;
pub mod secondary;
mod table;
mod whole;
mod writer;

pub use check::{Checked, check};
pub use database::{Options, rocksdb_options};
pub use fold::chronicle::{Chronicle, Missing};
pub use fold::fold;
pub use fold::run::{Arrival, Run, Samples};
pub use fold::spans::Spans;
pub use fold::summary::{Application, Summary};
pub use reader::{Events, Line, Reader, RunCursor, RunEntry, View};
pub use secondary::Secondary;
pub use table::applied::Applied;
pub use table::gone::{Cause, Gone};
pub use table::run::RunNumber;
pub use writer::{Batch, Writer};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("RocksDB: {0}")]
    RocksDb(#[from] rocksdb::Error),
    #[error("{path}: {source}")]
    Io { path: std::path::PathBuf, source: std::io::Error },
    #[error("the store is damaged: {0}")]
    Damaged(String),
    #[error("the store has format {found}; this program reads format {expected}: rebuild it")]
    Format { found: String, expected: &'static str },
    #[error("another process holds {0}")]
    Locked(std::path::PathBuf),
    #[error("there is nothing to read yet: {0}")]
    NotYet(String),
    #[error("for {shut:.1?} no whole view of the store could be taken")]
    NoView { shut: std::time::Duration },
    #[error("two runs share the hash {hash}: {first} and {second}")]
    Collision { hash: event::RunHash, first: String, second: String },
}

impl Error {
    /// A full disk is emptied, a slow one recovers; damaged blocks stay damaged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RocksDb(error) => error.kind() != rocksdb::ErrorKind::Corruption,
            Self::Io { .. } => true,
            _ => false,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
