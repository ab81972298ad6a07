//! Records as a consumer gives them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};

use super::HEADER;
use super::context::Context;
use crate::{Entry, Record};

/// A poll's yield.
pub enum Next {
    Record(Entry),
    Nothing,
    Trouble(KafkaError),
}

pub fn poll(consumer: &BaseConsumer<Context>, wait: Duration) -> Next {
    match consumer.poll(wait) {
        Some(Ok(message)) => Next::Record(entry(&message)),
        Some(Err(error)) => Next::Trouble(error),
        None => Next::Nothing,
    }
}

/// One allocation for a record's three parts.
pub fn entry(message: &BorrowedMessage<'_>) -> Entry {
    // The crate panics on a header whose name is not UTF-8, which anybody may have written.
    let header = catch_unwind(AssertUnwindSafe(|| header(message))).unwrap_or_default();
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    let all = Bytes::from([key, header, value].concat());
    let (header_at, value_at) = (key.len(), key.len() + header.len());
    let record =
        Record { key: all.slice(..header_at), header: all.slice(header_at..value_at), value: all.slice(value_at..) };
    Entry {
        partition: u32::try_from(message.partition()).unwrap_or_default(),
        offset: u64::try_from(message.offset()).unwrap_or_default(),
        record,
    }
}

/// The last of the name, as other clients take it. A foreign record may have none.
fn header<'a>(message: &'a BorrowedMessage<'_>) -> &'a [u8] {
    let Some(headers) = message.headers() else { return &[] };
    let named = |at| headers.try_get(at).filter(|it| it.key == HEADER).map(|it| it.value.unwrap_or_default());
    (0..headers.count()).rev().find_map(named).unwrap_or_default()
}
