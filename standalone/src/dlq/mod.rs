//! `emberlog dlq`: looking at dead letters, and sending them again.

mod letters;
mod records;
mod replay;

use std::io::Write;
use std::process::ExitCode;

use event::dead_letter::DeadLetter;
use service::output::Output;
use service::units;

use crate::cli::{DlqCommand, DlqListOptions, DlqShowOptions};
pub use letters::Id;
use letters::{Letter, each, one};

pub fn run(command: &DlqCommand) -> anyhow::Result<ExitCode> {
    match command {
        DlqCommand::List(options) => list(options),
        DlqCommand::Show(options) => show(options),
        DlqCommand::Replay(options) => replay::run(options),
    }
}

fn list(options: &DlqListOptions) -> anyhow::Result<ExitCode> {
    let mut out = Output::lock();
    let mut is_first = true;
    each(&options.source, None, |Letter { id, read, .. }| {
        if !options.json && std::mem::take(&mut is_first) {
            writeln!(out, "NUMBER\tRECEIVED\tKIND\tREASON\tBYTES\tRUN\tDETAIL")?;
        }
        match read {
            Ok(letter) if options.json => writeln!(out, "{}", json_of(id, &letter)?)?,
            Ok(letter) => writeln!(out, "{}", text_of(id, &letter)?)?,
            Err(error) if options.json => {
                let json = serde_json::json!({"id": id.to_string(), "error": service::chain(&error)});
                writeln!(out, "{json}")?;
            }
            // One record of somebody else's must not hide those behind it.
            Err(error) => eprintln!("{id}: not readable: {}", service::chain(&error)),
        }
        Ok(true)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn json_of(id: Id, letter: &DeadLetter) -> anyhow::Result<serde_json::Value> {
    let mut json = serde_json::to_value(letter)?;
    json["id"] = id.to_string().into();
    json["bytes"] = letter.value.len().into();
    Ok(json)
}

fn text_of(id: Id, letter: &DeadLetter) -> anyhow::Result<String> {
    let kind = serde_json::to_value(letter.kind)?;
    let run = match (&letter.job_name, &letter.run_id) {
        // As JSON texts: names may hold line breaks and worse.
        (Some(job), Some(run)) => serde_json::to_string(&(job, run))?,
        _ => "-".to_owned(),
    };
    let kind = kind.as_str().unwrap_or_default();
    let (bytes, reason, detail) = (letter.value.len(), letter.reason.escape_debug(), letter.detail.escape_debug());
    Ok(format!("{id}\t{}\t{kind}\t{reason}\t{bytes}\t{run}\t{detail}", units::utc(letter.received_at.0)))
}

fn show(options: &DlqShowOptions) -> anyhow::Result<ExitCode> {
    let letter = one(&options.source, options.id)?.read?;
    let mut out = Output::lock();
    if !options.raw {
        writeln!(out, "{}", serde_json::to_string_pretty(&letter)?)?;
    }
    out.write_all(&letter.value)?;
    if !options.raw {
        writeln!(out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
