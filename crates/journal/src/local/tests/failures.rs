//! Budgets, a full disk, a failed fsync.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::simulated::Simulated;
use super::{at, large, metrics, open, open_wide, options, publish, read, record, records, wait};
use crate::local::{Local, Options};
use crate::{Error, Publisher, Subscriber};

#[test]
fn over_the_budget_a_publication_is_refused_at_once_and_the_bytes_come_back() {
    let disk = Simulated::default();
    let options = Options { max_bytes_in_flight: 10_000, ..options() };
    let local = Local::open_on(Arc::new(disk.clone()), options, metrics(), None).unwrap();
    let publisher = local.publisher();
    disk.lock().hold_sync = true;
    // Alone, one may be larger than the budget.
    let first = publisher.publish(vec![large(20_000)]);
    assert!(matches!(wait(publisher.publish(records(0..1))), Err(Error::Overloaded)));
    disk.release_sync();
    wait(first).unwrap();
    disk.lock().hold_sync = true;
    let second = publisher.publish(vec![large(5_000)]);
    let third = publisher.publish(vec![large(4_000)]);
    assert!(matches!(wait(publisher.publish(vec![large(2_000)])), Err(Error::Overloaded)));
    disk.release_sync();
    wait(second).unwrap();
    wait(third).unwrap();
    assert_eq!(wait(publisher.publish(vec![large(5_000)])).unwrap(), [at(3)]);
}

#[test]
fn what_waits_for_one_fsync_goes_into_the_next_frame_together() {
    let disk = Simulated::default();
    let local = open_wide(&disk).unwrap();
    let publisher = local.publisher();
    disk.lock().hold_sync = true;
    let begun: Vec<_> = (0..20).map(|n| publisher.publish(records(n * 2..n * 2 + 2))).collect();
    let before = disk.lock().syncs;
    disk.release_sync();
    for (n, publication) in begun.into_iter().enumerate() {
        assert_eq!(wait(publication).unwrap(), [at(n as u64 * 2 + 1)]);
    }
    assert!(disk.lock().syncs - before <= 2, "{} syncs", disk.lock().syncs - before);
    assert_eq!(read(&local).unwrap(), records(0..40));
}

#[test]
fn a_publication_longer_than_a_frame_is_acknowledged_as_a_whole() {
    let disk = Simulated::default();
    let metrics = metrics();
    let local = Local::open_on(Arc::new(disk.clone()), Options::default(), metrics.clone(), None).unwrap();
    let all: Vec<_> = (0..12).map(|n| large(2_000_000 + n)).collect();
    assert_eq!(publish(&local, all.clone()).unwrap(), [at(11)]);
    assert!(metrics.frames.get() >= 3);
    assert!(read(&local).unwrap() == all);
}

#[test]
fn a_publisher_that_goes_away_takes_nothing_back() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    disk.lock().hold_sync = true;
    drop(local.publisher().publish(records(0..2)));
    disk.release_sync();
    assert_eq!(publish(&local, records(2..3)).unwrap(), [at(2)]);
    assert_eq!(read(&local).unwrap(), records(0..3));
}

#[test]
fn a_reader_gets_nothing_that_is_not_yet_synced() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    let mut subscriber = local.subscriber().unwrap();
    subscriber.seek(at(0)).unwrap();
    disk.lock().hold_sync = true;
    let publisher = local.publisher();
    let publication = publisher.publish(records(0..2));
    assert_eq!(subscriber.next(Duration::from_millis(100)).unwrap(), []);
    assert_eq!(subscriber.extents().unwrap()[0].end, 0);
    assert!(subscriber.seek(at(1)).is_err());
    disk.release_sync();
    wait(publication).unwrap();
    assert_eq!(subscriber.next(Duration::ZERO).unwrap().len(), 2);
}

#[test]
fn a_failed_fsync_ends_it_for_everybody_and_is_never_tried_again() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    publish(&local, records(0..2)).unwrap();
    let mut subscriber = local.subscriber().unwrap();
    subscriber.seek(at(0)).unwrap();
    disk.lock().fail_sync = true;
    assert!(matches!(publish(&local, records(2..4)), Err(Error::Fatal(_))));
    let calls = disk.lock().calls;
    disk.lock().fail_sync = false;
    assert!(matches!(publish(&local, records(2..4)), Err(Error::Fatal(_))));
    assert!(matches!(wait(local.failed()), Error::Fatal(_)));
    assert_eq!(disk.lock().calls, calls);
    // A reader gets what was durable before, and then learns of it, at once.
    assert_eq!(subscriber.next(Duration::from_secs(60)).unwrap().len(), 2);
    assert!(matches!(subscriber.next(Duration::from_secs(60)), Err(Error::Fatal(_))));
}

#[test]
fn on_a_full_disk_publications_fail_and_go_on_when_there_is_space() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    let mut acknowledged = Vec::new();
    // Whatever it is that there is no space for: a frame, part of it, the next segment.
    for space in (0..200).chain([10_000]) {
        disk.lock().space = Some(space);
        let next = record(space);
        match publish(&local, vec![next.clone()]) {
            Ok(_) => acknowledged.push(next),
            Err(e) => assert!(matches!(e, Error::Unavailable(_)), "{e}"),
        }
    }
    assert!(acknowledged.len() > 20 && acknowledged.len() < 180, "{}", acknowledged.len());
    assert_eq!(read(&local).unwrap(), acknowledged);
    drop(local);
    assert_eq!(read(&open(&disk.after_power_cut(super::simulated::Unsynced::Half)).unwrap()).unwrap(), acknowledged);
}

#[test]
fn a_segment_that_cannot_be_cut_back_after_a_failed_write_is_fatal() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    disk.lock().space = Some(5);
    disk.lock().fail_truncate = true;
    assert!(matches!(publish(&local, records(0..1)), Err(Error::Fatal(_))));
}

#[test]
fn a_segment_that_may_or_may_not_have_been_renamed_is_fatal() {
    for (kind, fatal) in [(ErrorKind::StorageFull, false), (ErrorKind::Other, true)] {
        let disk = Simulated::default();
        let local = open(&disk).unwrap();
        disk.lock().fail_rename = Some(kind);
        let error = (0..10).find_map(|n| publish(&local, records(n * 3..n * 3 + 3)).err()).unwrap();
        assert_eq!(matches!(error, Error::Fatal(_)), fatal, "{error}");
    }
}
