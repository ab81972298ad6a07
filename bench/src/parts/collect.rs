//! Taking payloads in over HTTP into the journal, against only decoding the same payloads.

use std::time::Duration;

use bench::Workload;
use event::{ReceivedAt, Redaction};

use super::{Context, per_second, protocols};
use crate::client::{Body, post_all};
use crate::machine;
use crate::records::LIMITS;
use crate::report::{Figure, Goal};
use crate::server::{Role, Server};

const CONNECTIONS: usize = 16;

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let workload = Workload {
        seed: context.seed,
        runs: 50,
        events_per_run: context.requests / 50,
        concurrent: 50,
        ..Workload::default()
    };
    let bodies: Vec<Body> = workload.payloads().map(|payload| Body::of(&payload)).collect();
    let events: u64 = bodies.iter().map(|body| body.events).sum();
    let wire: u64 = bodies.iter().map(|body| body.gzip.len() as u64).sum();

    // Before and after, since other processes disturb.
    let before = decode(&bodies)?;
    let dir = context.dir.join("collect");
    let server = Server::start(Role::Collector, &dir)?;
    let idle = server.cpu()?;
    let wall = post_all(&server.url, &bodies, CONNECTIONS, None)?;
    let cpu = server.cpu()? - idle;
    let (_, peak) = server.memory()?;
    server.stop()?;
    let decoding = (before + decode(&bodies)?) / 2;
    let redacting = redact(&bodies)?;
    let journal = machine::bytes_in(&dir.join("journal"), "")?;
    std::fs::remove_dir_all(&dir)?;

    let figure = |name: &str, value, unit| Figure::new("collect", name, value, unit);
    let mut figures = vec![
        figure("rate on one core", per_second(events, cpu), "events/s")
            .limit(per_second(events, decoding), "decode only")
            .goal(Goal::RatioAtLeast(0.6)),
        figure("processor time", 1e6 / per_second(events, cpu), "us/event")
            .limit(1e6 / per_second(events, decoding), "decode only"),
        figure("redaction", redacting.as_secs_f64() / cpu.as_secs_f64() * 100.0, "% of it").goal(Goal::AtMost(5.0)),
        figure("rate by the clock, clients on the same machine", per_second(events, wall), "events/s"),
        figure("journal", journal as f64 / events as f64, "bytes/event")
            .limit(wire as f64 / events as f64, "on the wire, gzip")
            .goal(Goal::AtMost(80.0)),
        figure("peak memory", peak as f64 / 1e6, "MB"),
    ];
    figures.extend(protocols::figures(&workload)?);
    Ok(figures)
}

/// What no collector can do without: inflate, read the envelope, validate and identify every event.
fn decode(bodies: &[Body]) -> anyhow::Result<Duration> {
    let begin = machine::thread_cpu();
    for body in bodies {
        let json = collector::gzip::decompress_all(&body.gzip, 256 << 20)?;
        std::hint::black_box(event::collect::decode(&json, ReceivedAt::now(), LIMITS)?);
    }
    Ok(machine::thread_cpu() - begin)
}

fn redact(bodies: &[Body]) -> anyhow::Result<Duration> {
    let redaction = Redaction::default();
    let mut time = Duration::ZERO;
    for body in bodies {
        let json = collector::gzip::decompress_all(&body.gzip, 256 << 20)?;
        let payload = event::collect::decode(&json, ReceivedAt::now(), LIMITS)?;
        let begin = machine::thread_cpu();
        for event in &payload.events {
            std::hint::black_box(redaction.event(&event.value));
        }
        time += machine::thread_cpu() - begin;
    }
    Ok(time)
}
