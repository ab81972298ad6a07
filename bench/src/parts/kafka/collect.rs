//! Taking payloads in over HTTP and publishing them, against decoding and bare librdkafka.

use super::bare;
use super::broker::Broker;
use super::{Context, bodies, parts, workload};
use crate::client::post_all;
use crate::parts::per_second;
use crate::report::{Figure, Goal};

const CONNECTIONS: usize = 16;

pub fn run(context: &Context, broker: &Broker) -> anyhow::Result<Vec<Figure>> {
    let bodies = bodies(&workload(context, 10));
    let events: u64 = bodies.iter().map(|body| body.events).sum();
    let [warm, limit, ours] = ["bench-warm", "bench-limit", "bench-collect"].map(|name| broker.topic(name));
    // A broker takes three times the processor time until its code is compiled.
    bare::produce(&warm?, bodies.iter().chain(&bodies))?;

    let (limit, ours) = (limit?, ours?);
    broker.topic("bench-collect.dlq")?;
    let before = bare::produce(&limit, bodies.iter())?;
    let collector = parts::collector(&ours)?;
    let idle = (collector.cpu()?, broker.cpu());
    let wall = post_all(&collector.url, &bodies, CONNECTIONS, None)?;
    let cpu = collector.cpu()? - idle.0;
    let brokers = broker.cpu().zip(idle.1).map(|(after, before)| after.saturating_sub(before));
    let (_, peak) = collector.memory()?;
    collector.stop()?;
    // Before and after, since other processes disturb.
    let after = bare::produce(&limit, bodies.iter())?;

    let decode = (before.decode + after.decode) / 2;
    let produce = (before.produce + after.produce) / 2;
    let micros = |time| 1e6 / per_second(events, time);
    let figure = |name: &str, value, unit| Figure::new("kafka collect", name, value, unit);
    let mut figures = vec![
        figure("rate on one core", per_second(events, cpu), "events/s")
            .limit(per_second(events, decode + produce), "decode and bare librdkafka")
            .goal(Goal::RatioAtLeast(0.6)),
        figure("processor time", micros(cpu), "us/event").limit(micros(decode + produce), "decode and bare librdkafka"),
        figure("of the limit, librdkafka", micros(produce), "us/event"),
        figure("rate by the clock, clients and broker on the same machine", per_second(events, wall), "events/s")
            .limit(per_second(events, (before.wall + after.wall) / 2), "one thread, bare librdkafka"),
        figure("peak memory", peak as f64 / 1e6, "MB"),
    ];
    figures.extend(brokers.map(|cpu| figure("the broker's processor time", micros(cpu), "us/event")));
    Ok(figures)
}
