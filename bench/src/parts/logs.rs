//! Event logs in and out: import into the embedded journal, against only decoding the same logs; and export, against reading
//! the same events over HTTP.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bench::Workload;
use bytes::Bytes;
use event::{ReceivedAt, Redaction, RunName, ingest};
use eventlog::{Chunk, LogReader, Place, find};

use super::{Context, per_second};
use crate::client::Client;
use crate::machine;
use crate::records::LIMITS;
use crate::report::{Figure, Goal};
use crate::server::{Role, Server, tool};

/// Enough for both processors.
const LOGS: u64 = 4;

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let workload =
        Workload { seed: context.seed + 5, runs: LOGS, events_per_run: context.requests / LOGS, ..Workload::default() };
    let dir = context.dir.join("logs");
    let logs = dir.join("in");
    let mut figures = Vec::new();
    for (codec, name) in [(".zstd", "zstd"), ("", "plain")] {
        write(&workload, &logs, codec)?;
        let before = decode(&logs)?;
        let data = dir.join(name);
        let idle = machine::cpu_of_ended()?;
        let wall = timed(tool().arg("import").arg(&logs).arg("--data-dir").arg(&data))?;
        let cpu = machine::cpu_of_ended()? - idle;
        // Before and after, since other processes disturb.
        let decoding = (before + decode(&logs)?) / 2;
        let decoding = per_second(workload.events(), decoding);
        let figure = |what: &str, time| {
            let name = format!("import of {name} logs into the embedded journal, {what}");
            let figure = Figure::new("logs", name, per_second(workload.events(), time), "events/s");
            figure.limit(decoding, "decode and validate, one core")
        };
        figures.push(figure("by the clock", wall).goal(Goal::AtLeast(150_000.0)));
        figures.push(figure("on one core", cpu));
        std::fs::remove_dir_all(&logs)?;
    }
    figures.push(export(&workload, &dir)?);
    std::fs::remove_dir_all(&dir)?;
    Ok(figures)
}

/// One log for each run, as Spark would name it.
fn write(workload: &Workload, logs: &Path, extension: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(logs)?;
    for number in 0..workload.runs {
        let mut run = workload.run(number);
        let file = BufWriter::new(File::create(logs.join(format!("{}{extension}", run.run_id())))?);
        let mut out: Box<dyn Write> = match extension {
            "" => Box::new(file),
            _ => Box::new(zstd::Encoder::new(file, 1)?.auto_finish()),
        };
        let mut line = Vec::new();
        while run.next(&mut line).is_some() {
            line.push(b'\n');
            out.write_all(&line)?;
            line.clear();
        }
        out.flush()?;
    }
    Ok(())
}

fn timed(command: &mut std::process::Command) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let status = command.status().context("cannot start a command")?;
    anyhow::ensure!(status.success(), "a command ended with {status}");
    Ok(begin.elapsed())
}

/// What no import can do without, on one thread: decompress, part into lines, validate, redact and identify every event.
fn decode(logs: &Path) -> anyhow::Result<Duration> {
    let redaction = Redaction::default();
    let run = RunName::new("bench", "bench")?;
    let begin = machine::thread_cpu();
    for log in find(&Place::Path(logs.to_owned()))?.logs {
        let mut emit = |chunk: Chunk| {
            let target = ingest::Target { run: run.clone(), first_sequence: i64::try_from(chunk.first)?, attempt: 0 };
            let lines = Bytes::from(chunk.bytes);
            std::hint::black_box(ingest::decode(&lines, target, ReceivedAt::now(), LIMITS, &redaction)?);
            anyhow::Ok(())
        };
        LogReader::new(0, 4 << 20).read(&log?, &mut |_| (), &mut emit)?;
    }
    Ok(machine::thread_cpu() - begin)
}

fn export(workload: &Workload, dir: &Path) -> anyhow::Result<Figure> {
    let server = Server::start(Role::Emberlog, &dir.join("plain"))?;
    let run = workload.run(0);
    let client = Client::new(&server.url);
    let path = |what: &str| format!("/job/{}/{}/{what}", run.job_name(), run.run_id());
    let deadline = Instant::now() + Duration::from_secs(120);
    while !client.get(&path("duration"))?.is_some_and(|text| text.contains(r#""status":"finished""#)) {
        anyhow::ensure!(Instant::now() < deadline, "the import is not applied");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut best: Option<(Duration, Duration)> = None;
    let mut bytes = 0;
    for _ in 0..4 {
        let begin = Instant::now();
        bytes = client.drain(&path("events"))?;
        let read = begin.elapsed();
        // To standard output, so that it is not the disk that is measured.
        let exported = timed(tool().args(["export", run.job_name(), run.run_id(), "--url", &server.url]))?;
        let (a, b) = best.unwrap_or((read, exported));
        best = Some((a.min(read), b.min(exported)));
    }
    server.stop()?;
    let (read, exported) = best.context("nothing was read")?;
    let rate = |time| per_second(bytes, time) / 1e6;
    Ok(Figure::new("logs", "export, by the clock, best of 4", rate(exported), "MB/s").limit(rate(read), "/events"))
}
