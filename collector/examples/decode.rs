//! Measures decoding alone, and its parts, on payloads of 1,000 events made from recorded ones:
//! `cargo run --release -p collector --example decode [PAYLOADS]`.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use event::collect::{Limits, decode};
use event::{Identity, ReceivedAt, spark};
use flate2::Compression;
use flate2::write::GzEncoder;

const EVENTS: usize = 1000;
const LIMITS: Limits = Limits { event_bytes: 16_000_000, rejected_bytes: 16_000_000, truncated_bytes: 65_536 };

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(200), |n| n.parse())?;
    let contents = contents()?;
    let json = payload(&contents);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json.as_bytes())?;
    let gzip = encoder.finish()?;
    let (json_bytes, gzip_bytes) = (json.len(), gzip.len());
    println!("{EVENTS} events, {json_bytes} bytes of JSON, {gzip_bytes} of gzip, {rounds} rounds");
    let limit = 1 << 30;
    let inflate = measure(rounds, || collector::gzip::decompress_all(&gzip, limit).is_ok());
    report("inflate", inflate, json_bytes);
    let decoding = measure(rounds, || decode(json.as_bytes(), ReceivedAt(0), LIMITS).is_ok());
    report("decode", decoding, json_bytes);
    let validate = measure(rounds, || contents.iter().all(|it| spark::validate(it).is_ok()));
    report("  of it validate", validate, json_bytes);
    let identity = measure(rounds, || contents.iter().all(|it| Identity::of_occurrence(it.as_bytes()).0 != 0));
    report("  of it identity", identity, json_bytes);
    let both = measure(rounds, || {
        let json = collector::gzip::decompress_all(&gzip, limit);
        json.is_ok_and(|json| decode(&json, ReceivedAt(0), LIMITS).is_ok())
    });
    report("inflate and decode", both, json_bytes);
    Ok(())
}

/// The least time of all rounds: what the work takes when nothing else runs.
fn measure(rounds: u32, mut work: impl FnMut() -> bool) -> Duration {
    let mut round = || {
        let started = Instant::now();
        assert!(black_box(work()), "the work failed");
        started.elapsed()
    };
    (0..rounds).map(|_| round()).min().unwrap_or_default()
}

fn report(what: &str, each: Duration, bytes: usize) {
    let event = each.as_nanos() / EVENTS as u128;
    let rate = bytes as f64 / each.as_secs_f64() / 1e6;
    println!("{what:20} {event:6} ns/event {rate:7.0} MB/s");
}

/// Task events as a shuffle-heavy application emits them, mixed with the rest of the recorded run.
fn contents() -> Result<Vec<String>, Box<dyn Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/fixtures/wire/datamechanics/spark-3.5-pi");
    let mut recorded = Vec::new();
    for n in 2..=7 {
        let json = collector::gzip::decompress_all(&std::fs::read(format!("{folder}/{n:05}.body"))?, 1 << 30)?;
        let payload = decode(&json, ReceivedAt(0), LIMITS)?;
        recorded.extend(payload.events.into_iter().map(|event| String::from_utf8_lossy(&event.value).into_owned()));
    }
    let vary = |i: usize| {
        let event = &recorded[i % recorded.len()];
        event
            .replace("\"Task ID\":", &format!("\"Task ID\":{}", i / recorded.len() + 1))
            .replace("179522", &format!("17952{}", i % 10))
    };
    Ok((0..EVENTS).map(vary).collect())
}

fn payload(contents: &[String]) -> String {
    let messages: Vec<_> = contents
        .iter()
        .enumerate()
        .map(|(i, it)| serde_json::json!({"content": it, "generated_at": 1_795_229_683_257_u64 + i as u64 / 3, "message_type": "spark-event"}))
        .collect();
    let counters = serde_json::json!({"message_counter": EVENTS, "payload_counter": 1});
    serde_json::json!({"job_name": "j", "run_id": "r", "counters": counters, "messages": messages}).to_string()
}
