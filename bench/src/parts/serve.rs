//! The whole server: how fast what is acknowledged becomes visible, how fast events are read, and what it needs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bench::{Message, Payload, Run, Workload};
use store::Writer;
use store::generation::Generations;

use super::{Context, per_second, quantile};
use crate::client::{Body, Client, post_all};
use crate::machine;
use crate::report::{Figure, Goal};
use crate::server::{Role, Server};

pub const CONNECTIONS: usize = 8;

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let dir = context.dir.join("serve");
    let server = Server::start(Role::Emberlog, &dir)?;
    let (rate, mut figures) = saturate(context, &server)?;
    figures.extend(visible(context, &server, rate / 2.0)?);
    let long = long_run(context);
    post_all(&server.url, &bodies(&long), 1, None)?;
    wait_until_applied(&server, &long, 1)?;
    let read = read(&server, &long)?;
    figures.extend(duration(&server, &long)?);
    figures.push(Figure::new("serve", "peak memory", server.memory()?.1 as f64 / 1e6, "MB"));
    server.stop()?;
    figures.extend(read.against(scan(&dir.join("store"), &long)?));
    std::fs::remove_dir_all(&dir)?;
    Ok(figures)
}

fn bodies(workload: &Workload) -> Vec<Body> {
    workload.payloads().map(|payload| Body::of(&payload)).collect()
}

/// Sends as fast as it is taken.
fn saturate(context: &Context, server: &Server) -> anyhow::Result<(f64, Vec<Figure>)> {
    let workload = Workload {
        seed: context.seed + 1,
        runs: 50,
        events_per_run: context.requests / 50,
        concurrent: 50,
        ..Workload::default()
    };
    let bodies = bodies(&workload);
    let (begin, idle) = (Instant::now(), server.cpu()?);
    post_all(&server.url, &bodies, CONNECTIONS, None)?;
    wait_until_applied(server, &workload, workload.runs)?;
    let (wall, cpu) = (begin.elapsed(), server.cpu()? - idle);
    let rate = per_second(workload.events(), wall);
    let figure = |name: &str, value, unit| Figure::new("serve", name, value, unit);
    Ok((
        rate,
        vec![
            figure("sent until visible, on one core", per_second(workload.events(), cpu), "events/s"),
            figure("sent until visible, by the clock", rate, "events/s"),
        ],
    ))
}

/// Waits until the last events of the last runs are served.
fn wait_until_applied(server: &Server, workload: &Workload, runs: u64) -> anyhow::Result<()> {
    let client = Client::new(&server.url);
    let deadline = Instant::now() + Duration::from_secs(120);
    for number in 0..runs {
        let path = path(&workload.run(number), "duration");
        while !client.get(&path)?.is_some_and(|text| text.contains(r#""status":"finished""#)) {
            anyhow::ensure!(Instant::now() < deadline, "{path} is not finished");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

fn path(run: &Run, what: &str) -> String {
    format!("/job/{}/{}/{what}", run.job_name(), run.run_id())
}

/// The time from an answer of 200 until the run is served, while others send at a steady rate.
fn visible(context: &Context, server: &Server, rate: f64) -> anyhow::Result<Vec<Figure>> {
    let runs = 50;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let events = (rate * context.seconds.as_secs_f64()) as u64;
    let workload = Workload {
        seed: context.seed + 2,
        runs,
        events_per_run: events / runs,
        concurrent: usize::try_from(runs)?,
        events_per_payload: 500,
        ..Workload::default()
    };
    let mut waits = latencies(&server.url, &server.url, &bodies(&workload), rate)?;
    waits.sort_unstable();
    let millis = |share: f64| quantile(&waits, share).as_secs_f64() * 1e3;
    let figure = |name: &str, value| Figure::new("visible", name, value, "ms");
    Ok(vec![
        figure("acknowledged until served, half load, p50", millis(0.5)),
        figure("acknowledged until served, half load, p99", millis(0.99)).goal(Goal::AtMost(250.0)),
    ])
}

/// The times from answers of 200 until they are served, while bodies are sent at a steady rate.
pub fn latencies(ingest: &str, reads: &str, bodies: &[Body], rate: f64) -> anyhow::Result<Vec<Duration>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| probe(ingest, reads, &done));
        let sent = post_all(ingest, bodies, CONNECTIONS, Some(rate));
        done.store(true, Ordering::Relaxed);
        sent?;
        prober.join().map_err(|_| anyhow!("the prober panicked"))?
    })
}

