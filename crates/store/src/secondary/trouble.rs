//! Something that goes wrong for a while.

use std::fmt;
use std::time::{Duration, Instant};

/// Trouble that is over sooner is not worth a line.
const SAID: Duration = Duration::from_millis(500);

/// Said once when it lasts, and once when it is over.
#[derive(Default)]
pub(super) struct Trouble(Option<Lasting>);

struct Lasting {
    since: Instant,
    reason: String,
    said: bool,
}

impl Trouble {
    pub(super) fn is(&mut self, reason: String) {
        let lasting =
            self.0.get_or_insert_with(|| Lasting { since: Instant::now(), reason: String::new(), said: false });
        lasting.reason = reason;
        if !lasting.said && lasting.since.elapsed() >= SAID {
            lasting.said = true;
            tracing::warn!(reason = lasting.reason, "the store cannot be followed; it is tried again");
        }
    }

    pub(super) fn is_over(&mut self) {
        if let Some(lasting) = self.0.take().filter(|lasting| lasting.said) {
            tracing::info!(lasted = ?lasting.since.elapsed(), "the store is followed again");
        }
    }

    pub(super) fn lasts(&self, time: Duration) -> bool {
        self.0.as_ref().is_some_and(|lasting| lasting.since.elapsed() >= time)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("it is being opened", |lasting| &lasting.reason))
    }
}
