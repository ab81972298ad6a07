//! The offsets that a topic's partitions hold.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::context::Context;
use super::native;
use crate::{Error, Extent};

/// Asks the leaders, so never from a cache: one request to each for the starts, one for the ends.
pub fn extents(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: u32,
    patience: Duration,
) -> Result<Vec<Extent>, Error> {
    let deadline = Instant::now() + patience;
    let ask = |which| {
        let left = deadline.saturating_duration_since(Instant::now());
        ask(consumer, topic, partitions, which, left)
    };
    let (starts, ends) = (ask(Offset::Beginning)?, ask(Offset::End)?);
    Ok((0..)
        .zip(starts.into_iter().zip(ends))
        .map(|(partition, (start, end))| Extent { partition, start, end })
        .collect())
}

/// `ListOffsets` takes the two logical offsets in place of a time.
fn ask(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: u32,
    which: Offset,
    patience: Duration,
) -> Result<Vec<u64>, Error> {
    let failed =
        |error: &KafkaError| consumer.context().unavailable(&format!("asking for the offsets of {topic}"), error);
    let mut list = TopicPartitionList::with_capacity(partitions as usize);
    for partition in 0..partitions {
        list.add_partition_offset(topic, native(partition), which).map_err(|error| failed(&error))?;
    }
    let answer = consumer.offsets_for_times(list, patience).map_err(|error| failed(&error))?;
    let mut offsets = vec![None; partitions as usize];
    for element in answer.elements() {
        element.error().map_err(|error| failed(&error))?;
        let place = usize::try_from(element.partition()).ok().and_then(|it| offsets.get_mut(it));
        if let (Some(place), Offset::Offset(offset)) = (place, element.offset()) {
            *place = u64::try_from(offset).ok();
        }
    }
    let missing = || failed(&KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition));
    offsets.into_iter().map(|it| it.ok_or_else(missing)).collect()
}
