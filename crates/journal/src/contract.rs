//! What every journal must do, as tests that each implementation runs on itself.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::{Entry, Error, Extent, Position, Publisher, Record, Subscriber, partition};

/// A journal that begins empty and can be opened again.
pub trait Backend {
    /// The two ends of it. What was opened before is closed first, and forgotten by the caller.
    fn open(&mut self) -> (Arc<dyn Publisher>, Box<dyn Subscriber>);
    fn partitions(&self) -> u32;
}

pub type Case = fn(&mut dyn Backend);

/// Each needs a backend of its own.
pub const CASES: [(&str, Case); 14] = [
    ("an_empty_journal_has_empty_extents", an_empty_journal_has_empty_extents),
    ("an_empty_publication_is_acknowledged_with_no_position", an_empty_publication_is_acknowledged_with_no_position),
    ("offsets_are_dense_and_in_order", offsets_are_dense_and_in_order),
    ("what_was_acknowledged_is_there_after_reopening", what_was_acknowledged_is_there_after_reopening),
    ("any_bytes_come_back", any_bytes_come_back),
    ("large_records_come_back", large_records_come_back),
    ("seek_goes_to_any_offset", seek_goes_to_any_offset),
    ("seek_beyond_the_end_is_out_of_range", seek_beyond_the_end_is_out_of_range),
    ("nothing_is_read_before_seek", nothing_is_read_before_seek),
    ("waiting_at_the_end_takes_the_time_it_was_given", waiting_at_the_end_takes_the_time_it_was_given),
    ("a_waiting_reader_is_woken", a_waiting_reader_is_woken),
    ("batches_are_bounded", batches_are_bounded),
    ("concurrent_publications_keep_their_order", concurrent_publications_keep_their_order),
    (
        "a_publication_to_all_is_in_every_partition_behind_what_came_before",
        a_publication_to_all_is_in_every_partition_behind_what_came_before,
    ),
];

/// More than anything here takes on a machine that others use too.
const SOON: Duration = Duration::from_secs(180);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn record(key: &str, value: impl Into<Bytes>) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), header: Bytes::from_static(b"1 header"), value: value.into() }
}

fn numbered(key: &str, numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(|n| record(key, n.to_string())).collect()
}

fn publish(publisher: &Arc<dyn Publisher>, records: Vec<Record>) -> Vec<Position> {
    patiently(|| runtime().block_on(publisher.publish(records.clone())))
}

thread_local! {
    static FAILED: Cell<u32> = const { Cell::new(0) };
}

/// How many attempts have failed on this thread because a broker was silent. What was published again may be there twice.
pub fn failed_attempts() -> u32 {
    FAILED.get()
}

/// Brokers may be silent for a while.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        match attempt() {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                FAILED.set(FAILED.get() + 1);
                std::thread::sleep(Duration::from_millis(100));
            }
            result => return result.expect("an answer"),
        }
    }
}

fn seek_to_start(subscriber: &mut dyn Subscriber) -> Vec<Extent> {
    let extents = patiently(|| subscriber.extents());
    for extent in &extents {
        subscriber.seek(Position { partition: extent.partition, offset: extent.start }).expect("seek");
    }
    extents
}

fn read(subscriber: &mut dyn Subscriber, count: usize) -> Vec<Entry> {
    let deadline = Instant::now() + SOON;
    let mut entries = Vec::new();
    while entries.len() < count {
        assert!(Instant::now() < deadline, "only {} of {count} records came", entries.len());
        entries.extend(patiently(|| subscriber.next(Duration::from_millis(100))));
    }
    entries
}

fn an_empty_journal_has_empty_extents(backend: &mut dyn Backend) {
    let (_publisher, mut subscriber) = backend.open();
    let extents = seek_to_start(&mut *subscriber);
    let partitions: Vec<u32> = extents.iter().map(|it| it.partition).collect();
    assert_eq!(partitions, (0..backend.partitions()).collect::<Vec<_>>());
    assert!(extents.iter().all(|it| it.start == it.end));
    assert_eq!(patiently(|| subscriber.next(Duration::from_millis(10))), []);
}

fn an_empty_publication_is_acknowledged_with_no_position(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    assert_eq!(publish(&publisher, Vec::new()), []);
    assert!(patiently(|| subscriber.extents()).iter().all(|it| it.start == it.end));
}

