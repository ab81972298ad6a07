//! Reading a journal that another process writes.

use std::sync::Arc;
use std::time::Duration;

use super::simulated::Simulated;
use super::{at, garbage, open, open_wide, publish, read_from, records};
use crate::local::follower::Follower;
use crate::local::segment::file_name;
use crate::local::subscriber::{Source, Subscriber};
use crate::local::{Retention, open_reader};
use crate::{Error, Subscriber as _};

fn follow(disk: &Simulated) -> Result<Subscriber, Error> {
    let storage = Arc::new(disk.clone());
    Subscriber::new(storage.clone(), Source::Files(Follower::new(storage)?))
}

#[test]
fn an_unfinished_frame_is_not_yet_there_and_is_left_alone() {
    let written = Simulated::default();
    let local = open_wide(&written).unwrap();
    publish(&local, records(0..2)).unwrap();
    let begun = written.bytes(&file_name(0)).len();
    publish(&local, records(2..5)).unwrap();
    let whole = written.bytes(&file_name(0));

    let disk = Simulated::default();
    disk.put(&file_name(0), whole[..begun].to_vec());
    let mut reader = follow(&disk).unwrap();
    assert_eq!(read_from(&mut reader, 0).unwrap().len(), 2);
    for len in begun..whole.len() {
        for rest in [0, whole.len() - len] {
            // Not yet written, or its pages not yet all there.
            let bytes = [&whole[..len], &vec![0; rest]].concat();
            disk.overwrite(&file_name(0), bytes.clone());
            assert_eq!(reader.next(Duration::ZERO).unwrap(), [], "{len} bytes");
            assert_eq!(reader.extents().unwrap()[0].end, 2);
            assert_eq!(disk.bytes(&file_name(0)), bytes);
        }
    }
    disk.overwrite(&file_name(0), whole);
    assert_eq!(reader.next(Duration::ZERO).unwrap().len(), 3);
}

#[test]
fn new_frames_and_segments_are_seen_as_they_come() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    let mut reader = follow(&disk).unwrap();
    reader.seek(at(0)).unwrap();
    for n in 0..30 {
        publish(&local, records(n * 2..n * 2 + 2)).unwrap();
        // Behind at times, so that several segments come at once.
        if n % 7 != 0 {
            continue;
        }
        let mut entries = Vec::new();
        while entries.last().is_none_or(|it: &crate::Entry| it.offset < n as u64 * 2 + 1) {
            entries.extend(reader.next(Duration::from_secs(1)).unwrap());
        }
        let first = entries[0].offset as usize;
        let read: Vec<_> = entries.into_iter().map(|it| it.record).collect();
        assert_eq!(read, records(first..n * 2 + 2));
    }
    assert!(disk.names().len() > 4);
}

#[test]
fn a_reader_of_deleted_segments_is_out_of_range() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    (0..20).for_each(|n| drop(publish(&local, records(n * 2..n * 2 + 2)).unwrap()));
    let mut reader = follow(&disk).unwrap();
    reader.seek(at(0)).unwrap();
    let start =
        local.retain(Retention { max_bytes: Some(0), max_age: None }, 40, std::time::SystemTime::now()).unwrap();
    assert!(start > 2);
    let error = reader.next(Duration::ZERO).unwrap_err();
    assert!(matches!(error, Error::OutOfRange { wanted: 0, end: 40, .. }), "{error}");
    assert_eq!(read_from(&mut reader, start).unwrap().len(), 40 - start as usize);
}

#[test]
fn damage_is_not_taken_for_an_unfinished_frame() {
    let disk = Simulated::default();
    let local = open_wide(&disk).unwrap();
    publish(&local, records(0..2)).unwrap();
    let mut reader = follow(&disk).unwrap();
    reader.seek(at(2)).unwrap();
    let whole = disk.bytes(&file_name(0));
    publish(&local, records(2..4)).unwrap();
    let frame = disk.bytes(&file_name(0))[whole.len()..].to_vec();
    disk.overwrite(&file_name(0), [whole, garbage(10), frame].concat());
    let error = reader.next(Duration::ZERO).unwrap_err();
    assert!(matches!(&error, Error::Damaged(why) if why.contains(" at byte ")), "{error}");
}

#[test]
fn a_directory_without_a_journal_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_reader(&dir.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    let mut empty = open_reader(dir.path()).unwrap();
    assert_eq!(read_from(&mut empty, 0).unwrap(), []);
    let local = crate::local::Local::open(dir.path(), super::options(), super::metrics()).unwrap();
    publish(&local, records(0..1)).unwrap();
    assert_eq!(empty.next(Duration::from_secs(60)).unwrap().len(), 1);
}
