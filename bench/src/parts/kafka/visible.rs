//! From an answer of the collector until the API serves it, at half the load that all three together can take.

use std::time::{Duration, Instant};

use bench::Workload;

use super::broker::Broker;
use super::{Context, bodies, parts, workload};
use crate::client::post_all;
use crate::parts::serve::{CONNECTIONS, latencies};
use crate::parts::{per_second, quantile};
use crate::report::{Figure, Goal};

pub fn run(context: &Context, broker: &Broker) -> anyhow::Result<Vec<Figure>> {
    let topic = broker.topic("bench-visible")?;
    broker.topic("bench-visible.dlq")?;
    let dir = context.dir.join("kafka-visible");
    let collector = parts::collector(&topic)?;
    let materializer = parts::materializer(&topic, &dir)?;
    let api = parts::api(&dir)?;

    let load = workload(context, 12);
    let begin = Instant::now();
    post_all(&collector.url, &bodies(&load), CONNECTIONS, None)?;
    #[allow(clippy::cast_precision_loss)]
    while parts::metric(&materializer, "emberlog_materializer_events_total")? < load.events() as f64 {
        anyhow::ensure!(begin.elapsed() < Duration::from_secs(600), "not applied in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    let rate = per_second(load.events(), begin.elapsed());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let events = (rate / 2.0 * context.seconds.as_secs_f64()) as u64;
    let half = Workload { events_per_run: events / load.runs, events_per_payload: 500, ..workload(context, 13) };
    let mut waits = latencies(&collector.url, &api.url, &bodies(&half), rate / 2.0)?;
    let staleness = parts::metric(&api, "emberlog_api_staleness_seconds")?;
    for server in [collector, api, materializer] {
        server.stop()?;
    }
    std::fs::remove_dir_all(&dir)?;
    waits.sort_unstable();
    let millis = |share: f64| quantile(&waits, share).as_secs_f64() * 1e3;
    let figure = |name: &str, value, unit| Figure::new("kafka visible", name, value, unit);
    Ok(vec![
        figure("sent until applied, by the clock, all on this machine", rate, "events/s"),
        figure("acknowledged until served, half load, p50", millis(0.5), "ms"),
        figure("acknowledged until served, half load, p99", millis(0.99), "ms").goal(Goal::AtMost(250.0)),
        figure("staleness of the API behind it", staleness, "s"),
    ])
}
