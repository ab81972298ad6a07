//! Of the embedded journal as a whole.

mod contract;
mod failures;
mod follower;
mod format;
mod metrics;
mod power;
mod recovery;
mod retention;
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;

use super::{Local, Metrics, Options};
use crate::{Entry, Error, Position, Publisher, Record, Subscriber};
use simulated::Simulated;

fn metrics() -> Metrics {
    Metrics::register(&Registry::new(), "events").unwrap()
}

/// Small segments, unless told otherwise.
fn options() -> Options {
    Options { segment_bytes: 300, ..Options::default() }
}

fn open(disk: &Simulated) -> Result<Local, Error> {
    Local::open_on(Arc::new(disk.clone()), options(), metrics(), None)
}

/// A journal of one segment.
fn open_wide(disk: &Simulated) -> Result<Local, Error> {
    Local::open_on(Arc::new(disk.clone()), Options::default(), metrics(), None)
}

fn record(number: usize) -> Record {
    let value = format!("{{\"Event\":\"{number}\",\"Text\":\"{:x}\"}}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Record { key: "[\"job\",\"run\"]".into(), header: format!("1 {number}").into(), value: value.into() }
}

fn records(numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(record).collect()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn publish(local: &Local, records: Vec<Record>) -> Result<Vec<Position>, Error> {
    wait(local.publisher().publish(records))
}

fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

/// All that a journal holds from `offset` on.
fn read_from(subscriber: &mut dyn Subscriber, offset: u64) -> Result<Vec<Entry>, Error> {
    subscriber.seek(at(offset))?;
    let mut entries = Vec::new();
    loop {
        let batch = subscriber.next(Duration::ZERO)?;
        if batch.is_empty() {
            return Ok(entries);
        }
        entries.extend(batch);
    }
}

fn read(local: &Local) -> Result<Vec<Record>, Error> {
    let mut subscriber = local.subscriber()?;
    let start = subscriber.extents()?[0].start;
    Ok(read_from(&mut subscriber, start)?.into_iter().map(|it| it.record).collect())
}

/// Bytes that do not compress and are no frame.
fn garbage(len: usize) -> Vec<u8> {
    let mut state = 7_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

fn large(len: usize) -> Record {
    Record { key: Bytes::new(), header: Bytes::new(), value: garbage(len).into() }
}
