//! The record of a run: what its duration, status and completeness are read from.

use std::collections::BTreeMap;

use event::header::Instance;
use event::spark::{ApplicationEnd, ApplicationStart, Lifecycle, lifecycle};
use event::{EventKey, Header, JobName, Protocol, ReceivedAt, RunHash, RunId, RunName, Sequence, ingest, redact};
use serde::{Deserialize, Serialize};

use crate::table::run::RunNumber;

/// Application events kept in a record; of more, those first in order. Bounds what a hostile run costs.
const MAX_APPLICATIONS: usize = 256;

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

/// A function of the run's events alone: their places and bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub events: u64,
    /// Bytes of the events, without line breaks.
    pub bytes: u64,
    pub first: Option<EventKey>,
    pub last: Option<EventKey>,
    starts: Vec<(EventKey, ApplicationStart)>,
    ends: Vec<(EventKey, ApplicationEnd)>,
    versions: Vec<(EventKey, String)>,
    last_job_end: Option<(EventKey, bool)>,
    pub jobs_succeeded: u64,
    pub jobs_failed: u64,
    /// Values in the events that were replaced because they are secrets.
    #[serde(default)]
    pub redacted: u64,
}

/// What the headers of the stored events tell of sequences; a function of the events and their protocols.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spans(Vec<Span>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Span {
    instance: Option<Instance>,
    first: Sequence,
    last: Sequence,
    /// Different sequences seen.
    count: u64,
    /// Events beyond the first at their sequence.
    conflicts: u64,
}

/// Counts and clocks of the delivery. Not part of a digest: a replay delivers at another time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    pub first_received_at: ReceivedAt,
    pub last_received_at: ReceivedAt,
    pub heartbeats: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    /// Gaps of the journal that were accepted while the run went on: some of its records may be missing.
    #[serde(default)]
    pub journal_gaps: u64,
}

/// One application of a run: Spark's attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Where its events begin. The first application's events begin with the run's.
    pub begins_at: EventKey,
    pub start: Option<ApplicationStart>,
    pub end: Option<ApplicationEnd>,
    pub spark_version: Option<String>,
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
    /// Records of the journal were lost before they were applied; some may have been of this run.
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
        let application = self.summary.starts.iter().find_map(|(_, start)| start.timestamp);
        // An attempt of `/v1/ingest` is no time, and no time of Spark's is as early as the last attempt: January 1970.
        let is_attempt = |order: &i64| (0..=i64::from(ingest::MAX_ATTEMPT)).contains(order);
        let event = self.summary.first.map(|key| key.order).filter(|order| !is_attempt(order));
        application.or(event).unwrap_or(self.arrival.first_received_at.0)
    }

    /// Milliseconds from the first application's start to the last one's end; none while one of them is missing
    /// or where the difference is no duration (negative, or beyond i64).
    pub fn duration_ms(&self) -> Option<i64> {
        let applications = self.summary.applications();
        let start = applications.first()?.start.as_ref()?.timestamp?;
        let end = applications.last()?.end.as_ref()?.timestamp?;
        end.checked_sub(start).filter(|duration| *duration >= 0)
    }

    /// Whether the last application has ended.
    pub fn is_finished(&self) -> bool {
        self.summary.applications().last().is_some_and(|it| it.end.is_some())
    }

    pub fn missing(&self) -> Vec<Missing> {
        let applications = self.summary.applications();
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
        if self.arrival.journal_gaps > 0 {
            missing.push(Missing::Records);
        }
        missing
    }
}

impl Summary {
    /// Takes in one event. The result does not depend on the order of the calls.
    pub fn fold(&mut self, key: EventKey, event: &[u8]) {
        self.events += 1;
        self.bytes += event.len() as u64;
        self.redacted += redact::count(event);
        self.first = Some(self.first.map_or(key, |first| first.min(key)));
        self.last = Some(self.last.map_or(key, |last| last.max(key)));
        match lifecycle(event) {
            Some(Lifecycle::ApplicationStart(start)) => insert(&mut self.starts, key, start),
            Some(Lifecycle::ApplicationEnd(end)) => insert(&mut self.ends, key, end),
            Some(Lifecycle::LogStart { spark_version: Some(version) }) => insert(&mut self.versions, key, version),
            Some(Lifecycle::JobEnd { succeeded }) => {
                *(if succeeded { &mut self.jobs_succeeded } else { &mut self.jobs_failed }) += 1;
                if self.last_job_end.is_none_or(|(last, _)| last < key) {
                    self.last_job_end = Some((key, succeeded));
                }
            }
            Some(Lifecycle::LogStart { spark_version: None }) | None => {}
        }
    }

