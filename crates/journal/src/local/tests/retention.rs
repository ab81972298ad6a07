use std::time::{Duration, SystemTime};

use super::simulated::{Simulated, Unsynced};
use super::{at, open, publish, read_from, records};
use crate::local::segment::base_of;
use crate::local::{Local, Retention};
use crate::{Error, Subscriber};

const ALL: Retention = Retention { max_bytes: Some(0), max_age: None };

/// 40 records in several segments.
fn journal() -> (Simulated, Local, Vec<u64>) {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    (0..20).for_each(|n| drop(publish(&local, records(n * 2..n * 2 + 2)).unwrap()));
    let bases: Vec<u64> = disk.names().iter().filter_map(|it| base_of(it)).collect();
    assert!(bases.len() > 4, "{bases:?}");
    (disk, local, bases)
}

#[test]
fn only_whole_segments_below_what_was_applied_are_deleted() {
    let (disk, local, bases) = journal();
    let now = SystemTime::now();
    assert_eq!(local.retain(ALL, 0, now).unwrap(), 0);
    assert_eq!(local.retain(ALL, bases[1] - 1, now).unwrap(), 0);
    assert_eq!(local.retain(ALL, bases[1], now).unwrap(), bases[1]);
    assert_eq!(local.retain(ALL, bases[3] + 1, now).unwrap(), bases[3]);
    assert_eq!(disk.names().len(), bases.len() - 3);
    assert_eq!(local.retain(ALL, u64::MAX, now).unwrap(), *bases.last().unwrap());
    assert_eq!(publish(&local, records(40..41)).unwrap(), [at(40)]);
}

#[test]
fn by_default_everything_is_kept() {
    let (_, local, _) = journal();
    let later = SystemTime::now() + Duration::from_secs(1 << 30);
    assert_eq!(local.retain(Retention::default(), u64::MAX, later).unwrap(), 0);
}

#[test]
fn bytes_and_age_bound_what_is_kept() {
    let (disk, local, bases) = journal();
    let now = SystemTime::now();
    let size = |disk: &Simulated| disk.names().iter().map(|it| disk.bytes(it).len() as u64).sum::<u64>();
    let max = size(&disk) - 1;
    let start = local.retain(Retention { max_bytes: Some(max), max_age: None }, u64::MAX, now).unwrap();
    assert_eq!((start, size(&disk) <= max), (bases[1], true));
    let week = Retention { max_bytes: None, max_age: Some(Duration::from_secs(7 * 86_400)) };
    assert_eq!(local.retain(week, u64::MAX, now).unwrap(), bases[1]);
    let later = now + Duration::from_secs(8 * 86_400);
    assert_eq!(local.retain(week, u64::MAX, later).unwrap(), *bases.last().unwrap());
}

#[test]
fn who_reads_or_seeks_what_was_deleted_is_out_of_range() {
    let (_, local, bases) = journal();
    let mut early = local.subscriber().unwrap();
    early.seek(at(1)).unwrap();
    let start = local.retain(ALL, bases[2], SystemTime::now()).unwrap();
    for error in [early.next(Duration::ZERO).unwrap_err(), early.seek(at(start - 1)).unwrap_err()] {
        assert!(matches!(error, Error::OutOfRange { start: s, end: 40, .. } if s == start), "{error}");
    }
    assert_eq!(early.extents().unwrap()[0].start, start);
    assert_eq!(read_from(&mut early, start).unwrap().len(), 40 - start as usize);
}

#[test]
fn a_power_cut_while_deleting_leaves_no_hole() {
    for cut in 0.. {
        let (disk, local, bases) = journal();
        let calls = disk.lock().calls;
        disk.lock().cut_at = Some(calls + cut);
        let done = local.retain(ALL, u64::MAX, SystemTime::now()).is_ok();
        drop(local);
        let again = open(&disk.after_power_cut(Unsynced::Dropped)).unwrap();
        let mut subscriber = again.subscriber().unwrap();
        let start = subscriber.extents().unwrap()[0].start;
        assert!(bases.contains(&start));
        assert_eq!(read_from(&mut subscriber, start).unwrap().len(), 40 - start as usize);
        if done {
            assert_eq!(start, *bases.last().unwrap());
            break;
        }
    }
}

#[test]
fn an_old_segment_is_followed_by_another_however_small_it_is() {
    let disk = Simulated::default();
    let options = crate::local::Options { segment_age: Duration::from_millis(20), ..Default::default() };
    let local = Local::open_on(std::sync::Arc::new(disk.clone()), options, super::metrics(), None).unwrap();
    publish(&local, records(0..1)).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    publish(&local, records(1..2)).unwrap();
    assert!(disk.names().len() >= 2);
}

#[test]
fn an_old_segment_ends_without_another_record_and_can_be_deleted() {
    let disk = Simulated::default();
    let options = crate::local::Options { segment_age: Duration::from_millis(20), ..Default::default() };
    let local = Local::open_on(std::sync::Arc::new(disk.clone()), options, super::metrics(), None).unwrap();
    publish(&local, records(0..1)).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    local.end_old_segment();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while local.retain(ALL, u64::MAX, SystemTime::now()).unwrap() != 1 {
        assert!(std::time::Instant::now() < deadline, "{:?}", disk.names());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(publish(&local, records(1..2)).unwrap(), [at(1)]);
}

#[test]
fn what_is_made_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("above").join("journal");
    let local = Local::open(&dir, crate::local::Options::default(), super::metrics()).unwrap();
    publish(&local, records(0..1)).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in dir.read_dir().unwrap().map(|it| it.unwrap()).filter(|it| it.file_name() != "lock") {
        assert_eq!(mode(&file.path()), 0o600, "{:?}", file.file_name());
    }
}
