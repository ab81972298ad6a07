//! What the applications of a run tell of it as a whole.

use serde::{Deserialize, Serialize};

use super::run::Run;
use super::summary::Application;

/// The applications of a run, put together from its record once for all that is read from them.
#[derive(Debug)]
pub struct Chronicle<'a> {
    run: &'a Run,
    applications: Vec<Application>,
    /// Their indexes as they followed one another.
    course: Vec<usize>,
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

impl<'a> Chronicle<'a> {
    pub(super) fn of(run: &'a Run) -> Self {
        let applications = run.summary.applications();
        let mut course: Vec<_> = (0..applications.len()).collect();
        // An attempt that was imported beside a listener's events precedes them in their order, whenever it ran.
        if run.summary.has_orders_of_two_kinds() && applications.iter().all(|it| started(it).is_some()) {
            course.sort_by_key(|index| started(&applications[*index]));
        }
        Self { run, applications, course }
    }

    pub fn run(&self) -> &'a Run {
        self.run
    }

    /// In the order of their events.
    pub fn applications(&self) -> &[Application] {
        &self.applications
    }

    /// The start of the first application, in milliseconds of the Unix epoch by its own word.
    pub fn started_at(&self) -> Option<i64> {
        started(&self.applications[*self.course.first()?])
    }

    /// The end of the last application, in milliseconds of the Unix epoch by its own word.
    pub fn ended_at(&self) -> Option<i64> {
        self.last()?.end.as_ref()?.timestamp
    }

    /// Milliseconds from the first application's start to the last one's end; none while one of them is missing
    /// or where the difference is no duration (negative, or beyond i64).
    pub fn duration_ms(&self) -> Option<i64> {
        self.ended_at()?.checked_sub(self.started_at()?).filter(|duration| *duration >= 0)
    }

    /// Whether the last application has ended.
    pub fn is_finished(&self) -> bool {
        self.last().is_some_and(|it| it.end.is_some())
    }

    /// Whether the last job that ended, or the exit code of the last application, tells of a failure. A driver that fails
    /// outside of a Spark job can leave no trace in the events.
    pub fn has_failed(&self) -> bool {
        let exit = self.last().and_then(|it| it.end.as_ref()?.exit_code);
        exit.is_some_and(|code| code != 0) || self.run.summary.has_last_job_failed()
    }

    pub fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        if self.applications.is_empty() || self.applications.iter().any(|it| it.start.is_none()) {
            missing.push(Missing::Start);
        }
        if self.run.spans.gaps().is_some_and(|gaps| gaps > 0) {
            missing.push(Missing::Events);
        }
        let before = self.course.split_last().map_or(&[][..], |(_, before)| before);
        if before.iter().any(|index| self.applications[*index].end.is_none()) {
            missing.push(Missing::End);
        }
        if self.run.arrival.journal_gaps > 0 || self.run.arrival.quarantined > 0 {
            missing.push(Missing::Records);
        }
        missing
    }

    fn last(&self) -> Option<&Application> {
        self.course.last().map(|index| &self.applications[*index])
    }
}

fn started(application: &Application) -> Option<i64> {
    application.start.as_ref()?.timestamp
}

#[cfg(test)]
mod tests {
    use event::{EventKey, Identity, Sequence};

    use super::super::run::tests::run_of;
    use super::super::summary::tests::{events, summary};
    use super::*;

    #[test]
    fn two_contexts_in_one_run_are_two_applications() {
        let run = run_of(summary(&events()));
        let chronicle = run.chronicle();
        let applications = chronicle.applications();
        let versions: Vec<_> = applications.iter().map(|it| it.spark_version.as_deref().unwrap()).collect();
        assert_eq!(versions, ["3.5.9", "4.3.0"]);
        assert_eq!(applications[1].begins_at, events()[4].0);
        assert!(chronicle.has_failed());
        assert_eq!((chronicle.duration_ms(), chronicle.is_finished(), run.started_at()), (Some(160), true, 100));
        assert_eq!(chronicle.missing(), []);
    }

    #[test]
    fn a_run_without_its_start_or_end_says_so() {
        let told = |events: &[(EventKey, Vec<u8>)]| {
            let run = run_of(summary(events));
            let chronicle = run.chronicle();
            (chronicle.duration_ms(), chronicle.is_finished(), chronicle.missing())
        };
        assert_eq!(told(&events()[2..4]), (None, true, vec![Missing::Start]));
        assert_eq!(told(&events()[..3]), (None, false, vec![]));
        let mut lost_end = events();
        lost_end.remove(3);
        assert_eq!(told(&lost_end), (Some(160), true, vec![Missing::End]));
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
            let chronicle = run.chronicle();
            assert_eq!((chronicle.duration_ms(), run.started_at()), (Some(1050), began));
            assert_eq!((chronicle.has_failed(), chronicle.missing()), (has_failed, vec![]));
        }
    }

    #[test]
    fn absurd_times_give_no_duration() {
        for (start, end) in [(i64::MIN, i64::MAX), (5, 4)] {
            let key = |order| EventKey { order, sequence: Sequence(0), identity: Identity(0) };
            let start = format!(r#"{{"Event":"SparkListenerApplicationStart","Timestamp":{start}}}"#);
            let end = format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{end}}}"#);
            let run = run_of(summary(&[(key(1), start.into_bytes()), (key(2), end.into_bytes())]));
            let chronicle = run.chronicle();
            assert_eq!((chronicle.duration_ms(), chronicle.is_finished()), (None, true));
        }
    }
}
