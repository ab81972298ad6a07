//! Faults of processes and brokers, each cluster a test's own. `EMBERLOG_E2E_FAULTS` says how many of the random ones.
#![allow(clippy::unwrap_used)]

mod away;
mod disks;
mod kills;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::ledger::Ledger;
use e2e::parts::{check, rebuild};
use e2e::process::said;
use e2e::topic::Topic;

/// Of those that measure or load much, one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that was ever sent is stored, once, and a store that lived through faults is the one that the topic makes at one go.
fn assert_is_what_the_topic_holds(data: &Path, topic: &Topic, ledger: &Ledger) {
    let (count, before) = (ledger.count(), check(data));
    assert_eq!((count.sent, count.acknowledged), (count.served, count.served));
    assert_eq!((&before["events"], &before["runs"]), (&count.served.into(), &count.runs.into()));
    let rebuilt = rebuild(data, topic, "topic", &[]).output().unwrap();
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    assert_eq!(check(data)["digest"], before["digest"]);
}
