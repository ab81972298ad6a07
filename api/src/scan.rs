//! Reading the events or samples of a run in order, in parts that can be put down and taken up again.

use event::{EventKey, RunHash};
use store::{Line, Reader};

use crate::error::Error;

/// Where a scan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Run,
    At(EventKey),
    After(EventKey),
}

/// What becomes of an event that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    Taken,
    /// Taken; the scan stops behind it.
    Last,
    /// Left; the scan stops before it.
    Left,
}

/// A scan of one run, or of one application of it. It holds nothing of the store between two walks.
#[derive(Debug, Clone)]
pub struct Scan {
    pub hash: RunHash,
    pub what: Line,
    pub start: Start,
    /// Where the next application begins.
    pub end: Option<EventKey>,
    /// Events that are passed over first.
    pub skip: u64,
}

impl Scan {
    /// Shows the events, from where the last walk stopped, until there are no more or the visitor stops.
    /// Returns whether there are no more.
    ///
    /// The run is looked up again each time: in a new generation of the store it has another number.
    pub fn walk(&mut self, reader: &Reader, mut visit: impl FnMut(&[u8]) -> Visit) -> Result<bool, Error> {
        reader.scan(|view| {
            let Some(run) = view.run(self.hash)? else {
                return Err(Error::Failed("a run vanished while it was read".to_owned()));
            };
            let (from, passed) = match self.start {
                Start::Run => (None, None),
                Start::At(key) => (Some(key), None),
                Start::After(key) => (Some(key), Some(key)),
            };
            let mut events = view.lines(self.what, run.number, from);
            while let Some((key, event)) = events.next()? {
                if self.end.is_some_and(|end| key >= end) {
                    break;
                }
                if passed == Some(key) {
                    continue;
                }
                if self.skip > 0 {
                    self.skip -= 1;
                    self.start = Start::After(key);
                    continue;
                }
                match visit(event) {
                    Visit::Taken => self.start = Start::After(key),
                    Visit::Last => {
                        self.start = Start::After(key);
                        return Ok(false);
                    }
                    Visit::Left => return Ok(false),
                }
            }
            Ok(true)
        })
    }

    /// The last event passed, if any.
    pub fn place(&self) -> Option<EventKey> {
        match self.start {
            Start::After(key) => Some(key),
            Start::Run | Start::At(_) => None,
        }
    }
}
