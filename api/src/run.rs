//! A run as it is answered: its record, and the status that depends on the time.

use std::time::Duration;

use event::ReceivedAt;
use serde::Serialize;
use store::{Application, Chronicle, Missing};
use utoipa::ToSchema;

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its last application has not ended, and it gives signs of life.
    Running,
    /// Its last application has ended.
    Finished,
    /// It has not ended, and has given no sign of life for longer than the configured time.
    Lost,
}

/// How a run ended, as far as its events tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has ended, and no event tells of a failure. A driver that fails outside of a Spark job can leave no trace.
    Succeeded,
    /// Its last Spark job failed, or its last application gave an exit code other than 0.
    Failed,
}

/// How long a run took, or has taken until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"job_name": "etl", "run_id": "local-1571838229751", "status": "finished", "duration_ms": 61234,
    "elapsed_ms": 61234, "final": true, "started_at": 1_571_838_228_003_i64, "ended_at": 1_571_838_289_237_i64, "invalid_times": false}))]
pub struct RunDuration {
    job_name: String,
    run_id: String,
    status: Status,
    /// From the start of the first application to the end of the last one, by the driver's clock. Null before it has
    /// ended, when the start or the end never came, and when the times make no duration.
    duration_ms: Option<i64>,
    /// As `duration_ms` once there is one; before, from the start until now; of a lost run, until its last sign of life.
    elapsed_ms: Option<i64>,
    /// Whether the run has ended, so that the answer stays.
    #[serde(rename = "final")]
    is_final: bool,
    /// The start of the first application, in milliseconds of the Unix epoch; null when it never came.
    started_at: Option<i64>,
    /// The end of the last application, in milliseconds of the Unix epoch; null when it has not come.
    ended_at: Option<i64>,
    /// Times that make no duration: an end before the start, or a difference beyond 64 bits.
    invalid_times: bool,
}

/// One application of a run: an attempt, or one of several contexts of one driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunApplication {
    app_id: Option<String>,
    attempt: Option<String>,
    name: Option<String>,
    user: Option<String>,
    spark_version: Option<String>,
    /// Milliseconds of the Unix epoch; null when its ApplicationStart never came.
    started_at: Option<i64>,
    /// Milliseconds of the Unix epoch; null when its ApplicationEnd has not come.
    ended_at: Option<i64>,
    /// Spark 4 and later.
    exit_code: Option<i64>,
}

/// What is missing of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingPart {
    /// An ApplicationStart.
    Start,
    /// Events whose sequences never came.
    Events,
    /// The ApplicationEnd of an application before the last.
    End,
    /// Records that the journal lost before they were applied, of which some may have been of this run; or records of this
    /// run that could not be applied (`quarantined`).
    Records,
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunBody {
    /// Opaque and URL-safe: names the run in the paths of `/v1`.
    id: String,
    #[serde(flatten)]
    duration: RunDuration,
    outcome: Option<Outcome>,
    /// Whether nothing is known to be missing so far.
    complete: bool,
    missing: Vec<MissingPart>,
    /// In order; of more than 256, the first 255 and the last.
    applications: Vec<RunApplication>,
    /// Applications before the last that are not listed.
    applications_left_out: u64,
    events: u64,
    /// Bytes of the events, without line breaks.
    bytes: u64,
    /// Samples of memory and the like.
    samples: u64,
    jobs_succeeded: u64,
    jobs_failed: u64,
    /// Values in the events that were replaced because they are secrets.
    redacted: u64,
    /// Events that never came, by their sequences; null when the agents of the run do not count exactly.
    gaps: Option<u64>,
    /// Different events at one sequence.
    conflicts: u64,
    /// Deliveries of events that were stored already.
    duplicates: u64,
    /// Records of the run that went to the dead letters.
    quarantined: u64,
    /// When its first and its last event or sign of life came in, in milliseconds of the Unix epoch.
    first_received_at: i64,
    last_received_at: i64,
}