fn offsets_are_dense_and_in_order(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    let start = seek_to_start(&mut *subscriber);
    let partition = partition::of_key(b"run", backend.partitions());
    let first = start[partition as usize].start;
    for part in 0..5_u32 {
        let positions = publish(&publisher, numbered("run", part * 10..part * 10 + 10));
        assert_eq!(positions, [Position { partition, offset: first + u64::from(part) * 10 + 9 }]);
    }
    let entries = read(&mut *subscriber, 50);
    for (n, entry) in entries.iter().enumerate() {
        let expected = Entry { partition, offset: first + n as u64, record: record("run", n.to_string()) };
        assert_eq!(*entry, expected);
    }
    let extents = patiently(|| subscriber.extents());
    assert_eq!(extents[partition as usize], Extent { partition, start: first, end: first + 50 });
}

fn a_publication_to_all_is_in_every_partition_behind_what_came_before(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    let extents = seek_to_start(&mut *subscriber);
    let before = partition::of_key(b"run", backend.partitions());
    publish(&publisher, numbered("run", 0..3));
    let mut positions = patiently(|| runtime().block_on(publisher.publish_to_all(record("all", "x"))));
    positions.sort_by_key(|it| it.partition);
    let offset = |extent: &Extent| extent.start + if extent.partition == before { 3 } else { 0 };
    let expected: Vec<_> = extents.iter().map(|it| Position { partition: it.partition, offset: offset(it) }).collect();
    assert_eq!(positions, expected);
    let mut copies: Vec<_> = read(&mut *subscriber, 3 + extents.len());
    copies.retain(|it| it.record == record("all", "x"));
    copies.sort_by_key(|it| it.partition);
    assert_eq!(
        copies.iter().map(|it| Position { partition: it.partition, offset: it.offset }).collect::<Vec<_>>(),
        expected
    );
}

fn what_was_acknowledged_is_there_after_reopening(backend: &mut dyn Backend) {
    let (publisher, subscriber) = backend.open();
    let partition = partition::of_key(b"run", backend.partitions());
    publish(&publisher, numbered("run", 0..100));
    drop((publisher, subscriber));
    let (publisher, mut subscriber) = backend.open();
    let positions = publish(&publisher, numbered("run", 100..101));
    let start = seek_to_start(&mut *subscriber)[partition as usize].start;
    assert_eq!(positions, [Position { partition, offset: start + 100 }]);
    let values: Vec<Bytes> = read(&mut *subscriber, 101).into_iter().map(|it| it.record.value).collect();
    let expected: Vec<Bytes> = (0..101).map(|it: u32| it.to_string().into()).collect();
    assert_eq!(values, expected);
}

fn any_bytes_come_back(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    let all: Bytes = (0..=255).cycle().take(3000).collect();
    let parts = [Bytes::new(), Bytes::from_static(b"\0"), Bytes::from_static(b"\n\r\xff\xfe"), all];
    let mut records = Vec::new();
    for header in &parts {
        for value in &parts {
            records.push(Record { key: "run".into(), header: header.clone(), value: value.clone() });
        }
    }
    seek_to_start(&mut *subscriber);
    publish(&publisher, records.clone());
    let entries = read(&mut *subscriber, records.len());
    assert_eq!(entries.into_iter().map(|it| it.record).collect::<Vec<_>>(), records);

    for key in parts.iter().filter(|it| !it.is_empty()) {
        let record = Record { key: key.clone(), header: Bytes::new(), value: Bytes::new() };
        publish(&publisher, vec![record.clone()]);
        let entry = read(&mut *subscriber, 1).remove(0);
        assert_eq!((entry.partition, entry.record), (partition::of_key(key, backend.partitions()), record));
    }
}

