//! The record of a run: what its duration, status and completeness are read from.

use event::{EventKey, JobName, ReceivedAt, RunHash, RunId, RunName, ingest};
use serde::{Deserialize, Serialize};

use super::spans::Spans;
use super::summary::Summary;
use crate::table::run::RunNumber;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub number: RunNumber,
    pub job_name: String,
    pub run_id: String,
    /// The journal's offset of the first record of the run.
    pub first_offset: u64,
    pub summary: Summary,
    pub spans: Spans,
    /// Stored events that came by `/v1/ingest`.
    #[serde(default)]
    pub ingested: u64,
    #[serde(default)]
    pub samples: Samples,
    pub arrival: Arrival,
}

/// A function of the run's samples alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    pub count: u64,
    /// Bytes of the samples, without line breaks.
    pub bytes: u64,
    /// The place of the newest.
    pub last: Option<EventKey>,
}

/// Counts and clocks of the delivery. Not part of a digest: a replay delivers at another time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    pub first_received_at: ReceivedAt,
    pub last_received_at: ReceivedAt,
    pub heartbeats: u64,
    pub duplicates: u64,
    /// Records under the run's key that could not be applied.
    pub quarantined: u64,
    /// Gaps of the journal that were accepted while the run went on: some of its records may be missing.
    #[serde(default)]
    pub journal_gaps: u64,
}

/// Why a run is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// An application without ApplicationStart.
    Start,
    /// Sequences that never came.
    Events,
    /// An application before the last has no ApplicationEnd.
    End,
    /// Records of the journal were lost before they were applied, and some may have been of this run; or records of this
    /// run could not be applied.
    Records,
}

impl Run {
    pub fn new(name: &RunName, number: RunNumber, first_offset: u64, received_at: ReceivedAt) -> Self {
        Self {
            number,
            job_name: name.job.to_string(),
            run_id: name.run.to_string(),
            first_offset,
            summary: Summary::default(),
            spans: Spans::default(),
            ingested: 0,
            samples: Samples::default(),
            arrival: Arrival { first_received_at: received_at, last_received_at: received_at, ..Arrival::default() },
        }
    }

    pub fn name(&self) -> crate::Result<RunName> {
        let damaged = |e| crate::Error::Damaged(format!("a run record holds a bad name: {e}"));
        Ok(RunName {
            job: JobName::new(&self.job_name).map_err(damaged)?,
            run: RunId::new(&self.run_id).map_err(damaged)?,
        })
    }

    pub fn hash(&self) -> crate::Result<RunHash> {
        Ok(self.name()?.hash())
    }

    /// When the run began, in milliseconds of the Unix epoch: by its first application, else by its first event,
    /// else by its first record's arrival.
    pub fn started_at(&self) -> i64 {
        let application = self.summary.started_at();
        let event = self.summary.first.map(|key| key.order).filter(|order| !ingest::is_attempt(*order));
        application.or(event).unwrap_or(self.arrival.first_received_at.0)
    }

    /// Milliseconds from the first application's start to the last one's end; none while one of them is missing
    /// or where the difference is no duration (negative, or beyond i64).
    pub fn duration_ms(&self) -> Option<i64> {
        let applications = self.summary.chronicle();
        let start = applications.first()?.start.as_ref()?.timestamp?;
        let end = applications.last()?.end.as_ref()?.timestamp?;
        end.checked_sub(start).filter(|duration| *duration >= 0)
    }

    /// Whether the last application has ended.
    pub fn is_finished(&self) -> bool {
        self.summary.chronicle().last().is_some_and(|it| it.end.is_some())
    }

    pub fn missing(&self) -> Vec<Missing> {
        let applications = self.summary.chronicle();
        let mut missing = Vec::new();
        if applications.is_empty() || applications.iter().any(|it| it.start.is_none()) {
            missing.push(Missing::Start);
        }
        if self.spans.gaps().is_some_and(|gaps| gaps > 0) {
            missing.push(Missing::Events);
        }
        if applications.split_last().is_some_and(|(_, before)| before.iter().any(|it| it.end.is_none())) {
            missing.push(Missing::End);
        }
        if self.arrival.journal_gaps > 0 || self.arrival.quarantined > 0 {
            missing.push(Missing::Records);
        }
        missing
    }
}

