//! Decoding and redacting the same events as each protocol brings them.

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use bench::{Payload, Workload};
use bytes::Bytes;
use event::delight::{self, Route};
use event::ingest::{self, Target};
use event::{ReceivedAt, Redaction, RunName, collect};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::machine;
use crate::records::LIMITS;
use crate::report::Figure;

const DECOMPRESSED: usize = 256 << 20;

/// Processor time of each protocol.
#[derive(Debug, Default)]
struct Times {
    collect: Duration,
    delight: Duration,
    ingest: Duration,
}

pub fn figures(workload: &Workload) -> anyhow::Result<Vec<Figure>> {
    let redaction = Redaction::default();
    let (mut times, mut events) = (Times::default(), 0);
    for payload in workload.payloads() {
        events += payload.events().count();
        times.collect += collected(&payload, &redaction)?;
        let lines: Vec<u8> = payload.events().flat_map(|(_, event)| [event, b"\n"].concat()).collect();
        times.delight += delight(&payload, &lines, &redaction)?;
        times.ingest += ingested(&payload, &lines, &redaction)?;
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
    let figure = |name, time| {
        Figure::new("collect", name, micros(time), "us/event")
            .limit(micros(times.collect), "decode and redact, /collect")
    };
    Ok(vec![figure("decode and redact, Delight", times.delight), figure("decode and redact, /v1/ingest", times.ingest)])
}

fn collected(payload: &Payload, redaction: &Redaction) -> anyhow::Result<Duration> {
    let gzip = payload.to_gzip();
    let begin = machine::thread_cpu();
    let json = collector::gzip::decompress_all(&gzip, DECOMPRESSED)?;
    black_box(collect::decode_redacted(&json, ReceivedAt(0), LIMITS, redaction)?);
    Ok(machine::thread_cpu() - begin)
}

fn delight(payload: &Payload, lines: &[u8], redaction: &Redaction) -> anyhow::Result<Duration> {
    let (app_id, counter, data) = (&payload.run_id, payload.message_counter, delight::pack(lines));
    let body =
        serde_json::json!({"dmAppId": app_id, "counters": {"messageCounter": counter}, "data": data}).to_string();
    let begin = machine::thread_cpu();
    let envelope = delight::read(body.as_bytes(), Route::Bulk)?;
    let lines = Bytes::from(collector::gzip::decompress_all(&envelope.data, DECOMPRESSED)?);
    black_box(envelope.events(&lines, ReceivedAt(0), LIMITS, redaction)?);
    Ok(machine::thread_cpu() - begin)
}

fn ingested(payload: &Payload, lines: &[u8], redaction: &Redaction) -> anyhow::Result<Duration> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(lines)?;
    let gzip = encoder.finish()?;
    let run = RunName::new(&payload.job_name, &payload.run_id)?;
    let begin = machine::thread_cpu();
    let lines = Bytes::from(collector::gzip::decompress_all(&gzip, DECOMPRESSED)?);
    if !lines.is_empty() {
        let target = Target { run, first_sequence: 0, attempt: 0 };
        black_box(ingest::decode(&lines, target, ReceivedAt(0), LIMITS, redaction)?);
    }
    Ok(machine::thread_cpu() - begin)
}
