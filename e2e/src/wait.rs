//! Waiting for what must come, with a deadline that a busy machine does not reach.

use std::time::{Duration, Instant};

/// More than anything here takes on two processors that others use too.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until there is an answer.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for: {what}");
        pause();
    }
}

/// Between two questions.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