/// The times that a run's status depends on.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub now: ReceivedAt,
    /// All that was received until then is in the store, so that an outage of the server makes no run lost.
    pub through: Option<ReceivedAt>,
    pub lost_after: Duration,
}

fn status(chronicle: &Chronicle<'_>, clock: &Clock) -> Status {
    let last_received_at = chronicle.run().arrival.last_received_at;
    let silence = clock.through.and_then(|through| through.0.checked_sub(last_received_at.0));
    let lost_after = i64::try_from(clock.lost_after.as_millis()).unwrap_or(i64::MAX);
    match silence {
        _ if chronicle.is_finished() => Status::Finished,
        Some(silence) if silence > lost_after => Status::Lost,
        _ => Status::Running,
    }
}

impl RunDuration {
    pub fn of(chronicle: &Chronicle<'_>, clock: &Clock) -> Self {
        let run = chronicle.run();
        let (started_at, ended_at) = (chronicle.started_at(), chronicle.ended_at());
        let status = status(chronicle, clock);
        let until = match status {
            Status::Finished => ended_at,
            Status::Running => Some(clock.now.0),
            Status::Lost => Some(run.arrival.last_received_at.0),
        };
        let elapsed = |(start, until): (i64, i64)| until.checked_sub(start).filter(|elapsed| *elapsed >= 0);
        let times = started_at.zip(until);
        let elapsed_ms = times.and_then(elapsed);
        Self {
            job_name: run.job_name.clone(),
            run_id: run.run_id.clone(),
            status,
            duration_ms: chronicle.duration_ms(),
            elapsed_ms,
            is_final: status == Status::Finished,
            started_at,
            ended_at,
            invalid_times: times.is_some() && elapsed_ms.is_none(),
        }
    }
}

impl RunBody {
    pub fn of(chronicle: &Chronicle<'_>, clock: &Clock) -> Result<Self, store::Error> {
        let run = chronicle.run();
        let duration = RunDuration::of(chronicle, clock);
        let outcome = match duration.is_final {
            true if chronicle.has_failed() => Some(Outcome::Failed),
            true => Some(Outcome::Succeeded),
            false => None,
        };
        let missing: Vec<_> = chronicle.missing().into_iter().map(MissingPart::from).collect();
        Ok(Self {
            id: run.hash()?.to_string(),
            duration,
            outcome,
            complete: missing.is_empty(),
            missing,
            applications: chronicle.applications().iter().map(RunApplication::from).collect(),
            applications_left_out: run.summary.applications_left_out,
            events: run.summary.events,
            bytes: run.summary.bytes,
            samples: run.samples.count,
            jobs_succeeded: run.summary.jobs_succeeded,
            jobs_failed: run.summary.jobs_failed,
            redacted: run.summary.redacted,
            gaps: run.spans.gaps(),
            conflicts: run.spans.conflicts(),
            duplicates: run.arrival.duplicates,
            quarantined: run.arrival.quarantined,
            first_received_at: run.arrival.first_received_at.0,
            last_received_at: run.arrival.last_received_at.0,
        })
    }
}

impl From<Missing> for MissingPart {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Start => Self::Start,
            Missing::Events => Self::Events,
            Missing::End => Self::End,
            Missing::Records => Self::Records,
        }
    }
}

impl From<&Application> for RunApplication {
    fn from(it: &Application) -> Self {
        let (start, end) = (it.start.as_ref(), it.end.as_ref());
        Self {
            app_id: start.and_then(|it| it.app_id.clone()),
            attempt: start.and_then(|it| it.attempt.clone()),
            name: start.and_then(|it| it.name.clone()),
            user: start.and_then(|it| it.user.clone()),
            spark_version: it.spark_version.clone(),
            started_at: start.and_then(|it| it.timestamp),
            ended_at: end.and_then(|it| it.timestamp),
            exit_code: end.and_then(|it| it.exit_code),
        }
    }
}
