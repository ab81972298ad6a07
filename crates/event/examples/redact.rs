//! What redaction costs beside the rest of decoding, on recorded payloads and on applications of many small jobs whose
//! properties hold secrets or none: `cargo run --release -p event --example redact [ROUNDS]`.

use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use event::collect::{Limits, decode, decode_redacted};
use event::{ReceivedAt, Redaction};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

const LIMITS: Limits = Limits { event_bytes: 16_000_000, rejected_bytes: 16_000_000, truncated_bytes: 65_536 };

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(200), |n| n.parse())?;
    let events = recorded()?;
    report("the recorded run", rounds, &events)?;
    let without: Vec<_> = events.iter().filter(|it| !it.contains("EnvironmentUpdate")).cloned().collect();
    report("its jobs and tasks only", rounds, &without)?;
    let short = |it: &&String| !it.contains("\"SparkListenerTask") && !it.contains("BlockUpdated");
    let tasks = without.iter().filter(|it| !short(it)).take(8);
    let jobs: Vec<_> = without.iter().filter(short).chain(tasks).cloned().collect();
    report("jobs of two tasks", rounds, &jobs)?;
    let secret =
        |it: &String| it.replace("\"Properties\":{", "\"Properties\":{\"spark.hadoop.fs.s3a.secret.key\":\"hunter2\",");
    report("jobs of two tasks, with a secret", rounds, &jobs.iter().map(secret).collect::<Vec<_>>())
}

fn report(what: &str, rounds: u32, events: &[String]) -> Result<(), Box<dyn Error>> {
    let json = payload(events);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json.as_bytes())?;
    let gzip = encoder.finish()?;
    let redaction = Redaction::default();
    let [mut inflating, mut decoding, mut redacting] = [Duration::MAX; 3];
    let measure = |least: &mut Duration, work: &dyn Fn() -> bool| {
        let started = Instant::now();
        assert!(black_box(work()), "the work failed");
        *least = (*least).min(started.elapsed());
    };
    // By turns, so that what else the machine does disturbs all alike; the least time is that without disturbance.
    for _ in 0..rounds {
        measure(&mut inflating, &|| {
            let mut out = Vec::with_capacity(json.len() + 1);
            MultiGzDecoder::new(&gzip[..]).read_to_end(&mut out).is_ok()
        });
        measure(&mut decoding, &|| decode_redacted(json.as_bytes(), ReceivedAt(0), LIMITS, &redaction).is_ok());
        measure(&mut redacting, &|| {
            events.iter().filter_map(|it| redaction.event(black_box(it.as_bytes()))).count() < usize::MAX
        });
    }
    let each = |it: Duration| it.as_nanos() / events.len() as u128;
    let share = redacting.as_secs_f64() / (inflating + decoding).as_secs_f64() * 100.0;
    println!(
        "{what}: {} events of {} bytes; ns/event: inflate {}, decode {}, of it redact {}: {share:.1} % of both",
        events.len(),
        json.len() / events.len(),
        each(inflating),
        each(decoding),
        each(redacting)
    );
    Ok(())
}

fn recorded() -> Result<Vec<String>, Box<dyn Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/fixtures/wire/datamechanics/spark-3.5-pi");
    let mut events = Vec::new();
    for n in 1..=7 {
        let mut json = Vec::new();
        MultiGzDecoder::new(&std::fs::read(format!("{folder}/{n:05}.body"))?[..]).read_to_end(&mut json)?;
        let payload = decode(&json, ReceivedAt(0), LIMITS)?;
        events.extend(payload.events.into_iter().map(|it| String::from_utf8_lossy(&it.value).into_owned()));
    }
    Ok(events)
}

fn payload(events: &[String]) -> String {
    let message = |(i, it): (usize, &String)| serde_json::json!({"content": it, "generated_at": 1_795_229_683_257_u64 + i as u64 / 3, "message_type": "spark-event"});
    let messages: Vec<_> = events.iter().enumerate().map(message).collect();
    serde_json::json!({"job_name": "j", "run_id": "r", "messages": messages}).to_string()
}
