//! One line on a terminal that tells how far a command is, rewritten a few times a second.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

pub struct Line {
    is_terminal: bool,
    last: Option<Instant>,
}

impl Line {
    pub fn new(is_terminal: bool) -> Self {
        Self { is_terminal, last: None }
    }

    pub fn show(&mut self, text: impl FnOnce() -> String) {
        const STEP: Duration = Duration::from_millis(250);
        if self.is_terminal && self.last.is_none_or(|last| last.elapsed() >= STEP) {
            self.last = Some(Instant::now());
            eprint!("\r\x1b[K{}", text());
            // A progress line that cannot be written is no reason to stop.
            let _ = stderr().flush();
        }
    }

    pub fn clear(&mut self) {
        if self.last.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
