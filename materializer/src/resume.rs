//! Leads a halted materializer out: the order is left in the store's folder, and followed there.

use std::path::Path;
use std::time::{Duration, Instant};

use store::generation::Generations;

use crate::halt::{Files, Halt, Order};
use crate::{Error, Result};

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// There was nothing to lead out of.
    NotHalted,
    /// The state needs `accept_gap`, which was not given; nothing was ordered.
    NeedsAcceptance(Halt),
    /// The materializer goes on.
    Done(Halt),
    /// It has halted again.
    HaltedAgain(Halt),
    /// No materializer runs on the store; the next one follows the order at its start.
    Left(Halt),
    /// The running one has not followed it yet.
    Pending(Halt),
}

/// Orders the materializer of the store in `dir` to go on, and waits until it does.
pub fn resume(dir: &Path, order: Order, patience: Duration) -> Result<Resumed> {
    const STEP: Duration = Duration::from_millis(100);
    if !dir.is_dir() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store");
        return Err(Error::Store(store::Error::Io { path: dir.into(), source }));
    }
    let files = Files::new(dir);
    let Some(halt) = files.halted()? else { return Ok(Resumed::NotHalted) };
    if halt.needs_acceptance() && !order.accept_gap {
        return Ok(Resumed::NeedsAcceptance(halt));
    }
    files.set_order(order)?;
    if Generations::open(dir)?.hold().is_ok() {
        return Ok(Resumed::Left(halt));
    }
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        std::thread::sleep(STEP);
        if files.order()?.is_some() {
            continue;
        }
        // The reason is removed when it follows the journal again, or replaced by the next one.
        match files.halted()? {
            None => return Ok(Resumed::Done(halt)),
            Some(again) if again != halt => return Ok(Resumed::HaltedAgain(again)),
            Some(_) => {}
        }
    }
    match (files.order()?, files.halted()?) {
        (None, Some(again)) => Ok(Resumed::HaltedAgain(again)),
        (None, None) => Ok(Resumed::Done(halt)),
        (Some(_), _) => Ok(Resumed::Pending(halt)),
    }
}
