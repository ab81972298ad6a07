//! Reading a store that another process writes to, as a RocksDB secondary instance.
//!
//! One thread catches up at a fixed interval; what it serves between two catch-ups are whole views only. It waits for
//! a store that is not there yet, and follows a writer that opened it again and a change of generation by itself.

mod followed;
mod follower;
mod metrics;
#[cfg(test)]
mod tests;
mod trouble;
#[cfg(test)]
pub(crate) mod truth;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::metrics::Metrics;
use crate::gate::Gate;
use crate::generation::{self, Held};
use crate::{Error, Reader, Result};
use follower::Follower;

#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the store, which holds its generations.
    pub store: PathBuf,
    /// A folder of its own: for a lock and for what RocksDB logs. No two processes can share it.
    pub dir: PathBuf,
    pub database: crate::Options,
    /// Between the end of a catch-up and the beginning of the next.
    pub interval: Duration,
    /// How long a store that has taken the place of another may be applied less far than that one was, until it is served
    /// all the same: then a person has accepted that something is lost.
    pub behind: Duration,
    /// How long a view may be missing until reads that wait for one fail with [`Error::NoView`].
    pub patience: Duration,
}

impl Options {
    pub fn new(store: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            dir: dir.into(),
            database: crate::Options::default(),
            interval: Duration::from_millis(25),
            behind: Duration::from_secs(60),
            patience: Duration::from_secs(2),
        }
    }
}

/// Whether reads are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Why not, for a person.
    NotReady(String),
}

/// Follows a store until it is dropped. Readers outlive it, on its last view.
#[derive(Debug)]
pub struct Secondary {
    reader: Reader,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _held: Held,
}

impl Secondary {
    /// Begins to follow; the store need not be there yet. `told` hears of each change of readiness, the first
    /// included, from the following thread.
    ///
    /// Fails with [`Error::Locked`] if another process uses `options.dir`.
    pub fn start(options: Options, metrics: Metrics, told: impl FnMut(Readiness) + Send + 'static) -> Result<Self> {
        fs::create_dir_all(&options.dir).map_err(|source| Error::Io { path: options.dir.clone(), source })?;
        let held = generation::lock(&options.dir.join("SECONDARY.LOCK"))?;
        let why = format!("{} was not opened yet", options.store.display());
        let gate = Arc::new(Gate::to_nothing(why, options.patience));
        let reader = Reader::through(gate.clone());
        let interval = options.interval;
        let mut follower = Follower::new(options, gate, metrics, Box::new(told));
        let (stop, stopped) = mpsc::channel::<()>();
        let follow = move || {
            loop {
                let pause = follower.turn().unwrap_or(interval);
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("secondary".into()).spawn(follow);
        let thread = thread.map_err(|source| Error::Io { path: "a thread".into(), source })?;
        Ok(Self { reader, stop: Some(stop), thread: Some(thread), _held: held })
    }

    /// A reader of what is served, across generations.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }
}

impl Drop for Secondary {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the store panicked");
        }
    }
}
