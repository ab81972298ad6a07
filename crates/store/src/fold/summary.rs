//! What the events of a run tell of its applications and jobs.

use std::collections::BTreeMap;

use event::spark::{ApplicationEnd, ApplicationStart, Lifecycle, lifecycle};
use event::{EventKey, ingest, redact};
use serde::{Deserialize, Serialize};

/// Application events of a kind that are kept in a record: of more, the first in order, and the last, which tells how the run
/// ended. Bounds what a hostile run costs.
const MAX_APPLICATIONS: usize = 256;

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
    /// Applications whose start is not kept: those between the last two that are.
    #[serde(default)]
    pub applications_left_out: u64,
    last_job_end: Option<(EventKey, bool)>,
    pub jobs_succeeded: u64,
    pub jobs_failed: u64,
    /// Values in the events that were replaced because they are secrets.
    #[serde(default)]
    pub redacted: u64,
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

impl Summary {
    /// Takes in one event. The result does not depend on the order of the calls.
    pub fn fold(&mut self, key: EventKey, event: &[u8]) {
        self.events += 1;
        self.bytes += event.len() as u64;
        self.redacted += redact::count(event);
        self.first = Some(self.first.map_or(key, |first| first.min(key)));
        self.last = Some(self.last.map_or(key, |last| last.max(key)));
        match lifecycle(event) {
            Some(Lifecycle::ApplicationStart(start)) => {
                self.applications_left_out += insert(&mut self.starts, key, start)
            }
            Some(Lifecycle::ApplicationEnd(end)) => {
                insert(&mut self.ends, key, end);
            }
            Some(Lifecycle::LogStart { spark_version: Some(version) }) => {
                insert(&mut self.versions, key, version);
            }
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
            let are_left_out = self.applications_left_out > 0 && applications.len() >= MAX_APPLICATIONS - 1;
            match mark {
                Mark::Version(version) => announced = Some((key, version.clone())),
                Mark::Start(start) => {
                    let (begins_at, spark_version) =
                        announced.take().map_or((key, None), |(at, version)| (at, Some(version)));
                    applications.push(Application { begins_at, start: Some(start.clone()), end: None, spark_version });
                }
                Mark::End(end) => match applications.last_mut() {
                    Some(open) if open.end.is_none() && announced.is_none() => open.end = Some(end.clone()),
                    // The end of one whose start is.
                    _ if are_left_out => {}
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

    /// When the first application started, by its own word.
    pub fn started_at(&self) -> Option<i64> {
        let mut starts = self.starts.iter().filter_map(|(_, start)| start.timestamp);
        if self.has_orders_of_two_kinds() { starts.min() } else { starts.next() }
    }

    /// Numbers of attempts, and times.
    pub(super) fn has_orders_of_two_kinds(&self) -> bool {
        let is_attempt = |it: Option<&(EventKey, _)>| it.is_some_and(|(key, _)| ingest::is_attempt(key.order));
        is_attempt(self.starts.first()) && !is_attempt(self.starts.last())
    }

    pub(super) fn has_last_job_failed(&self) -> bool {
        self.last_job_end.is_some_and(|(_, succeeded)| !succeeded)
    }
}

/// Returns how many are left out for it.
fn insert<T>(list: &mut Vec<(EventKey, T)>, key: EventKey, value: T) -> u64 {
    let at = list.partition_point(|(it, _)| *it < key);
    list.insert(at, (key, value));
    if list.len() > MAX_APPLICATIONS {
        list.remove(MAX_APPLICATIONS - 1);
        return 1;
    }
    0
}

#[cfg(test)]
pub mod tests {
    use event::{Identity, Sequence};
    use proptest::prelude::*;

    use super::*;

    pub fn events() -> Vec<(EventKey, Vec<u8>)> {
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

    pub fn summary(events: &[(EventKey, Vec<u8>)]) -> Summary {
        let mut summary = Summary::default();
        events.iter().for_each(|(key, event)| summary.fold(*key, event));
        summary
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_changes_nothing(shuffled in Just(events()).prop_shuffle()) {
            prop_assert_eq!(summary(&shuffled), summary(&events()));
        }
    }

    /// Each as an hourly job sends it that keeps its run id: the first 255 and the last are told apart.
    fn hourly(count: i64, last_has_ended: bool) -> Vec<(EventKey, Vec<u8>)> {
        let at =
            |order, text: String| (EventKey { order, sequence: Sequence(0), identity: Identity(0) }, text.into_bytes());
        let start =
            |n| at(n * 10, format!(r#"{{"Event":"SparkListenerApplicationStart","App ID":"{n}","Timestamp":{n}}}"#));
        let end = |n| at(n * 10 + 5, format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{n}}}"#));
        let mut all: Vec<_> = (0..count).flat_map(|n| [start(n), end(n)]).collect();
        if !last_has_ended {
            all.pop();
        }
        all
    }

    proptest! {
        #[test]
        fn of_very_many_applications_the_first_and_the_last_are_kept_in_any_order(
            shuffled in Just(hourly(300, false)).prop_shuffle(),
        ) {
            prop_assert_eq!(summary(&shuffled), summary(&hourly(300, false)));
        }
    }

    #[test]
    fn the_last_of_very_many_applications_tells_how_the_run_stands() {
        for last_has_ended in [true, false] {
            let summary = summary(&hourly(300, last_has_ended));
            let applications = summary.applications();
            assert_eq!((applications.len(), summary.applications_left_out), (MAX_APPLICATIONS, 44));
            let last = applications.last().unwrap();
            assert_eq!(last.start.as_ref().unwrap().app_id.as_deref(), Some("299"));
            assert_eq!((last.begins_at.order, last.end.is_some()), (2990, last_has_ended));
            assert!(applications[..255].iter().all(|it| it.end.is_some() && it.start.is_some()));
        }
    }
}
