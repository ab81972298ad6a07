//! `emberlog archive`: finished runs, as event logs in a folder or bucket that a Spark History Server reads.
//!
//! Beside the logs lies `.emberlog/`, which the History Server passes over: for each run one file that says which files are
//! its own and what is in them. It is written before the first of them, so that what a kill has left is known.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Args;
use eventlog::{Decoder, Place};
use serde::{Deserialize, Serialize};
use service::output;
use service::{chain, units};
use xxhash_rust::xxh3::Xxh3;

use super::Codec;
use super::run::{Run, each};
use super::write::{Written, names, stream};
use crate::client::{self, Client};

const RECORDS: &str = ".emberlog";
/// A record of a run of as many applications as there can be.
const MAX_RECORD_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The folder or bucket to archive to
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    pub to: String,
    /// Runs that ended longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub older_than: Duration,
    /// Delete the runs here once their files were read back and found whole; needs a token for administration
    #[arg(long)]
    pub delete: bool,
    /// Only this job
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// What to compress with
    #[arg(long, value_enum, default_value = "zstd")]
    pub codec: Codec,
    #[command(flatten)]
    pub server: client::Flags,
}

/// What is in the target of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Archived {
    version: u32,
    job_name: String,
    run_id: String,
    events: u64,
    bytes: u64,
    /// Whether all files are there.
    complete: bool,
    files: Vec<File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    name: String,
    /// As stored.
    size: u64,
    #[serde(flatten)]
    written: Written,
}

#[derive(Debug, Default)]
struct Summary {
    archived: u64,
    already_there: u64,
    deleted: u64,
    failed: u64,
}

struct Archive<'a> {
    client: Client,
    to: Place,
    records: Place,
    options: &'a Options,
}

