//! Records as no decent client would write them, by a Produce request made by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Cluster;

/// A record of any parts. `None` is Kafka's null.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Cluster {
    /// Appends records to a partition that node 1 leads.
    pub fn produce_raw(&self, topic: &str, partition: u32, records: &[RawRecord]) {
        let batch = batch(records);
        let mut body = Vec::new();
        // Produce, version 3, correlation 1, no client id; no transaction, acks of all, 60 s.
        body.extend([0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        body.extend(60_000_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        body.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        body.extend(topic.as_bytes());
        body.extend(1_i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(u32::try_from(batch.len()).unwrap().to_be_bytes());
        body.extend(batch);
        let deadline = Instant::now() + Duration::from_secs(60);
        // Correlation, count of topics, name, count of partitions, partition: then the error.
        let at = 4 + 4 + 2 + topic.len() + 4 + 4;
        loop {
            let answer = self.request(&body);
            match answer[at..at + 2] {
                [0, 0] => return,
                // A topic or a leader that is not known yet: nothing was appended.
                [0, 3 | 5 | 6] if Instant::now() < deadline => sleep(Duration::from_millis(100)),
                _ => panic!("the broker refused the records: {answer:?}"),
            }
        }
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[0].client)).unwrap();
        stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        answer
    }
}

/// A record batch of magic 2.
fn batch(records: &[RawRecord]) -> Vec<u8> {
    let mut checked = Vec::new();
    checked.extend(0_i16.to_be_bytes());
    checked.extend(u32::try_from(records.len() - 1).unwrap().to_be_bytes());
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    checked.extend(now.to_be_bytes());
    checked.extend(now.to_be_bytes());
    checked.extend((-1_i64).to_be_bytes());
    checked.extend((-1_i16).to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(u32::try_from(records.len()).unwrap().to_be_bytes());
    for (at, record) in (0..).zip(records) {
        let bytes = record.encode(at);
        varint(&mut checked, i64::try_from(bytes.len()).unwrap());
        checked.extend(bytes);
    }
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    batch.extend(u32::try_from(checked.len() + 9).unwrap().to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

impl RawRecord {
    fn encode(&self, at: i64) -> Vec<u8> {
        let mut bytes = vec![0];
        varint(&mut bytes, 0);
        varint(&mut bytes, at);
        nullable(&mut bytes, self.key.as_deref());
        nullable(&mut bytes, self.value.as_deref());
        varint(&mut bytes, i64::try_from(self.headers.len()).unwrap());
        for (name, value) in &self.headers {
            nullable(&mut bytes, Some(name));
            nullable(&mut bytes, value.as_deref());
        }
        bytes
    }
}

fn nullable(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    varint(bytes, part.map_or(-1, |it| i64::try_from(it.len()).unwrap()));
    bytes.extend(part.unwrap_or_default());
}

fn varint(bytes: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}