/// Posts runs of one event each, and asks for each until it is there.
fn probe(ingest: &str, reads: &str, done: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let (client, reader) = (Client::new(ingest), Client::new(reads));
    let mut waits = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let run_id = format!("probe-{}", waits.len());
        let content = br#"{"Event":"SparkListenerLogStart","Spark Version":"3.5.9"}"#.to_vec();
        let payload = Payload {
            job_name: "probe".to_owned(),
            run_id: run_id.clone(),
            instance_id: None,
            message_counter: 1,
            payload_counter: 1,
            sent_at: 1,
            messages: vec![Message::Event { generated_at: 1, content }],
        };
        client.collect(&Body::of(&payload))?;
        let acknowledged = Instant::now();
        while reader.get(&format!("/job/probe/{run_id}/duration"))?.is_none() {
            anyhow::ensure!(acknowledged.elapsed() < Duration::from_secs(60), "{run_id} never shows");
            std::thread::sleep(Duration::from_micros(500));
        }
        waits.push(acknowledged.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(waits)
}

/// One run that is long enough to be measured.
fn long_run(context: &Context) -> Workload {
    Workload { seed: context.seed + 3, runs: 1, events_per_run: context.requests, ..Workload::default() }
}

/// Bytes read, and the least time that it took.
struct Read {
    bytes: u64,
    wall: Duration,
    cpu: Duration,
}

fn read(server: &Server, long: &Workload) -> anyhow::Result<Read> {
    let (client, path) = (Client::new(&server.url), path(&long.run(0), "events"));
    let mut best: Option<Read> = None;
    for _ in 0..4 {
        let (begin, idle) = (Instant::now(), server.cpu()?);
        let bytes = client.drain(&path)?;
        let read = Read { bytes, wall: begin.elapsed(), cpu: server.cpu()? - idle };
        anyhow::ensure!(best.as_ref().is_none_or(|best| best.bytes == bytes), "two answers differ");
        if best.as_ref().is_none_or(|best| read.wall < best.wall) {
            best = Some(read);
        }
    }
    best.ok_or_else(|| anyhow!("nothing was read"))
}

impl Read {
    fn against(&self, bare: Self) -> Vec<Figure> {
        let rate = |read: &Self, time| per_second(read.bytes, time) / 1e6;
        let figure = |name: &str, value| Figure::new("read", name, value, "MB/s");
        vec![
            figure("/events by the clock, best of 4", rate(self, self.wall))
                .limit(rate(&bare, bare.wall), "bare scan")
                .goal(Goal::AtLeast(800.0)),
            figure("/events on one core of the server", rate(self, self.cpu)).limit(rate(&bare, bare.cpu), "bare scan"),
        ]
    }
}

/// Reads the same run's events from the store, in this process, and does nothing with them.
fn scan(store: &Path, long: &Workload) -> anyhow::Result<Read> {
    let generations = Generations::open(store)?;
    let writer = Writer::open(&generations.path(generations.current_or_first()?), &store::Options::default())?;
    let run = long.run(0);
    let run = writer.run(&event::RunName::new(run.job_name(), run.run_id())?)?.context("the run is not stored")?;
    let mut best: Option<Read> = None;
    for _ in 0..4 {
        let (begin, before) = (Instant::now(), machine::process_cpu());
        let bytes = writer.reader().scan(|view| {
            let (mut events, mut bytes) = (view.events(run.number, None), 0);
            while let Some((_, event)) = events.next()? {
                bytes += event.len() as u64 + 1;
            }
            Ok::<_, store::Error>(bytes)
        })?;
        let read = Read { bytes, wall: begin.elapsed(), cpu: machine::process_cpu() - before };
        if best.as_ref().is_none_or(|best| read.wall < best.wall) {
            best = Some(read);
        }
    }
    best.ok_or_else(|| anyhow!("nothing was read"))
}

fn duration(server: &Server, long: &Workload) -> anyhow::Result<Vec<Figure>> {
    let (client, path) = (Client::new(&server.url), path(&long.run(0), "duration"));
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let begin = Instant::now();
        client.get(&path)?.context("the run is gone")?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let millis = |share: f64| quantile(&times, share).as_secs_f64() * 1e3;
    Ok(vec![
        Figure::new("duration", "one request of a long run, p50", millis(0.5), "ms").goal(Goal::AtMost(1.0)),
        Figure::new("duration", "one request of a long run, p99", millis(0.99), "ms"),
    ])
}