impl Samples {
    /// Takes in one sample. The result does not depend on the order of the calls.
    pub fn fold(&mut self, key: EventKey, sample: &[u8]) {
        self.count += 1;
        self.bytes += sample.len() as u64;
        self.last = Some(self.last.map_or(key, |last| last.max(key)));
    }
}

#[cfg(test)]
mod tests {
    use event::{Identity, Sequence};

    use super::super::summary::tests::{events, summary};
    use super::*;

    fn run_of(summary: Summary) -> Run {
        let name = RunName::new("job", "run").unwrap();
        Run { summary, ..Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(7)) }
    }

    #[test]
    fn two_contexts_in_one_run_are_two_applications() {
        let summary = summary(&events());
        let applications = summary.applications();
        let versions: Vec<_> = applications.iter().map(|it| it.spark_version.as_deref().unwrap()).collect();
        assert_eq!(versions, ["3.5.9", "4.3.0"]);
        assert_eq!(applications[1].begins_at, events()[4].0);
        assert!(summary.has_failed());
        let run = run_of(summary);
        assert_eq!((run.duration_ms(), run.is_finished(), run.started_at()), (Some(160), true, 100));
        assert_eq!(run.missing(), []);
    }

    #[test]
    fn a_run_without_its_start_or_end_says_so() {
        let run = run_of(summary(&events()[2..4]));
        assert_eq!((run.duration_ms(), run.is_finished(), run.missing()), (None, true, vec![Missing::Start]));
        let run = run_of(summary(&events()[..3]));
        assert_eq!((run.duration_ms(), run.is_finished(), run.missing()), (None, false, vec![]));
        let mut lost_end = events();
        lost_end.remove(3);
        assert_eq!(run_of(summary(&lost_end)).missing(), [Missing::End]);
    }

    #[test]
    fn an_attempt_imported_beside_a_listener_s_events_counts_by_its_time() {
        let application = |order: i64, start: i64, exit_code: i64| {
            let event = |sequence, rest: String| {
                let key = EventKey { order, sequence: Sequence(sequence), identity: Identity(0) };
                (key, format!(r#"{{"Event":"SparkListenerApplication{rest}}}"#).into_bytes())
            };
            let end = start + 50;
            [
                event(0, format!(r#"Start","Timestamp":{start}"#)),
                event(1, format!(r#"End","Timestamp":{end},"ExitCode":{exit_code}"#)),
            ]
        };
        let began = 1_795_229_680_000;
        for (sent, imported, has_failed) in [(began, began + 1000, true), (began + 1000, began, false)] {
            let events = [application(2, imported, 1), application(began, sent, 0)].concat();
            let run = run_of(summary(&events));
            assert_eq!((run.duration_ms(), run.started_at()), (Some(1050), began));
            assert_eq!((run.summary.has_failed(), run.missing()), (has_failed, vec![]));
        }
    }

    #[test]
    fn absurd_times_give_no_duration() {
        for (start, end) in [(i64::MIN, i64::MAX), (5, 4)] {
            let key = |order| EventKey { order, sequence: Sequence(0), identity: Identity(0) };
            let start = format!(r#"{{"Event":"SparkListenerApplicationStart","Timestamp":{start}}}"#);
            let end = format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{end}}}"#);
            let run = run_of(summary(&[(key(1), start.into_bytes()), (key(2), end.into_bytes())]));
            assert_eq!((run.duration_ms(), run.is_finished()), (None, true));
        }
    }

    #[test]
    fn the_number_of_an_attempt_is_not_taken_for_a_time() {
        let at = |order| {
            let key = EventKey { order, sequence: Sequence(0), identity: Identity(0) };
            run_of(summary(&[(key, br#"{"Event":"E"}"#.to_vec())])).started_at()
        };
        assert_eq!([at(0), at(3), at(i32::MAX.into())], [7, 7, 7], "when it came in");
        assert_eq!([at(1_795_229_683_257), at(-1)], [1_795_229_683_257, -1]);
    }
}
