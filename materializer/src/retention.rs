//! How long runs are kept. A thread looks through the records for what has expired; the materializer, the only writer,
//! removes it between two batches.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use event::{ReceivedAt, RunHash};
use store::{Cause, Reader, Run, View};

use crate::Result;

/// A run that has not ended may only be silent, its driver cut off: what it sends when it is back would be dropped.
const UNENDED: Duration = Duration::from_hours(24);

/// For so long late events of an expired run are known as such.
const REMEMBERED: Duration = Duration::from_hours(24 * 30);

/// Which runs are kept. The default keeps all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Since anything last came of a run.
    pub max_age: Option<Duration>,
    /// Bytes of the events of all runs, as they were sent.
    pub max_bytes: Option<u64>,
    /// Runs of each job.
    pub max_runs: Option<u64>,
    /// A run is left alone for so long after anything came of it, and if it has not ended for a day at least.
    pub lost_after: Duration,
    /// Between two looks.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: None,
            max_bytes: None,
            max_runs: None,
            lost_after: api::LOST_AFTER,
            interval: Duration::from_secs(60),
        }
    }
}

/// What one look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub runs: Vec<RunHash>,
    /// Runs that expired so long ago that nothing more is expected of them.
    pub forget: Vec<(RunHash, u16)>,
}

/// A run as retention sees it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    hash: RunHash,
    job: usize,
    started: i64,
    bytes: u64,
    silence: Duration,
    is_kept: bool,
}

impl Retention {
    pub fn is_off(&self) -> bool {
        self.max_age.is_none() && self.max_bytes.is_none() && self.max_runs.is_none()
    }

    /// Whether a run is not to be removed, whatever the limits; `through`: until when all that was received is applied.
    pub fn keeps(&self, run: &Run, through: ReceivedAt) -> bool {
        silence(run, through) <= if run.is_finished() { self.lost_after } else { self.lost_after.max(UNENDED) }
    }

    /// Looks through all records of one view.
    pub fn due(&self, view: &mut View<'_>, now: ReceivedAt) -> Result<Due> {
        let through: HashMap<u16, ReceivedAt> =
            view.all_applied()?.into_iter().map(|(partition, applied)| (partition, applied.through)).collect();
        let mut jobs: HashMap<String, usize> = HashMap::new();
        let mut candidates = Vec::new();
        let mut after = None;
        while let Some((hash, run)) = view.next_run(after)? {
            after = Some(hash);
            let through = through.get(&run.number.partition).copied().unwrap_or(run.arrival.last_received_at);
            let count = jobs.len();
            candidates.push(Candidate {
                hash,
                started: run.started_at(),
                bytes: run.summary.bytes + run.samples.bytes,
                silence: silence(&run, through),
                is_kept: self.keeps(&run, through),
                job: *jobs.entry(run.job_name).or_insert(count),
            });
        }
        Ok(Due { runs: self.expired(candidates), forget: forgotten(view, now)? })
    }

    fn expired(&self, mut candidates: Vec<Candidate>) -> Vec<RunHash> {
        // Newest first: what is over a limit is behind it.
        candidates.sort_unstable_by_key(|it| std::cmp::Reverse((it.started, it.hash)));
        let mut bytes: u64 = 0;
        let mut runs: HashMap<usize, u64> = HashMap::new();
        let mut expired = Vec::new();
        for it in candidates {
            let count = runs.entry(it.job).or_default();
            *count += 1;
            bytes = bytes.saturating_add(it.bytes);
            let is_over = self.max_age.is_some_and(|max| it.silence > max)
                || self.max_bytes.is_some_and(|max| bytes > max)
                || self.max_runs.is_some_and(|max| *count > max);
            // One that is kept although it is over takes no room from newer ones: they would go before older ones.
            if is_over && !it.is_kept {
                expired.push(it.hash);
            }
        }
        expired
    }
}

