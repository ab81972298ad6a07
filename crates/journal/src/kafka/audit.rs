//! Whether a topic is still the one that was read. A topic can be cut back, deleted and created again, or grown, without
//! any error at a client that goes on reading; so a fresh client looks at it, and reads again what was read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::context::Context;
use super::record::entry;
use super::{PATIENCE, Settings, native, offsets, refused, topics};
use crate::{Error, Extent};

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub offset: u64,
    pub fingerprint: u64,
}

/// How far a partition was read.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub partition: u32,
    /// The next offset to be read.
    pub position: u64,
    pub mark: Option<Mark>,
}

/// How long reading the marks again may take.
const REREAD: Duration = Duration::from_secs(10);

/// A new leader may not know at once how far its log is committed.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// An error that `is_retryable` says nothing about the topic; any other is a halt.
pub fn audit(settings: &Settings, partitions: u32, known: &[Known]) -> Result<Vec<Extent>, Error> {
    match examine(settings, partitions, known) {
        Err(Error::OutOfRange { .. } | Error::Rewritten { .. }) => {
            std::thread::sleep(SECOND_LOOK);
            examine(settings, partitions, known)
        }
        result => result,
    }
}

fn examine(settings: &Settings, partitions: u32, known: &[Known]) -> Result<Vec<Extent>, Error> {
    let topic = topics::check(settings)?;
    if topic.partitions != partitions {
        return Err(Error::Repartitioned { expected: partitions, found: topic.partitions });
    }
    let consumer: BaseConsumer<Context> =
        BaseConsumer::from_config_and_context(&settings.consumer(), Context::default()).map_err(|it| refused(&it))?;
    let extents = offsets::extents(&consumer, &settings.topic, partitions, PATIENCE)?;
    let mut marks = BTreeMap::new();
    for Known { partition, position, mark } in known {
        let Some(&Extent { start, end, .. }) = extents.get(*partition as usize) else { continue };
        if *position < start || *position > end {
            return Err(Error::OutOfRange { partition: *partition, wanted: *position, start, end });
        }
        // Retention may have deleted the record that is known, and with it the way to compare.
        if let Some(mark) = mark.filter(|it| it.offset >= start) {
            marks.insert(*partition, mark);
        }
    }
    reread(&consumer, &settings.topic, marks)?;
    Ok(extents)
}

fn reread(consumer: &BaseConsumer<Context>, topic: &str, mut marks: BTreeMap<u32, Mark>) -> Result<(), Error> {
    if marks.is_empty() {
        return Ok(());
    }
    let failed = |error| consumer.context().unavailable(&format!("reading {topic} again"), &error);
    let mut list = TopicPartitionList::new();
    for (partition, mark) in &marks {
        let offset = Offset::Offset(i64::try_from(mark.offset).unwrap_or(i64::MAX));
        list.add_partition_offset(topic, native(*partition), offset).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let deadline = Instant::now() + REREAD;
    while !marks.is_empty() {
        if Instant::now() > deadline {
            return Err(Error::Unavailable(format!(
                "records of {topic} that were read could not be read again in time"
            )));
        }
        // What an error means shows in the marks that stay.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            compare(&message, &mut marks)?;
        }
    }
    Ok(())
}

fn compare(message: &BorrowedMessage<'_>, marks: &mut BTreeMap<u32, Mark>) -> Result<(), Error> {
    let Ok(partition) = u32::try_from(message.partition()) else { return Ok(()) };
    let Some(mark) = marks.remove(&partition) else { return Ok(()) };
    let entry = entry(message);
    if entry.offset == mark.offset && entry.record.fingerprint() == mark.fingerprint {
        Ok(())
    } else {
        Err(Error::Rewritten { partition, offset: mark.offset })
    }
}
