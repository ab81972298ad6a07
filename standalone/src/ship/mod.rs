//! `emberlog ship`: follows the event logs of a folder and sends what is new.
//!
//! It keeps no state: after a restart the server tells how many lines of each log it has.

mod follower;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use clap::Args;
use event::RunName;
use eventlog::{Head, Log, Place, find};
use service::{chain, units};

use crate::client::{self, Client};
use crate::import::{AnotherLog, Attempt, Server};
use follower::{Follower, Left, Turn};

/// An application whose environment names a listener is given so long to be known by its events.
const LISTENER_GRACE: Duration = Duration::from_secs(30);
/// After what a person has to mend: a token, a full disk, a limit.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
const REPORT_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The folder that Spark writes its event logs to (spark.eventLog.dir)
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// How often to look for what is new
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = units::duration)]
    pub poll: Duration,
    /// Pass over logs that were last written longer ago than this [default: send all]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub since: Option<Duration>,
    #[command(flatten)]
    pub server: client::Flags,
}

/// Ends with 0 after a signal.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let place = Place::Path(options.dir.clone());
    place.list().with_context(|| format!("cannot read the folder {}", options.dir.display()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Runtime::new()?;
    let told = stop.clone();
    let signals = runtime.block_on(async { service::shutdown::on_signals() })?;
    runtime.spawn(async move {
        signals.cancelled().await;
        told.store(true, Ordering::Relaxed);
    });
    let server = Server::new(Client::new(&options.server)?, Duration::MAX, stop.clone());
    tracing::info!(dir = %options.dir.display(), url = options.server.url, "shipping");
    let oldest = options.since.and_then(|since| SystemTime::now().checked_sub(since));
    Ship { place, server, stop, oldest, logs: BTreeMap::new(), sent: 0 }.run(options.poll);
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

struct Ship {
    place: Place,
    server: Server,
    stop: Arc<AtomicBool>,
    oldest: Option<SystemTime>,
    /// By what they are called, whether in progress or not.
    logs: BTreeMap<String, State>,
    sent: u64,
}

/// What is known of a log.
enum State {
    /// Nothing of it is sent yet.
    New {
        since: Instant,
        size: Option<u64>,
    },
    Following {
        follower: Box<Follower>,
        seen: Mark,
    },
    /// Nothing more is sent unless it changes.
    Done(Mark),
    LeftAlone,
    /// After a failure that is not the server's absence.
    Later(Instant),
}

/// What changes when a log is written to or renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    size: u64,
    files: usize,
    in_progress: bool,
}

impl Mark {
    fn of(log: &Log) -> Self {
        Self { size: log.size(), files: log.files.len(), in_progress: log.in_progress }
    }
}

impl Ship {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn run(mut self, poll: Duration) {
        let mut reported = Instant::now();
        while !self.is_stopped() {
            let began = Instant::now();
            let is_idle = self.look();
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                self.report();
            }
            while is_idle && began.elapsed() < poll && !self.is_stopped() {
                std::thread::sleep(Duration::from_millis(50).min(poll));
            }
        }
    }

    fn report(&mut self) {
        let count = |is: fn(&State) -> bool| self.logs.values().filter(|it| is(it)).count();
        let following = count(|it| matches!(it, State::Following { .. }));
        let done = count(|it| matches!(it, State::Done(_)));
        let left = count(|it| matches!(it, State::LeftAlone));
        tracing::info!(following, done, left_alone = left, events = std::mem::take(&mut self.sent), "shipped");
    }

    /// One turn for each log; false if one of them has more.
    fn look(&mut self) -> bool {
        let found = match find(&self.place) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("{error}");
                return true;
            }
        };
        let (mut there, mut is_idle) = (BTreeSet::new(), true);
        // A rolling log without a part yet, or with one removed while it was listed, is whole at another time.
        for log in found.logs.into_iter().flatten() {
            let name = log.place.strip_suffix(".inprogress").unwrap_or(&log.place).to_owned();
            if self.is_stopped() {
                return true;
            }
            let state = self.logs.remove(&name).unwrap_or(State::New { since: Instant::now(), size: None });
            let state = self.log(&log, state, &mut is_idle);
            self.logs.insert(name.clone(), state);
            there.insert(name);
        }
        self.logs.retain(|name, _| there.contains(name));
        is_idle
    }

    fn log(&mut self, log: &Log, state: State, is_idle: &mut bool) -> State {
        let mark = Mark::of(log);
        let result = match state {
            State::Done(seen) if seen == mark => return State::Done(seen),
            State::LeftAlone => return State::LeftAlone,
            State::Later(until) if Instant::now() < until => return State::Later(until),
            State::Following { follower, seen } if seen == mark => return State::Following { follower, seen },
            State::Following { mut follower, .. } => {
                self.turn(log, &mut follower, mark, is_idle).map(|done| match done {
                    Ok(mark) => State::Done(mark),
                    Err(seen) => State::Following { follower, seen },
                })
            }
            State::New { since, size } => self.begin(log, since, size, mark, is_idle),
            State::Done(_) | State::Later(_) => self.begin(log, Instant::now(), None, mark, is_idle),
        };
        result.unwrap_or_else(|error| failed(log, &error, self.is_stopped()))
    }

    /// Takes a log up, if it is time.
    fn begin(
        &mut self,
        log: &Log,
        since: Instant,
        size: Option<u64>,
        mark: Mark,
        is_idle: &mut bool,
    ) -> anyhow::Result<State> {
        if log.modified.zip(self.oldest).is_some_and(|(modified, oldest)| modified < oldest) {
            return Ok(State::Done(mark));
        }
        let grace_is_over = since.elapsed() >= LISTENER_GRACE;
        if size == Some(mark.size) && log.in_progress && !grace_is_over {
            return Ok(State::New { since, size });
        }
        let head = Head::read(log)?;
        let Some(application) = head.application else { return Ok(State::New { since, size: Some(mark.size) }) };
        if head.has_listener && log.in_progress && !grace_is_over {
            return Ok(State::New { since, size: Some(mark.size) });
        }
        let run = RunName::new(&application.name, &application.id)?;
        let attempt = Attempt { run, number: application.attempt };
        let mut follower = Box::new(Follower::begin(log, attempt, &self.server, self.stop.clone())?);
        Ok(match self.turn(log, &mut follower, mark, is_idle)? {
            Ok(mark) => State::Done(mark),
            Err(seen) => State::Following { follower, seen },
        })
    }

    /// What is known of the log behind the turn: that it is done, or up to where it was read.
    fn turn(
        &mut self,
        log: &Log,
        follower: &mut Follower,
        mark: Mark,
        is_idle: &mut bool,
    ) -> anyhow::Result<Result<Mark, Mark>> {
        let (turn, sent) = follower.turn(log, &self.server)?;
        self.sent += sent;
        Ok(match turn {
            Turn::Done => {
                let run = &follower.attempt.run;
                tracing::info!(log = log.place, job = run.job.as_str(), run = run.run.as_str(), "all of it is sent");
                Ok(mark)
            }
            Turn::Waiting => Err(mark),
            Turn::More => {
                *is_idle = false;
                // No log is as this: it is looked at again.
                Err(Mark { files: usize::MAX, ..mark })
            }
        })
    }
}

fn failed(log: &Log, error: &anyhow::Error, is_stopped: bool) -> State {
    let is_renamed = match error.downcast_ref::<eventlog::Error>() {
        Some(eventlog::Error::Io { source, .. }) => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    };
    if is_renamed || is_stopped {
        return State::New { since: Instant::now(), size: None };
    }
    let is_final = error.is::<Left>()
        || error.is::<AnotherLog>()
        || matches!(error.downcast_ref(), Some(eventlog::Error::Damaged { .. } | eventlog::Error::LineTooLong { .. }));
    if is_final {
        tracing::warn!(log = log.place, "left alone: {}", chain(error.as_ref()));
        return State::LeftAlone;
    }
    tracing::error!(log = log.place, "not sent, to be tried again in {AFTER_FAILURE:?}: {}", chain(error.as_ref()));
    State::Later(Instant::now() + AFTER_FAILURE)
}
