//! Records derived from a run's events: `fold(record, key, event)`, plain, and independent of the order of
//! arrival, because payloads come late and shuffled. A new one is a file here and a call in [`fold`].

pub mod chronicle;
pub mod run;
pub mod spans;
pub mod summary;

use event::EventKey;

/// Folds one event, seen for the first time, into all records derived from its run.
pub fn fold(run: &mut run::Run, key: EventKey, event: &[u8]) {
    run.summary.fold(key, event);
}