fn large_records_come_back(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    seek_to_start(&mut *subscriber);
    // Not to be compressed, and behind one another in one publication.
    let noise = |seed: u64, len: usize| -> Bytes {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    let records = vec![record("run", noise(1, 15_000_000)), record("run", "small"), record("run", noise(2, 9_000_000))];
    publish(&publisher, records.clone());
    let read: Vec<Record> = read(&mut *subscriber, 3).into_iter().map(|it| it.record).collect();
    assert!(read == records, "three records of 15, 0 and 9 MB");
    let result = runtime().block_on(publisher.publish(vec![record("run", vec![0; 40_000_000])]));
    assert!(matches!(result, Err(Error::RecordTooLarge { bytes: 40_000_011, .. })), "{result:?}");
}

fn seek_goes_to_any_offset(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    let partition = partition::of_key(b"run", backend.partitions());
    let start = patiently(|| subscriber.extents())[partition as usize].start;
    for part in 0..6 {
        publish(&publisher, numbered("run", part * 5..part * 5 + 5));
    }
    for offset in [0, 29, 4, 5, 17, 0] {
        subscriber.seek(Position { partition, offset: start + offset }).expect("seek");
        let entries = read(&mut *subscriber, 30 - offset as usize);
        let values: Vec<Bytes> = entries.into_iter().map(|it| it.record.value).collect();
        assert_eq!(values, (offset..30).map(|it| it.to_string().into()).collect::<Vec<Bytes>>());
    }
    subscriber.seek(Position { partition, offset: start + 30 }).expect("seek to the end");
    assert_eq!(patiently(|| subscriber.next(Duration::from_millis(50))), []);
    publish(&publisher, numbered("run", 30..31));
    assert_eq!(read(&mut *subscriber, 1)[0].offset, start + 30);
}

fn seek_beyond_the_end_is_out_of_range(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    let partition = partition::of_key(b"run", backend.partitions());
    publish(&publisher, numbered("run", 0..3));
    let Extent { start, end, .. } = patiently(|| subscriber.extents())[partition as usize];
    let result = subscriber.seek(Position { partition, offset: end + 1 });
    let Err(Error::OutOfRange { wanted, start: first, end: behind, .. }) = result else { panic!("{result:?}") };
    assert_eq!((wanted, first, behind), (end + 1, start, end));
    let result = subscriber.seek(Position { partition: backend.partitions(), offset: 0 });
    assert!(matches!(result, Err(Error::OutOfRange { .. })), "{result:?}");
}

fn nothing_is_read_before_seek(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    publish(&publisher, numbered("run", 0..3));
    assert_eq!(patiently(|| subscriber.next(Duration::from_millis(50))), []);
}

fn waiting_at_the_end_takes_the_time_it_was_given(backend: &mut dyn Backend) {
    let (_publisher, mut subscriber) = backend.open();
    seek_to_start(&mut *subscriber);
    let begin = Instant::now();
    assert_eq!(patiently(|| subscriber.next(Duration::from_millis(200))), []);
    let taken = begin.elapsed();
    assert!(taken >= Duration::from_millis(150) && taken < SOON / 2, "{taken:?}");
}

fn a_waiting_reader_is_woken(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    seek_to_start(&mut *subscriber);
    let reader = std::thread::spawn(move || {
        let entries = subscriber.next(SOON).expect("a record");
        (entries.len(), Instant::now())
    });
    std::thread::sleep(Duration::from_millis(100));
    publish(&publisher, numbered("run", 0..1));
    let acknowledged = Instant::now();
    let (count, seen) = reader.join().expect("the reader");
    assert_eq!(count, 1);
    let late = seen.saturating_duration_since(acknowledged);
    // One that nobody wakes looks when its time is over.
    assert!(late < SOON / 2, "seen {late:?} after it was acknowledged");
}

fn batches_are_bounded(backend: &mut dyn Backend) {
    let (publisher, mut subscriber) = backend.open();
    seek_to_start(&mut *subscriber);
    for _ in 0..8 {
        publish(&publisher, (0..1000).map(|_| record("run", vec![b' '; 10_000])).collect());
    }
    let mut left = 8000;
    while left > 0 {
        let batch = patiently(|| subscriber.next(SOON));
        assert!(!batch.is_empty() && batch.iter().map(|it| it.record.size()).sum::<usize>() < 40_000_000);
        left -= batch.len();
    }
    publish(&publisher, (0..60_000).map(|_| record("run", Bytes::new())).collect());
    let mut left = 60_000;
    while left > 0 {
        let batch = patiently(|| subscriber.next(SOON));
        assert!(!batch.is_empty() && batch.len() < 50_000, "{} records at once", batch.len());
        left -= batch.len();
    }
}

fn concurrent_publications_keep_their_order(backend: &mut dyn Backend) {
    const RUNS: usize = 8;
    const EACH: u32 = 200;
    let (publisher, mut subscriber) = backend.open();
    seek_to_start(&mut *subscriber);
    let keys: Vec<String> = (0..RUNS).map(|n| format!("run {n}")).collect();
    runtime().block_on(async {
        let one = |key: String| {
            let publisher = publisher.clone();
            tokio::spawn(async move {
                for part in 0..EACH / 10 {
                    publisher.publish(numbered(&key, part * 10..part * 10 + 10)).await?;
                }
                Ok(())
            })
        };
        let tasks: Vec<_> = keys.iter().cloned().map(one).collect();
        for task in tasks {
            let result: Result<(), Error> = task.await.expect("a publisher");
            FAILED.set(FAILED.get() + u32::from(result.as_ref().is_err_and(Error::is_retryable)));
            result.expect("acknowledged");
        }
    });
    let entries = read(&mut *subscriber, RUNS * EACH as usize);
    for key in &keys {
        let of_key = entries.iter().filter(|it| it.record.key == key.as_bytes());
        let values: Vec<Bytes> = of_key.map(|it| it.record.value.clone()).collect();
        assert_eq!(values, (0..EACH).map(|it| it.to_string().into()).collect::<Vec<Bytes>>());
    }
}