    /// The applications in order. A start opens one; an end closes the one before it. LogStart belongs to the
    /// start that follows it. Events before the first start belong to the first application.
    pub fn applications(&self) -> Vec<Application> {
        enum Mark<'a> {
            Version(&'a String),
            Start(&'a ApplicationStart),
            End(&'a ApplicationEnd),
        }
        let mut marks: BTreeMap<EventKey, Mark> = BTreeMap::new();
        marks.extend(self.versions.iter().map(|(key, it)| (*key, Mark::Version(it))));
        marks.extend(self.starts.iter().map(|(key, it)| (*key, Mark::Start(it))));
        marks.extend(self.ends.iter().map(|(key, it)| (*key, Mark::End(it))));
        let mut applications: Vec<Application> = Vec::new();
        // The application that a LogStart has announced and no ApplicationStart has opened yet.
        let mut announced: Option<(EventKey, String)> = None;
        for (key, mark) in marks {
            match mark {
                Mark::Version(version) => announced = Some((key, version.clone())),
                Mark::Start(start) => {
                    let (begins_at, spark_version) =
                        announced.take().map_or((key, None), |(at, version)| (at, Some(version)));
                    applications.push(Application { begins_at, start: Some(start.clone()), end: None, spark_version });
                }
                Mark::End(end) => match applications.last_mut() {
                    Some(open) if open.end.is_none() && announced.is_none() => open.end = Some(end.clone()),
                    _ => {
                        let (begins_at, spark_version) =
                            announced.take().map_or((key, None), |(at, version)| (at, Some(version)));
                        applications.push(Application {
                            begins_at,
                            start: None,
                            end: Some(end.clone()),
                            spark_version,
                        });
                    }
                },
            }
        }
        if let (Some(first), Some(key)) = (applications.first_mut(), self.first) {
            first.begins_at = key;
        }
        applications
    }

    /// Whether the last job that ended, or an application's exit code, tells of a failure. A driver that fails
    /// outside of a Spark job can leave no trace in the events.
    pub fn has_failed(&self) -> bool {
        let exit = self.ends.last().and_then(|(_, end)| end.exit_code).is_some_and(|code| code != 0);
        exit || self.last_job_end.is_some_and(|(_, succeeded)| !succeeded)
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

impl Spans {
    const MAX: usize = 64;

    /// Takes in the header of one stored event; `conflict`: another event is stored at its sequence.
    pub fn fold(&mut self, header: &Header, conflict: bool) {
        let (Some(sequence), true) = (header.sequence, header.protocol != Protocol::Collect) else { return };
        if let Some(span) = self.0.iter_mut().find(|it| it.instance == header.instance) {
            span.first = span.first.min(sequence);
            span.last = span.last.max(sequence);
            *(if conflict { &mut span.conflicts } else { &mut span.count }) += 1;
        } else if self.0.len() < Self::MAX {
            let instance = header.instance;
            self.0.push(Span { instance, first: sequence, last: sequence, count: 1, conflicts: 0 });
            self.0.sort_by_key(|it| it.instance);
        }
    }

    /// The first sequence from 0 of which no event is stored, if it is behind all that are: none where one before them
    /// is missing, and where nothing is known of the instance because the run has too many.
    pub fn next_sequence(&self, instance: Option<Instance>) -> Option<Sequence> {
        let Some(span) = self.0.iter().find(|it| it.instance == instance) else {
            return (self.0.len() < Self::MAX).then_some(Sequence(0));
        };
        let length = i128::from(span.last.0) - i128::from(span.first.0) + 1;
        let is_whole = span.first.0 <= 0 && length == i128::from(span.count);
        is_whole.then(|| Sequence(span.last.0.saturating_add(1).max(0)))
    }

    /// Events that never came, as far as sequences tell; none where no agent of the run counts exactly.
    pub fn gaps(&self) -> Option<u64> {
        let gaps = |span: &Span| {
            let expected = i128::from(span.last.0) - i128::from(span.first.0.min(0)) + 1;
            u64::try_from(expected - i128::from(span.count)).unwrap_or(0)
        };
        if self.0.is_empty() { None } else { Some(self.0.iter().map(gaps).fold(0, u64::saturating_add)) }
    }

    /// Different events that share a sequence.
    pub fn conflicts(&self) -> u64 {
        self.0.iter().map(|span| span.conflicts).sum()
    }
}

fn insert<T>(list: &mut Vec<(EventKey, T)>, key: EventKey, value: T) {
    let at = list.partition_point(|(it, _)| *it < key);
    list.insert(at, (key, value));
    list.truncate(MAX_APPLICATIONS);
}

#[cfg(test)]
mod tests {
    use event::{Identity, Sequence};
    use proptest::prelude::*;

    use super::*;

    fn events() -> Vec<(EventKey, Vec<u8>)> {
        [
            r#"{"Event":"SparkListenerLogStart","Spark Version":"3.5.9"}"#,
            r#"{"Event":"SparkListenerApplicationStart","App Name":"a","App ID":"x","Timestamp":100,"User":"u"}"#,
            r#"{"Event":"SparkListenerJobEnd","Job ID":0,"Completion Time":5,"Job Result":{"Result":"JobSucceeded"}}"#,
            r#"{"Event":"SparkListenerApplicationEnd","Timestamp":150}"#,
            r#"{"Event":"SparkListenerLogStart","Spark Version":"4.3.0"}"#,
            r#"{"Event":"SparkListenerApplicationStart","App Name":"b","App ID":"y","Timestamp":200,"User":"u"}"#,
            r#"{"Event":"SparkListenerJobEnd","Job ID":1,"Job Result":{"Result":"JobFailed"}}"#,
            r#"{"Event":"SparkListenerApplicationEnd","Timestamp":260}"#,
        ]
        .iter()
        .enumerate()
        .map(|(i, event)| {
            let order = i as i64 / 2;
            (
                EventKey { order, sequence: Sequence(i as i64), identity: Identity(9 - i as u64) },
                event.as_bytes().to_vec(),
            )
        })
        .collect()
    }

    fn summary(events: &[(EventKey, Vec<u8>)]) -> Summary {
        let mut summary = Summary::default();
        events.iter().for_each(|(key, event)| summary.fold(*key, event));
        summary
    }

    fn run_of(summary: Summary) -> Run {
        let name = RunName::new("job", "run").unwrap();
        Run { summary, ..Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(7)) }
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_changes_nothing(shuffled in Just(events()).prop_shuffle()) {
            prop_assert_eq!(summary(&shuffled), summary(&events()));
        }
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

    #[test]
    fn the_next_sequence_is_told_only_where_none_is_missing_before_it() {
        let header = |sequence, attempt| Header {
            kind: event::Kind::Event,
            protocol: Protocol::Ingest,
            generated_at: None,
            sequence: Some(Sequence(sequence)),
            identity: None,
            received_at: ReceivedAt(0),
            instance: ingest::instance_of(attempt),
        };
        let mut spans = Spans::default();
        let next = |spans: &Spans, attempt| spans.next_sequence(ingest::instance_of(attempt)).map(|it| it.0);
        assert_eq!(next(&spans, 0), Some(0));
        for sequence in [-1, 1, 0] {
            spans.fold(&header(sequence, 0), false);
        }
        spans.fold(&header(1, 0), true);
        spans.fold(&header(5, 1), false);
        spans.fold(&header(0, 2), false);
        assert_eq!([0, 1, 2, 3].map(|attempt| next(&spans, attempt)), [Some(2), None, Some(1), Some(0)]);
        spans.fold(&header(3, 0), false);
        assert_eq!(next(&spans, 0), None);
        spans.fold(&header(i64::MAX, 2), false);
        assert_eq!(next(&spans, 2), None);
        (3..).take(Spans::MAX).for_each(|attempt| spans.fold(&header(0, attempt), false));
        assert_eq!(next(&spans, 1000), None, "it may be stored, but is not counted");
    }

    #[test]
    fn gaps_are_counted_for_each_instance() {
        let header = |sequence, instance| Header {
            kind: event::Kind::Event,
            protocol: Protocol::Instance,
            generated_at: None,
            sequence: Some(Sequence(sequence)),
            identity: None,
            received_at: ReceivedAt(0),
            instance: Some(Instance(instance)),
        };
        let mut spans = Spans::default();
        assert_eq!(spans.gaps(), None);
        for sequence in [0, 1, 4] {
            spans.fold(&header(sequence, 1), false);
        }
        spans.fold(&header(1, 2), false);
        spans.fold(&header(1, 2), true);
        assert_eq!((spans.gaps(), spans.conflicts()), (Some(3), 1));
        spans.fold(&Header { protocol: Protocol::Collect, ..header(99, 1) }, false);
        assert_eq!(spans.gaps(), Some(3));
    }
}
