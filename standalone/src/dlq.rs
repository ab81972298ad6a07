//! `emberlog dlq`: looking at dead letters, and sending them again.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use event::dead_letter::DeadLetter;
use journal::patient::{self, Patient};
use journal::{Extent, Position, Subscriber, kafka, local};
use prometheus::Registry;

use crate::cli::{DlqCommand, DlqListOptions, DlqReplayOptions, DlqShowOptions, DlqSource as Source};
use crate::client::Client;

pub fn run(command: &DlqCommand) -> anyhow::Result<ExitCode> {
    match command {
        DlqCommand::List(options) => list(options),
        DlqCommand::Show(options) => show(options),
        DlqCommand::Replay(options) => replay(options),
    }
}

/// Where a dead letter lies. Topics and folders that Emberlog makes have one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    partition: u32,
    offset: u64,
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (partition, offset) = text.split_once(':').unwrap_or(("0", text));
        let id = partition.parse().ok().zip(offset.parse().ok());
        let (partition, offset) = id.ok_or("not the number of a dead letter, as `list` prints it first")?;
        Ok(Self { partition, offset })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => write!(f, "{}", self.offset),
            partition => write!(f, "{partition}:{}", self.offset),
        }
    }
}

impl Source {
    fn open(&self) -> anyhow::Result<Box<dyn Subscriber>> {
        let Some(settings) = self.kafka.dead_letters(&self.dlq)? else {
            self.data_dir.must_exist()?;
            return Ok(Box::new(local::open_reader(&self.data_dir.dead_letters())?));
        };
        let metrics = kafka::SubscriberMetrics::register(&Registry::new(), &settings.topic)?;
        let subscriber = kafka::Subscriber::open(settings, kafka::SubscriberOptions::default(), metrics)?;
        Ok(Box::new(Patient::new(subscriber, patient::PATIENCE)))
    }
}

/// Visits dead letters from `first` on, oldest first in each partition, until told to stop.
fn each(
    from: &Source,
    first: Option<Id>,
    mut visit: impl FnMut(Id, DeadLetter) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut subscriber = from.open()?;
    let extents = subscriber.extents()?;
    anyhow::ensure!(
        first.is_none_or(|first| extents.iter().any(|it| it.partition == first.partition)),
        "there is no dead letter of that number"
    );
    for extent in extents.into_iter().filter(|it| first.is_none_or(|first| first.partition == it.partition)) {
        let offset = first.map_or(extent.start, |first| first.offset);
        anyhow::ensure!(
            (extent.start..=extent.end).contains(&offset),
            "there is no dead letter {offset}; there are {} to {}",
            extent.start,
            extent.end
        );
        if !visit_partition(subscriber.as_mut(), extent, offset, &mut visit)? {
            return Ok(());
        }
    }
    Ok(())
}

fn visit_partition(
    subscriber: &mut dyn Subscriber,
    extent: Extent,
    offset: u64,
    visit: &mut dyn FnMut(Id, DeadLetter) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    const PATIENCE: Duration = patient::PATIENCE;
    let Extent { partition, end, .. } = extent;
    subscriber.seek(Position { partition, offset })?;
    let (mut next, mut came) = (offset, Instant::now());
    while next < end {
        anyhow::ensure!(came.elapsed() < PATIENCE, "dead letter {} did not come", Id { partition, offset: next });
        for entry in subscriber.next(Duration::from_millis(100))?.into_iter().filter(|it| it.partition == partition) {
            let id = Id { partition, offset: entry.offset };
            (next, came) = (entry.offset + 1, Instant::now());
            let letter = DeadLetter::from_parts(&entry.record.header, entry.record.value)
                .with_context(|| format!("dead letter {id}"))?;
            if next > end {
                break;
            }
            if !visit(id, letter)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn one(from: &Source, id: Id) -> anyhow::Result<DeadLetter> {
    let mut found = None;
    each(from, Some(id), |at, letter| {
        found = (at == id).then_some(letter);
        Ok(false)
    })?;
    found.with_context(|| format!("there is no dead letter {id}"))
}

fn list(options: &DlqListOptions) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    each(&options.source, None, |id, letter| {
        if options.json {
            let mut json = serde_json::to_value(&letter)?;
            json["id"] = id.to_string().into();
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
    let letter = one(&options.source, options.id)?;
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
    let client = Client::new(&options.server)?;
    let mut letters = Vec::new();
    if options.all {
        // Known before the first is sent: what is refused again becomes a new dead letter.
        each(&options.source, None, |id, _| {
            letters.push(id);
            Ok(true)
        })?;
    } else {
        letters.clone_from(&options.ids);
    }
    let (mut stored, mut failed) = (0, 0);
    for id in letters {
        let mut letter = one(&options.source, id)?;
        if let Some(mended) = &mended {
            letter.truncated_from = None;
            letter.value = mended.clone().into();
        }
        match send(&client, &letter) {
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

fn send(client: &Client, letter: &DeadLetter) -> anyhow::Result<()> {
    let replay = letter.replay()?;
    let headers: Vec<_> = replay.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = client.post(&replay.path, &headers, &replay.body)?.json()?;
    anyhow::ensure!(answer["dead_lettered"] == 0, "still no event: it is a dead letter again");
    Ok(())
}
