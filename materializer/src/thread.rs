//! A materializer on a thread of its own, as the processes run it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use service::health::Condition;

use crate::{Materializer, Result, State};

#[derive(Debug)]
pub struct Thread {
    thread: JoinHandle<Result<()>>,
    stop: Arc<AtomicBool>,
}

impl Thread {
    pub fn start(materializer: Materializer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        Self { thread: std::thread::spawn(move || materializer.run(&told)), stop }
    }

    /// Ends it in order: what is under way is applied, and all of it synced.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        // Joining blocks; it lasts one batch and a sync.
        match tokio::task::spawn_blocking(|| self.thread.join()).await? {
            Ok(result) => Ok(result?),
            Err(_) => anyhow::bail!("the materializer's thread panicked"),
        }
    }
}

/// Shows the materializer's state as a condition of readiness.
pub fn shown(condition: Condition) -> Box<dyn FnMut(State<'_>) + Send> {
    let mut follows = false;
    Box::new(move |state| match state {
        State::Following => {
            follows = true;
            condition.ready();
        }
        // Once the journal is being read, what passes again is no reason to send readers away.
        State::Retrying(_) if follows => {}
        State::Retrying(error) => condition.not_ready(error.to_string()),
        State::Halted(error) => {
            follows = false;
            condition.not_ready(format!("halted: {error}"));
        }
    })
}
