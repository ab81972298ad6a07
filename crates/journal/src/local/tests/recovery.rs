//! Torn tails are cut off, damage stops.

use std::time::Duration;

use super::simulated::Simulated;
use super::{garbage, open, open_wide, publish, read, read_from, record, records};
use crate::local::Local;
use crate::local::segment::{SegmentHeader, file_name};
use crate::{Error, Record, Subscriber};

const FIRST: u64 = 0;

/// A journal of three publications in one segment, and where the last of their frames begins.
fn journal() -> (Simulated, usize) {
    let disk = Simulated::default();
    let local = open_wide(&disk).unwrap();
    publish(&local, records(0..2)).unwrap();
    publish(&local, records(2..5)).unwrap();
    let tail = disk.bytes(&file_name(FIRST)).len();
    publish(&local, records(5..9)).unwrap();
    drop(local);
    (disk, tail)
}

/// The journal opens with its first `count` records, and goes on.
fn goes_on(disk: &Simulated, count: usize, what: &str) {
    let local = open_wide(disk).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(read(&local).unwrap(), records(0..count), "{what}");
    publish(&local, vec![record(count)]).unwrap();
    drop(local);
    let local = open_wide(disk).unwrap();
    assert_eq!(read(&local).unwrap(), records(0..count + 1), "{what}");
}

#[test]
fn a_cut_at_every_byte_of_the_tail_opens_with_all_that_came_before() {
    let (disk, tail) = journal();
    let whole = disk.bytes(&file_name(FIRST));
    for len in tail..=whole.len() {
        let disk = disk.copy();
        disk.put(&file_name(FIRST), whole[..len].to_vec());
        goes_on(&disk, if len == whole.len() { 9 } else { 5 }, &format!("cut at {len}"));
    }
}

#[test]
fn a_flipped_byte_in_the_last_frame_is_a_torn_tail() {
    let (disk, tail) = journal();
    let whole = disk.bytes(&file_name(FIRST));
    for at in tail..whole.len() {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        disk.put(&file_name(FIRST), bytes);
        goes_on(&disk, 5, &format!("flipped at {at}"));
    }
}

#[test]
fn what_is_appended_and_no_frame_is_a_torn_tail() {
    let (disk, _) = journal();
    let whole = disk.bytes(&file_name(FIRST));
    let (other, _) = journal();
    let foreign = other.bytes(&file_name(FIRST))[SegmentHeader::LEN..].to_vec();
    for tail in [garbage(1), garbage(5000), vec![0; 4096], b"EMFR".to_vec(), garbage(3 << 20), foreign] {
        let disk = disk.copy();
        disk.put(&file_name(FIRST), [whole.clone(), tail.clone()].concat());
        goes_on(&disk, 9, &format!("{} bytes appended", tail.len()));
    }
}

/// An error that is met by going on, too.
fn read_twice(local: &Local) -> Result<Vec<Record>, Error> {
    let mut subscriber = local.subscriber()?;
    let first = read_from(&mut subscriber, 0);
    let again = subscriber.next(Duration::ZERO);
    assert_eq!(first.is_err(), again.is_err());
    first.map(|all| all.into_iter().map(|it| it.record).collect())
}

fn is_damaged(disk: &Simulated, name: &str, what: &str) {
    let error = open(disk).and_then(|it| read_twice(&it)).err();
    let Some(Error::Damaged(why)) = &error else { panic!("{what}: {error:?}") };
    assert!(why.contains(name) && why.contains(" at byte "), "{what}: {why}");
}

#[test]
fn a_flipped_byte_before_the_last_frame_is_damage_and_is_named() {
    let (disk, tail) = journal();
    let name = file_name(FIRST);
    let whole = disk.bytes(&name);
    for at in 0..tail {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        disk.put(&name, bytes);
        is_damaged(&disk, &name, &format!("flipped at {at}"));
    }
}

#[test]
fn a_frame_behind_broken_bytes_is_found_wherever_it_stands() {
    let (disk, tail) = journal();
    let name = file_name(FIRST);
    let whole = disk.bytes(&name);
    let frame = &whole[tail..];
    for gap in (0..40).map(|it| (1 << 20) - it).chain([1, 100, 5 << 20]) {
        let disk = disk.copy();
        disk.put(&name, [&whole[..tail], &garbage(gap), frame].concat());
        is_damaged(&disk, &name, &format!("{gap} bytes before the last frame"));
    }
}

/// A segment is left only when it is durable: what it lacks is damage, whatever the place.
#[test]
fn a_segment_that_is_followed_by_another_has_no_torn_tail() {
    let disk = Simulated::default();
    let local = open(&disk).unwrap();
    (0..6).for_each(|n| drop(publish(&local, records(n * 3..n * 3 + 3)).unwrap()));
    drop(local);
    let names = disk.names();
    assert!(names.len() > 2, "{names:?}");
    let first = disk.bytes(&names[0]);
    for at in 0..first.len() {
        let flipped = disk.copy();
        let mut bytes = first.clone();
        bytes[at] ^= 0x20;
        flipped.put(&names[0], bytes);
        is_damaged(&flipped, &names[0], &format!("flipped at {at}"));

        let cut = disk.copy();
        cut.put(&names[0], first[..at].to_vec());
        is_damaged(&cut, &names[0], &format!("cut at {at}"));
    }
    let longer = disk.copy();
    longer.put(&names[0], [first, garbage(10)].concat());
    is_damaged(&longer, &names[0], "garbage appended");

    let missing = disk.copy();
    crate::local::storage::Storage::remove(&missing, &names[1]).unwrap();
    is_damaged(&missing, &names[0], "the next segment is missing");
}

#[test]
fn a_directory_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let open = || crate::local::Local::open(dir.path(), super::options(), super::metrics());
    let first = open().unwrap();
    let error = open().unwrap_err();
    assert!(matches!(&error, Error::InUse(path) if path == dir.path()), "{error}");
    let publisher = first.publisher();
    drop(first);
    let again = open().unwrap();
    assert!(matches!(super::wait(crate::Publisher::publish(&publisher, records(0..1))), Err(Error::Unavailable(_))));
    publish(&again, records(0..1)).unwrap();
}
