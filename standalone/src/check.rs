//! `emberlog check`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use store::Reader;
use store::generation::Generations;

use crate::cli::CheckOptions;
use crate::progress::Line;

pub fn run(options: &CheckOptions) -> anyhow::Result<ExitCode> {
    options.data_dir.must_exist()?;
    let generations = Generations::open(&options.data_dir.store())?;
    let generation = generations.current()?.context("the store is empty: no server has run on this folder yet")?;
    let reader = Reader::frozen(&generations.path(generation), &store::Options::default())?;
    let mut line = Line::new(std::io::stderr().is_terminal());
    let checked = store::check(&reader, |runs, bytes| line.show(|| format!("{runs} runs, {} MB", bytes / 1_000_000)))?;
    line.clear();
    if options.json {
        let applied: Vec<_> = checked.applied.iter().map(|(partition, it)| (partition, it.next_offset)).collect();
        let json = serde_json::json!({
            "generation": generation, "digest": format!("{:032x}", checked.digest), "runs": checked.runs,
            "events": checked.events, "bytes": checked.bytes, "applied": applied, "faults": checked.faults,
        });
        println!("{json}");
    } else {
        println!("generation  {generation}");
        println!("digest      {:032x}", checked.digest);
        println!("runs        {}", checked.runs);
        println!("events      {} ({} bytes)", checked.events, checked.bytes);
        for (partition, applied) in &checked.applied {
            println!("applied     partition {partition} up to offset {}", applied.next_offset);
        }
        for fault in &checked.faults {
            println!("fault       {fault}");
        }
        println!(
            "result      {}",
            if checked.faults.is_empty() { "sound" } else { "NOT SOUND: emberlog rebuild --from journal" }
        );
    }
    Ok(if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
