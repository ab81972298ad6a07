//! The record of a run.

use event::{EventKey, JobName, ReceivedAt, RunHash, RunId, RunName, ingest};
use serde::{Deserialize, Serialize};

use super::chronicle::Chronicle;
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

    pub fn chronicle(&self) -> Chronicle<'_> {
        Chronicle::of(self)
    }

    /// Whether the last application has ended.
    pub fn is_finished(&self) -> bool {
        self.chronicle().is_finished()
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
pub mod tests {
    use event::{Identity, Sequence};

    use super::super::summary::tests::summary;
    use super::*;

    pub fn run_of(summary: Summary) -> Run {
        let name = RunName::new("job", "run").unwrap();
        Run { summary, ..Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(7)) }
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
