//! `emberlog import`: event logs into a server, or into its folder while it does not run.
//!
//! Resumable and idempotent without a state of its own: the target tells how many lines of a log it has.

mod embedded;
mod one;
mod report;
mod server;
mod target;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use event::redact::{self, Pattern};
use event::{Redaction, RunName};
use eventlog::{Log, Place, find};
use service::output;
use service::{chain, units};

use crate::client::{self, Client};
use crate::data_dir::DataDir;
use embedded::Embedded;
pub use one::{AnotherLog, anchor, is_next};
use one::{Rules, attempt, import};
use report::{Outcome, Progress, Summary, json_of, text_of};
pub use server::Server;
pub use target::{Attempt, Status, Target};

/// More threads than this wait for one journal.
const MAX_JOBS: usize = 64;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Event logs: files, rolling logs, folders of them, s3://BUCKET/PREFIX
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// Import into this folder of a server that does not run, instead of into a server
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<std::path::PathBuf>,
    /// Import as this attempt of the run, beside what is there
    #[arg(long, value_name = "N", conflicts_with = "replace", value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)))]
    pub as_attempt: Option<u32>,
    /// Delete what is there of a run, and import it anew; needs a token for administration
    #[arg(long)]
    pub replace: bool,
    /// Only say what would be imported
    #[arg(long)]
    pub dry_run: bool,
    /// Logs that are imported at once [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_JOBS as i64))]
    pub jobs: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// How long to try again what a server does not take
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = units::duration)]
    pub patience: Duration,
    /// With --data-dir: what makes a property a secret; a server has its own
    #[arg(long, env = "EMBERLOG_REDACT_PATTERN", value_name = "REGEX", default_value = redact::DEFAULT_PATTERN)]
    pub redact_pattern: Pattern,
    /// With --data-dir: keep secrets as they come
    #[arg(long, env = "EMBERLOG_NO_REDACTION")]
    pub no_redaction: bool,
    #[command(flatten)]
    pub server: client::Flags,
}

impl Options {
    fn target(&self) -> anyhow::Result<Box<dyn Target>> {
        let Some(path) = &self.data_dir else {
            return Ok(Box::new(Server::new(Client::new(&self.server)?, self.patience, Arc::default())));
        };
        let redaction = match self.no_redaction {
            true => Redaction::off(),
            false => self.redact_pattern.clone().into(),
        };
        Ok(Box::new(Embedded::open(&DataDir { path: path.clone() }, redaction)?))
    }

    fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.jobs.map_or_else(processors, usize::from).min(MAX_JOBS)
    }
}

/// 0: all logs are there or were left alone; 1: some failed, or there was none, or nothing could be done at all.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let logs = find_all(&options.paths)?;
    let target = options.target()?;
    let progress = Progress::new(logs.iter().flatten().map(Log::size).sum());
    let import =
        Import { options, target: &*target, progress: &progress, turns: Mutex::default(), done: Mutex::default() };
    import.all(&logs);
    progress.clear();
    let (summary, lines) = import.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if options.json {
        let mut json = summary.json();
        json["logs"] = lines.into();
        output::line(json);
    } else {
        output::line(summary.text(options.dry_run));
    }
    Ok(if summary.failed == 0 && !logs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Folders without any log are told: a mistyped one must not look like one that is done.
fn find_all(paths: &[String]) -> anyhow::Result<Vec<eventlog::Result<Log>>> {
    let mut logs = Vec::new();
    for path in paths {
        let place = Place::parse(path)?;
        let found = find(&place).with_context(|| format!("cannot look for logs in {path}"))?;
        if found.logs.is_empty() {
            let others = match found.others {
                0 => "it is empty".to_owned(),
                others => format!("{} passed over", output::count(others, "entry was", "entries were")),
            };
            eprintln!(
                "no event log in {path}: {others}. Spark calls its logs APP, APP.zstd, APP.lz4, APP.snappy or APP.lzf, \
                 each with .inprogress behind it while the application runs, and folders of them eventlog_v2_APP"
            );
        }
        logs.extend(found.logs);
    }
    Ok(logs)
}

struct Import<'a> {
    options: &'a Options,
    target: &'a dyn Target,
    progress: &'a Progress,
    /// Logs of one run, its attempts, are not imported at the same time, and only the first of them replaces it.
    turns: Mutex<HashMap<RunName, Arc<Mutex<bool>>>>,
    done: Mutex<(Summary, Vec<serde_json::Value>)>,
}

impl Import<'_> {
    fn all(&self, logs: &[eventlog::Result<Log>]) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.options.jobs().min(logs.len()) {
                scope.spawn(|| {
                    while let Some(log) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.one(log);
                    }
                });
            }
        });
    }

    fn one(&self, log: &eventlog::Result<Log>) {
        let (place, attempt, outcome) = match log {
            Err(error) => (String::new(), None, Outcome::Failed(chain(error))),
            Ok(log) => {
                let (attempt, outcome) = self.log(log);
                (log.place.clone(), attempt, outcome)
            }
        };
        if !self.options.json {
            self.progress.say(&text_of(&place, attempt.as_ref(), &outcome));
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0.add(&outcome);
        if self.options.json {
            done.1.push(json_of(&place, attempt.as_ref(), &outcome));
        }
    }

    fn log(&self, log: &Log) -> (Option<Attempt>, Outcome) {
        let mut rules =
            Rules { as_attempt: self.options.as_attempt, replace: self.options.replace, dry_run: self.options.dry_run };
        let attempt = match attempt(log, rules) {
            Ok(Some(attempt)) => attempt,
            Ok(None) => return (None, Outcome::Empty),
            Err(error) => return (None, Outcome::Failed(chain(error.as_ref()))),
        };
        let turn =
            self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(attempt.run.clone()).or_default().clone();
        let mut is_replaced = turn.lock().unwrap_or_else(PoisonError::into_inner);
        rules.replace &= !*is_replaced;
        *is_replaced |= rules.replace;
        let outcome = import(log, &attempt, rules, self.target, self.progress);
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(chain(error.as_ref())));
        (Some(attempt), outcome)
    }
}
