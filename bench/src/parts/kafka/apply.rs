//! From the topic into the store, and a rebuild from the topic, against bare librdkafka and bare RocksDB.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bench::Workload;
use journal::kafka::{Settings, Subscriber, SubscriberMetrics, SubscriberOptions};
use materializer::rebuild::{self, Source};
use prometheus::Registry;

use super::bare;
use super::broker::Broker;
use super::{Context, parts};
use crate::client::Body;
use crate::machine;
use crate::parts::per_second;
use crate::report::{Figure, Goal};
use crate::server::Server;

pub fn run(context: &Context, broker: &Broker) -> anyhow::Result<Vec<Figure>> {
    let topic = broker.topic("bench-apply")?;
    broker.topic("bench-apply.dlq")?;
    let events = fill(context, &topic)?;
    let dir = context.dir.join("kafka-apply");
    let begin = Instant::now();
    let materializer = parts::materializer(&topic, &dir)?;
    let wall = until_applied(&materializer, events, begin)?;
    settled(&materializer)?;
    let cpu = materializer.cpu()?;
    let (_, peak) = materializer.memory()?;
    materializer.stop()?;
    let (bare_cpu, bare_wall) = bare::consume_and_write(&topic, events, &context.dir.join("kafka-bare"))?;
    let (rebuild_cpu, rebuild_wall) = rebuild(&topic, &dir)?;
    std::fs::remove_dir_all(&dir)?;
    let figure = |name: &str, value, unit| Figure::new("kafka apply", name, value, unit);
    let limit = "bare librdkafka and RocksDB";
    Ok(vec![
        figure("rate on one core, compaction included", per_second(events, cpu), "events/s")
            .limit(per_second(events, bare_cpu), limit)
            .goal(Goal::AtLeast(150_000.0)),
        figure("processor time", 1e6 / per_second(events, cpu), "us/event")
            .limit(1e6 / per_second(events, bare_cpu), limit),
        figure("rate by the clock, broker on the same machine", per_second(events, wall), "events/s")
            .limit(per_second(events, bare_wall), limit),
        figure("peak memory", peak as f64 / 1e6, "MB"),
        figure("rebuild from the topic, on one core", per_second(events, rebuild_cpu), "events/s"),
        figure("rebuild from the topic, by the clock", per_second(events, rebuild_wall), "events/s"),
    ])
}

/// Hundreds of runs that send at the same time.
fn fill(context: &Context, topic: &Settings) -> anyhow::Result<u64> {
    let workload = Workload {
        seed: context.seed + 11,
        runs: context.runs,
        events_per_run: context.events / context.runs,
        concurrent: usize::try_from(context.runs).unwrap_or(usize::MAX),
        ..Workload::default()
    };
    let mut events = 0;
    let mut some: Vec<Body> = Vec::new();
    for payload in workload.payloads() {
        some.push(Body::of(&payload));
        if some.len() >= 1000 {
            events += bare::produce(topic, some.iter())?.events;
            some.clear();
        }
    }
    Ok(events + bare::produce(topic, some.iter())?.events)
}

fn until_applied(materializer: &Server, events: u64, begin: Instant) -> anyhow::Result<Duration> {
    #[allow(clippy::cast_precision_loss)]
    while parts::metric(materializer, "emberlog_materializer_events_total")? < events as f64 {
        anyhow::ensure!(begin.elapsed() < Duration::from_secs(900), "the topic is not applied in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(begin.elapsed())
}

/// Compactions go on in the background; they are over when the process is quiet.
fn settled(materializer: &Server) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let before = materializer.cpu()?;
        std::thread::sleep(Duration::from_secs(1));
        if materializer.cpu()? - before < Duration::from_millis(60) || Instant::now() > deadline {
            return Ok(());
        }
    }
}

fn rebuild(topic: &Settings, dir: &std::path::Path) -> anyhow::Result<(Duration, Duration)> {
    let metrics = SubscriberMetrics::register(&Registry::new(), &topic.topic)?;
    let mut subscriber = Subscriber::open(topic.clone(), SubscriberOptions::default(), metrics)?;
    let options = rebuild::Options {
        source: Source::Journal,
        accept_loss: false,
        restart: false,
        store: store::Options::default(),
    };
    let (begin, before) = (Instant::now(), machine::process_cpu());
    let stop = AtomicBool::new(false);
    rebuild::make(&dir.join("store"), &mut subscriber, &options, &stop, &mut |_| {})?;
    Ok((machine::process_cpu() - before, begin.elapsed()))
}
