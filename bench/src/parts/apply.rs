//! Applying records to a store, against bare RocksDB writes of the same keys and bytes with the same options.
//! Both are counted until compactions have caught up, with the processor time of all threads.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bench::Workload;
use bytes::Bytes;
use event::Header;
use journal::Entry;
use materializer::Applier;
use rocksdb::{DB, WaitForCompactOptions, WriteBatch};
use store::Writer;

use super::{Context, per_second};
use crate::machine;
use crate::records::Batches;
use crate::report::{Figure, Goal};

/// What one way of writing took.
#[derive(Debug)]
struct Cost {
    events: u64,
    bytes: u64,
    cpu: Duration,
    wall: Duration,
    /// What making the records took meanwhile, on another thread: the machine's speed at that time.
    making: Duration,
    stored: u64,
}

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let workload = workload(context);
    let applied = apply(context, &workload)?;
    let bare = bare(context, &workload)?;
    let figure = |name: &str, value, unit| Figure::new("apply", name, value, unit);
    let rate = |cost: &Cost| per_second(cost.events, cost.cpu);
    let micros = |cost: &Cost| 1e6 / rate(cost);
    #[allow(clippy::cast_precision_loss)]
    let each = |bytes: u64| bytes as f64 / applied.events as f64;
    Ok(vec![
        figure("rate on one core, compaction included", rate(&applied), "events/s")
            .limit(rate(&bare), "bare RocksDB writes")
            .goal(Goal::AtLeast(150_000.0)),
        figure("processor time", micros(&applied), "us/event").limit(micros(&bare), "bare RocksDB writes"),
        figure("making the same events meanwhile", 1e6 / per_second(applied.events, applied.making), "us/event")
            .limit(1e6 / per_second(bare.events, bare.making), "beside bare writes"),
        figure("rate by the clock", per_second(applied.events, applied.wall), "events/s")
            .limit(per_second(bare.events, bare.wall), "bare RocksDB writes"),
        figure("stored", each(applied.stored), "bytes/event")
            .limit(each(applied.bytes), "as sent")
            .goal(Goal::AtMost(80.0)),
    ])
}

/// Hundreds of runs that send at the same time.
fn workload(context: &Context) -> Workload {
    Workload {
        seed: context.seed,
        runs: context.runs,
        events_per_run: context.events / context.runs,
        concurrent: usize::try_from(context.runs).unwrap_or(usize::MAX),
        ..Workload::default()
    }
}

fn measure(workload: &Workload, mut write: impl FnMut(Vec<Entry>) -> anyhow::Result<u64>) -> anyhow::Result<Cost> {
    let (begin, before) = (Instant::now(), machine::process_cpu());
    let mut bytes = 0;
    let mut events = 0;
    let making = Batches::of(workload)?.each(|batch| {
        bytes += batch.iter().map(|entry| entry.record.value.len() as u64).sum::<u64>();
        events += write(batch)?;
        Ok(())
    })?;
    let cpu = machine::process_cpu().saturating_sub(before + making);
    Ok(Cost { events, bytes, cpu, wall: begin.elapsed(), making, stored: 0 })
}

impl Cost {
    /// Adds what it takes until all compactions have caught up.
    fn settle(&mut self, settle: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let (begin, before) = (Instant::now(), machine::process_cpu());
        settle()?;
        self.cpu += machine::process_cpu().saturating_sub(before);
        self.wall += begin.elapsed();
        Ok(())
    }
}

fn apply(context: &Context, workload: &Workload) -> anyhow::Result<Cost> {
    let dir = context.dir.join("apply");
    let mut applier = Applier::new(Writer::open(&dir, &store::Options::default())?, [0])?;
    let mut poison = 0;
    let write = |batch: Vec<Entry>| {
        let outcome = applier.apply(batch, &mut |it| {
            poison += it.len();
            Ok(())
        })?;
        Ok(outcome.events)
    };
    let mut cost = measure(workload, write)?;
    cost.settle(|| Ok(applier.writer().settle()?))?;
    anyhow::ensure!(poison == 0 && cost.events == workload.events(), "{} events applied, {poison} poison", cost.events);
    cost.stored = machine::bytes_in(&dir, ".sst")?;
    drop(applier);
    std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(cost)
}

fn bare(context: &Context, workload: &Workload) -> anyhow::Result<Cost> {
    let dir = context.dir.join("bare");
    std::fs::create_dir_all(&dir)?;
    let db = DB::open(&store::rocksdb_options(&store::Options::default()), &dir)?;
    let mut runs: HashMap<Bytes, u64> = HashMap::new();
    let write = |entries: Vec<Entry>| {
        let mut batch = WriteBatch::default();
        for entry in &entries {
            let next = runs.len() as u64;
            let run = match runs.get(&entry.record.key) {
                Some(run) => *run,
                None => *runs.entry(entry.record.key.clone()).or_insert(next),
            };
            let place =
                Header::parse(&entry.record.header)?.event_key().ok_or_else(|| anyhow!("an event without place"))?;
            let mut key = [0; 35];
            key[0] = b'e';
            key[3..11].copy_from_slice(&run.to_be_bytes());
            key[11..].copy_from_slice(&place.to_bytes());
            batch.put(key, &entry.record.value);
        }
        db.write(&batch)?;
        Ok(entries.len() as u64)
    };
    let mut cost = measure(workload, write)?;
    cost.settle(|| {
        db.flush()?;
        Ok(db.wait_for_compact(&WaitForCompactOptions::default())?)
    })?;
    cost.stored = machine::bytes_in(&dir, ".sst")?;
    drop(db);
    std::fs::remove_dir_all(&dir)?;
    Ok(cost)
}
