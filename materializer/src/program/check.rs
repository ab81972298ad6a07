//! The command `check`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use service::output;
use store::Reader;
use store::generation::Generations;

use super::progress::Line;

/// Reads the whole store in `dir`; `rebuild` is the command that mends it.
pub fn check(dir: &Path, json: bool, rebuild: &str) -> anyhow::Result<ExitCode> {
    let generations = Generations::open(dir)?;
    let generation = generations.current()?.context("the store is empty: nothing has run on this folder yet")?;
    let reader = Reader::frozen(&generations.path(generation), &store::Options::default())?;
    let mut line = Line::new(std::io::stderr().is_terminal());
    let checked = store::check(&reader, |runs, bytes| line.show(|| format!("{runs} runs, {} MB", bytes / 1_000_000)))?;
    line.clear();
    if json {
        let applied: Vec<_> = checked.applied.iter().map(|(partition, it)| (partition, it.next_offset)).collect();
        let json = serde_json::json!({
            "generation": generation, "digest": format!("{:032x}", checked.digest), "runs": checked.runs,
            "events": checked.events, "samples": checked.samples, "bytes": checked.bytes, "applied": applied, "faults": checked.faults,
        });
        output::line(json);
    } else {
        output::line(format_args!("generation  {generation}"));
        output::line(format_args!("digest      {:032x}", checked.digest));
        output::line(format_args!("runs        {}", checked.runs));
        output::line(format_args!("events      {} ({} bytes)", checked.events, checked.bytes));
        output::line(format_args!("samples     {}", checked.samples));
        for (partition, applied) in &checked.applied {
            output::line(format_args!("applied     partition {partition} up to offset {}", applied.next_offset));
        }
        for fault in &checked.faults {
            output::line(format_args!("fault       {fault}"));
        }
        match checked.faults.is_empty() {
            true => output::line("result      sound"),
            false => output::line(format_args!("result      NOT SOUND: {rebuild}")),
        }
    }
    Ok(if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
