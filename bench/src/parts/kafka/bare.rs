//! What librdkafka alone takes to write records to a topic and to read them.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use event::{Header, ReceivedAt};
use journal::kafka::{HEADER, Settings};
use journal::{Record, partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header as KafkaHeader, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rocksdb::{DB, WaitForCompactOptions, WriteBatch};

use crate::client::Body;
use crate::machine;
use crate::records::LIMITS;

const PARTITIONS: u32 = 12;
/// As much as sixteen requests hold.
const IN_FLIGHT: i32 = 8_000;

#[derive(Debug)]
pub struct Produced {
    pub events: u64,
    /// Inflating and decoding, on one thread.
    pub decode: Duration,
    /// librdkafka, all its threads.
    pub produce: Duration,
    pub wall: Duration,
}

/// Decodes bodies as a collector does, and publishes them with the same settings.
pub fn produce<'a>(settings: &Settings, bodies: impl Iterator<Item = &'a Body>) -> anyhow::Result<Produced> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "zstd")
        .set("linger.ms", "0")
        .create()?;
    let (begin, before) = (Instant::now(), machine::process_cpu());
    let (mut events, mut decode) = (0, Duration::ZERO);
    for body in bodies {
        let decoding = machine::thread_cpu();
        let json: Bytes = collector::gzip::decompress_all(&body.gzip, 256 << 20)?.into();
        let payload = event::collect::decode(&json, ReceivedAt::now(), LIMITS)?;
        decode += machine::thread_cpu() - decoding;
        events += payload.events.len() as u64;
        let key = Bytes::from(payload.run.to_key());
        for event in payload.events {
            send(&producer, &settings.topic, &Record { key: key.clone(), header: event.header, value: event.value })?;
        }
    }
    producer.flush(Duration::from_secs(60))?;
    let produce = (machine::process_cpu() - before).saturating_sub(decode);
    Ok(Produced { events, decode, produce, wall: begin.elapsed() })
}

fn send(producer: &BaseProducer, topic: &str, record: &Record) -> anyhow::Result<()> {
    while producer.in_flight_count() > IN_FLIGHT {
        producer.poll(Duration::from_millis(1));
    }
    let headers =
        OwnedHeaders::new_with_capacity(1).insert(KafkaHeader { key: HEADER, value: Some(&record.header[..]) });
    let message = BaseRecord::to(topic)
        .partition(i32::try_from(partition::of_key(&record.key, PARTITIONS))?)
        .key(&record.key[..])
        .payload(&record.value[..])
        .headers(headers);
    producer.send(message).map_err(|(error, _)| error.into())
}

/// Reads `events` records on one thread and writes them to a bare RocksDB. Returns the processor time of all threads,
/// compactions included, and the time by the clock.
pub fn consume_and_write(settings: &Settings, events: u64, dir: &Path) -> anyhow::Result<(Duration, Duration)> {
    let (begin, before) = (Instant::now(), machine::process_cpu());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    consumer.fetch_metadata(Some(&settings.topic), Duration::from_secs(5))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&settings.topic, i32::try_from(partition)?, Offset::Offset(0))?;
    }
    consumer.assign(&list)?;
    let db = DB::open(&store::rocksdb_options(&store::Options::default()), dir)?;
    let mut runs: HashMap<Vec<u8>, u64> = HashMap::new();
    let (mut read, mut batch, mut size) = (0, WriteBatch::default(), 0);
    let deadline = begin + Duration::from_secs(600);
    while read < events {
        anyhow::ensure!(Instant::now() < deadline, "only {read} of {events} records came");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        size += put(&message, &mut runs, &mut batch)?;
        read += 1;
        if size >= 8 << 20 {
            size = 0;
            db.write(&std::mem::take(&mut batch))?;
        }
    }
    db.write(&batch)?;
    db.flush()?;
    db.wait_for_compact(&WaitForCompactOptions::default())?;
    Ok((machine::process_cpu() - before, begin.elapsed()))
}

fn put(message: &impl Message, runs: &mut HashMap<Vec<u8>, u64>, batch: &mut WriteBatch) -> anyhow::Result<usize> {
    let (key, value) = message.key().zip(message.payload()).context("a record without key or value")?;
    let next = runs.len() as u64;
    let run = match runs.get(key) {
        Some(run) => *run,
        None => *runs.entry(key.to_vec()).or_insert(next),
    };
    let header = message.headers().and_then(|it| it.iter().next()).and_then(|it| it.value);
    let header = Header::parse(header.context("a record without header")?)?;
    let place = header.event_key().ok_or_else(|| anyhow!("an event without place"))?;
    let mut bytes = [0; 35];
    bytes[0] = b'e';
    bytes[3..11].copy_from_slice(&run.to_be_bytes());
    bytes[11..].copy_from_slice(&place.to_bytes());
    batch.put(bytes, value);
    Ok(value.len())
}