/// 0: all of them are there; 1: some failed.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let to = Place::parse(&options.to)?;
    let records = to.child(RECORDS)?;
    to.create_dir()?;
    records.create_dir()?;
    let archive = Archive { client: Client::new(&options.server)?, to, records, options };
    let before = SystemTime::now().checked_sub(options.older_than).and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    let before = before.and_then(|it| i64::try_from(it.as_millis()).ok()).context("--older-than is too long")?;
    let mut summary = Summary::default();
    each(&archive.client, options.job.as_deref(), &mut |run| {
        if run.is_finished && run.ended_at.is_some_and(|ended| ended < before) {
            archive.one(&run, &mut summary);
        }
        Ok(())
    })?;
    let Summary { archived, already_there, deleted, failed } = summary;
    let archived = output::count(archived, "run", "runs");
    output::line(format!(
        "{archived} archived, {already_there} already there, {deleted} deleted here, {failed} failed"
    ));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Archive<'_> {
    fn one(&self, run: &Run, summary: &mut Summary) {
        let name = format!("({:?}, {:?})", run.job_name, run.run_id);
        let archived = match self.archive(run) {
            Ok((archived, is_new)) => {
                *(if is_new { &mut summary.archived } else { &mut summary.already_there }) += 1;
                let files: Vec<_> = archived.files.iter().map(|it| it.name.as_str()).collect();
                output::line(format!("{name}: {}{}", files.join(", "), if is_new { "" } else { " already there" }));
                archived
            }
            Err(error) => {
                summary.failed += 1;
                return output::line(format!("{name}: failed: {}", chain(error.as_ref())));
            }
        };
        if self.options.delete {
            match self.delete(run, &archived) {
                Ok(()) => {
                    summary.deleted += 1;
                    output::line(format!("{name}: deleted here"));
                }
                Err(error) => {
                    summary.failed += 1;
                    output::line(format!("{name}: not deleted: {}", chain(error.as_ref())));
                }
            }
        }
    }

    fn record(&self, run: &Run) -> anyhow::Result<Place> {
        Ok(self.records.child(&format!("{}.json", run.id))?)
    }

    /// What the target says that it has of the run.
    fn known(&self, run: &Run) -> anyhow::Result<Option<Archived>> {
        let place = self.record(run)?;
        if place.stat()?.is_none() {
            return Ok(None);
        }
        let mut json = Vec::new();
        place.open()?.take(MAX_RECORD_BYTES).read_to_end(&mut json).map_err(|e| place.io(e))?;
        let known: Archived = serde_json::from_slice(&json).with_context(|| format!("{place} is damaged"))?;
        ensure!(known.version == 1, "{place} is of version {}; this program knows version 1", known.version);
        Ok(Some(known))
    }

    /// Whether it was written now.
    fn archive(&self, run: &Run) -> anyhow::Result<(Archived, bool)> {
        let known = self.known(run)?;
        if let Some(known) = &known
            && known.complete
            && (known.events, known.bytes) == (run.events, run.bytes)
            && self.is_there(known)?
        {
            return Ok((known.clone(), false));
        }
        let own: Vec<String> = known.into_iter().flat_map(|it| it.files).map(|it| it.name).collect();
        let codec = self.options.codec.into();
        let mut files = Vec::new();
        for name in names(&self.client, run)? {
            let name = self.free(run, &name, codec, &own)?;
            files.push(File { name, size: 0, written: Written::default() });
        }
        let (job_name, run_id) = (run.job_name.clone(), run.run_id.clone());
        let (events, bytes) = (run.events, run.bytes);
        let mut archived = Archived { version: 1, job_name, run_id, events, bytes, complete: false, files };
        self.write_record(run, &archived)?;
        for (file, application) in archived.files.iter_mut().zip(1..) {
            let place = self.to.child(&file.name)?;
            let (sink, written) = stream(&self.client, run, application, codec, place.create()?)?;
            sink.into_inner().finish().map_err(|e| place.io(e))?;
            file.written = written;
            file.size = place.stat()?.with_context(|| format!("{place} is not there"))?.size;
        }
        let sum = |of: fn(&Written) -> u64| archived.files.iter().map(|it| of(&it.written)).sum::<u64>();
        let (lines, bytes) = (sum(|it| it.lines), sum(|it| it.bytes));
        ensure!(
            lines == run.events && bytes == run.bytes + run.events,
            "it has changed meanwhile: {lines} events came, and there were {}",
            run.events
        );
        archived.complete = true;
        self.write_record(run, &archived)?;
        Ok((archived, true))
    }

    /// A name that no other run's file has: App IDs need not differ.
    fn free(&self, run: &Run, name: &str, codec: eventlog::Codec, own: &[String]) -> anyhow::Result<String> {
        let id: String = run.id.chars().take(8).collect();
        for name in [format!("{name}{}", codec.suffix()), format!("{name}-{id}{}", codec.suffix())] {
            if own.contains(&name) || self.to.child(&name)?.stat()?.is_none() {
                return Ok(name);
            }
        }
        bail!("{}/{name} is there already, and not of this run", self.to)
    }

    fn is_there(&self, archived: &Archived) -> anyhow::Result<bool> {
        for file in &archived.files {
            if self.to.child(&file.name)?.stat()?.is_none_or(|it| it.size != file.size) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_record(&self, run: &Run, archived: &Archived) -> anyhow::Result<()> {
        let place = self.record(run)?;
        let mut sink = place.create()?;
        sink.write_all(&serde_json::to_vec(archived)?).map_err(|e| place.io(e))?;
        sink.finish().map_err(|e| place.io(e))?;
        Ok(())
    }

    /// Only what is whole in the target, and what has not changed since, goes.
    fn delete(&self, run: &Run, archived: &Archived) -> anyhow::Result<()> {
        for file in &archived.files {
            let place = self.to.child(&file.name)?;
            let found = read_back(&place).with_context(|| format!("cannot read {place} back"))?;
            ensure!(found == file.written, "{place} is not what was written");
        }
        let now = Run::get(&self.client, &run.name()?)?;
        ensure!(now == *run, "the run has changed since it was archived");
        self.client.delete(&format!("/v1/runs/{}", run.id))?.json()?;
        Ok(())
    }
}

/// Reads a file as anyone else would.
fn read_back(place: &Place) -> anyhow::Result<Written> {
    let name = place.name().unwrap_or_default();
    let codec = eventlog::single(&name).and_then(|it| it.codec.ok()).context("its name is no event log's")?;
    let (mut decoder, mut source) = (Decoder::new(codec)?, place.open()?);
    let (mut hasher, mut found) = (Xxh3::new(), Written::default());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        decoder.push(&buffer[..count], |text| {
            hasher.update(text);
            found.lines += memchr::memchr_iter(b'\n', text).count() as u64;
            found.bytes += text.len() as u64;
            Ok::<_, eventlog::codec::Damage>(())
        })?;
    }
    ensure!(decoder.is_whole(), "it is cut");
    found.xxh3 = format!("{:016x}", hasher.digest());
    Ok(found)
}
