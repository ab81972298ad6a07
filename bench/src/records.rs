//! The records that a collector makes of a workload, made by a thread whose processor time is known.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use bench::Workload;
use bytes::Bytes;
use event::ReceivedAt;
use event::collect::Limits;
use journal::{Entry, Record};

use crate::machine;

/// As much as the embedded journal hands out at once.
const BATCH_RECORDS: usize = 8192;
const BATCH_BYTES: usize = 8 << 20;

pub const LIMITS: Limits = Limits { event_bytes: 15 << 20, rejected_bytes: 1 << 20, truncated_bytes: 64 << 10 };

/// Batches of entries, in the order of one partition.
pub struct Batches {
    batches: Receiver<Vec<Entry>>,
    maker: JoinHandle<anyhow::Result<Duration>>,
}

impl Batches {
    pub fn of(workload: &Workload) -> anyhow::Result<Self> {
        let (sender, batches) = sync_channel(4);
        let payloads = workload.payloads();
        let make = move || {
            let (mut batch, mut bytes, mut offset) = (Vec::new(), 0, 0);
            for payload in payloads {
                for record in records(&payload.to_json())? {
                    bytes += record.size();
                    batch.push(Entry { partition: 0, offset, record });
                    offset += 1;
                }
                if batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                    bytes = 0;
                    sender.send(std::mem::take(&mut batch))?;
                }
            }
            sender.send(batch)?;
            Ok(machine::thread_cpu())
        };
        // The name parts it from the threads that are measured, in a profile.
        let maker = std::thread::Builder::new().name("generator".to_owned()).spawn(make)?;
        Ok(Self { batches, maker })
    }

    /// Hands every batch to `take`, and returns the processor time that was spent on making them.
    pub fn each(self, mut take: impl FnMut(Vec<Entry>) -> anyhow::Result<()>) -> anyhow::Result<Duration> {
        for batch in self.batches {
            take(batch)?;
        }
        self.maker.join().map_err(|_| anyhow!("the generator panicked"))?
    }
}

/// What the collector makes of a payload's JSON.
fn records(json: &[u8]) -> anyhow::Result<Vec<Record>> {
    let payload = event::collect::decode(json, ReceivedAt::now(), LIMITS)?;
    let key = Bytes::from(payload.run.to_key());
    let events = payload.events.into_iter();
    Ok(events.map(|event| Record { key: key.clone(), header: event.header, value: event.value }).collect())
}
