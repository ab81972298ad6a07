//! `emberlog dlq`: looking at dead letters, and sending them again.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use event::dead_letter::DeadLetter;
use journal::{Position, Subscriber, local};

use crate::cli::{DlqCommand, DlqListOptions, DlqReplayOptions, DlqShowOptions};
use crate::data_dir::DataDir;

pub fn run(command: &DlqCommand) -> anyhow::Result<ExitCode> {
    match command {
        DlqCommand::List(options) => list(options),
        DlqCommand::Show(options) => show(options),
        DlqCommand::Replay(options) => replay(options),
    }
}

/// Visits dead letters from `first` on, oldest first, until told to stop.
fn each(
    data_dir: &DataDir,
    first: Option<u64>,
    mut visit: impl FnMut(u64, DeadLetter) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    data_dir.must_exist()?;
    let mut subscriber = local::open_reader(&data_dir.dead_letters())?;
    for extent in subscriber.extents()? {
        let offset = first.unwrap_or(extent.start);
        anyhow::ensure!(
            (extent.start..=extent.end).contains(&offset),
            "there is no dead letter {offset}; there are {} to {}",
            extent.start,
            extent.end
        );
        subscriber.seek(Position { partition: extent.partition, offset })?;
        let mut next = offset;
        while next < extent.end {
            for entry in subscriber.next(Duration::from_millis(100))? {
                next = entry.offset + 1;
                let letter = DeadLetter::from_parts(&entry.record.header, entry.record.value)
                    .with_context(|| format!("dead letter {}", entry.offset))?;
                if next > extent.end || !visit(entry.offset, letter)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn one(data_dir: &DataDir, id: u64) -> anyhow::Result<DeadLetter> {
    let mut found = None;
    each(data_dir, Some(id), |_, letter| {
        found = Some(letter);
        Ok(false)
    })?;
    found.with_context(|| format!("there is no dead letter {id}"))
}

fn list(options: &DlqListOptions) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    each(&options.data_dir, None, |id, letter| {
        if options.json {
            let mut json = serde_json::to_value(&letter)?;
            json["id"] = id.into();
            json["bytes"] = letter.value.len().into();
            writeln!(out, "{json}")?;
        } else {
            let kind = serde_json::to_value(letter.kind)?;
            let run = match (&letter.job_name, &letter.run_id) {
                // As JSON texts: names may hold line breaks and worse.
                (Some(job), Some(run)) => serde_json::to_string(&(job, run))?,
                _ => "-".to_owned(),
            };
            let kind = kind.as_str().unwrap_or_default();
            let (reason, bytes, detail) = (&letter.reason, letter.value.len(), letter.detail.escape_debug());
            writeln!(out, "{id}\t{}\t{kind}\t{reason}\t{bytes} bytes\t{run}\t{detail}", letter.received_at)?;
        }
        Ok(true)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn show(options: &DlqShowOptions) -> anyhow::Result<ExitCode> {
    let letter = one(&options.data_dir, options.id)?;
    let mut out = std::io::stdout().lock();
    if !options.raw {
        writeln!(out, "{}", serde_json::to_string_pretty(&letter)?)?;
    }
    out.write_all(&letter.value)?;
    if !options.raw {
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(options: &DlqReplayOptions) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(options.with.is_none() || options.ids.len() == 1, "--with takes the bytes of one dead letter");
    let mended = options.with.as_ref().map(std::fs::read).transpose().context("cannot read the file of --with")?;
    let mut letters = Vec::new();
    if options.all {
        // Known before the first is sent: what is refused again becomes a new dead letter.
        each(&options.data_dir, None, |id, _| {
            letters.push(id);
            Ok(true)
        })?;
    } else {
        letters.clone_from(&options.ids);
    }
    let (mut stored, mut failed) = (0, 0);
    for id in letters {
        let mut letter = one(&options.data_dir, id)?;
        if let Some(mended) = &mended {
            letter.truncated_from = None;
            letter.value = mended.clone().into();
        }
        match send(&options.url, &letter) {
            Ok(()) => {
                stored += 1;
                println!("{id}\tstored");
            }
            Err(error) => {
                failed += 1;
                println!("{id}\t{error:#}");
            }
        }
    }
    println!("{stored} stored, {failed} not");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn send(url: &str, letter: &DeadLetter) -> anyhow::Result<()> {
    let replay = letter.replay()?;
    let target = format!("{}{}", url.trim_end_matches('/'), replay.path);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    let mut request = agent.post(&target);
    for (name, value) in &replay.headers {
        request = request.header(name, value);
    }
    let mut answer = request.send(&replay.body[..]).with_context(|| format!("cannot reach {target}"))?;
    let status = answer.status();
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    anyhow::ensure!(status == 200, "refused with {status}: {}", json["message"].as_str().unwrap_or(&body));
    anyhow::ensure!(json["dead_lettered"] == 0, "still no event: it is a dead letter again");
    Ok(())
}