fn silence(run: &Run, through: ReceivedAt) -> Duration {
    let millis = through.0.saturating_sub(run.arrival.last_received_at.0);
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn forgotten(view: &mut View<'_>, now: ReceivedAt) -> Result<Vec<(RunHash, u16)>> {
    let mut forgotten = Vec::new();
    let mut after = None;
    while let Some((run, partition, gone)) = view.next_gone(after)? {
        after = Some((run, partition));
        let age = now.0.saturating_sub(gone.at.0);
        if gone.cause == Cause::Expired && u128::try_from(age).is_ok_and(|age| age > REMEMBERED.as_millis()) {
            forgotten.push((run, partition));
        }
    }
    Ok(forgotten)
}

/// The thread that looks. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    due: Receiver<Due>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// None where all runs are kept.
    pub fn start(retention: &Retention, reader: Reader) -> Option<Self> {
        if retention.is_off() {
            return None;
        }
        // One finding waits; the next look is at what became of it.
        let (found, due) = mpsc::sync_channel(0);
        let (stop, stopped) = mpsc::channel::<()>();
        let retention = retention.clone();
        let thread = std::thread::spawn(move || {
            loop {
                let looked = reader.view(|view| retention.due(view, ReceivedAt::now()));
                match looked {
                    Ok(it) if it == Due::default() => {}
                    Ok(it) => {
                        if found.send(it).is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot look for runs that have expired"),
                }
                if stopped.recv_timeout(retention.interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Some(Self { due, stop: Some(stop), thread: Some(thread) })
    }

    pub fn due(&self) -> Option<Due> {
        self.due.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A finding that nobody takes any more must not hold the thread.
        let (_, none) = mpsc::sync_channel(0);
        drop(std::mem::replace(&mut self.due, none));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use event::{EventKey, Identity, RunName, Sequence};
    use store::RunNumber;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn candidate(job: usize, started: i64, bytes: u64, silence: Duration, is_kept: bool) -> Candidate {
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&started.to_be_bytes());
        hash[8] = u8::try_from(job).unwrap();
        Candidate { hash: RunHash(hash), job, started, bytes, silence, is_kept }
    }

    fn started(retention: &Retention, candidates: &[Candidate]) -> Vec<(u8, i64)> {
        let expired = retention.expired(candidates.to_vec());
        let mut starts: Vec<_> =
            expired.iter().map(|it| (it.0[8], i64::from_be_bytes(it.0[..8].try_into().unwrap()))).collect();
        starts.sort_unstable();
        starts
    }

    #[test]
    fn age_counts_from_the_last_event() {
        let retention = Retention { max_age: Some(DAY), ..Retention::default() };
        let runs = [candidate(0, 1, 1, DAY * 2, false), candidate(0, 2, 1, DAY, false)];
        assert_eq!(started(&retention, &runs), [(0, 1)]);
    }

    #[test]
    fn the_newest_runs_of_each_job_are_kept() {
        let retention = Retention { max_runs: Some(2), ..Retention::default() };
        let runs: Vec<_> =
            [(0, 1), (0, 2), (0, 3), (1, 1), (1, 9)].map(|(job, at)| candidate(job, at, 1, DAY, false)).to_vec();
        assert_eq!(started(&retention, &runs), [(0, 1)]);
    }

    #[test]
    fn the_oldest_runs_make_room_until_the_bytes_fit() {
        let retention = Retention { max_bytes: Some(10), ..Retention::default() };
        let runs: Vec<_> = (1..=5).map(|at| candidate(0, at, 4, DAY, false)).collect();
        assert_eq!(started(&retention, &runs), [(0, 1), (0, 2), (0, 3)]);
        // A small one does not outlive a large newer one.
        let runs: Vec<_> = (1..=3).map(|at| candidate(0, at, at.unsigned_abs() * 4, DAY, false)).collect();
        assert_eq!(started(&retention, &runs), [(0, 1), (0, 2), (0, 3)]);
    }

    #[test]
    fn a_run_that_is_kept_stays_however_old_it_is_and_pushes_no_newer_one_out() {
        let limits = [
            Retention { max_age: Some(Duration::ZERO), ..Retention::default() },
            Retention { max_bytes: Some(0), ..Retention::default() },
            Retention { max_runs: Some(0), ..Retention::default() },
        ];
        for retention in limits {
            let runs = [candidate(0, 1, 5, DAY, true), candidate(0, 2, 5, DAY, false)];
            assert_eq!(started(&retention, &runs), [(0, 2)], "{retention:?}");
        }
        let retention = Retention { max_runs: Some(2), max_bytes: Some(10), ..Retention::default() };
        let kept = [true, true, false, true, false];
        let runs: Vec<_> = (1..).zip(kept).map(|(at, is_kept)| candidate(0, at, 5, DAY, is_kept)).collect();
        assert_eq!(started(&retention, &runs), [(0, 3)]);
    }

    #[test]
    fn a_run_without_an_end_is_kept_for_a_day_and_an_ended_one_until_it_is_surely_over() {
        let retention = Retention { lost_after: Duration::from_secs(60), ..Retention::default() };
        let name = RunName::new("job", "r").unwrap();
        let mut run = Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(0));
        let after = |time: Duration| ReceivedAt(i64::try_from(time.as_millis()).unwrap());
        assert!(retention.keeps(&run, after(DAY)));
        assert!(!retention.keeps(&run, after(DAY + Duration::from_secs(1))));
        let key = EventKey { order: 0, sequence: Sequence(0), identity: Identity(0) };
        store::fold(&mut run, key, br#"{"Event":"SparkListenerApplicationEnd","Timestamp":5}"#);
        assert!(retention.keeps(&run, after(Duration::from_secs(60))));
        assert!(!retention.keeps(&run, after(Duration::from_secs(61))));
    }
}
