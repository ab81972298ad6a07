//! `j | job name` -> nothing: the jobs, sorted.
//! `i | name's length (2) | job name | start (8) | run hash (16)` -> run id: the runs of a job, oldest first.

use event::order::{ordered, unordered};
use event::{JobName, RunHash};

use super::take;

pub const JOB: u8 = b'j';
const RUN: u8 = b'i';

pub fn key(job: &str) -> Vec<u8> {
    [&[JOB], job.as_bytes()].concat()
}

pub fn parse(key: &[u8]) -> Option<&str> {
    let (kind, name) = key.split_first()?;
    (*kind == JOB).then(|| std::str::from_utf8(name).ok()).flatten()
}

/// The prefix of the runs of a job. The length parts a name from one that begins with it.
pub fn runs(job: &str) -> Vec<u8> {
    let length = u16::try_from(job.len()).unwrap_or(u16::MAX);
    [&[RUN], &length.to_be_bytes()[..], job.as_bytes()].concat()
}

pub fn run_key(job: &JobName, started: i64, run: RunHash) -> Vec<u8> {
    [&runs(job.as_str())[..], &ordered(started), &run.0].concat()
}

/// Start and hash from what follows the job's prefix.
pub fn parse_run(rest: &[u8]) -> Option<(i64, RunHash)> {
    if rest.len() != 24 {
        return None;
    }
    Some((unordered(take(rest, 0)?), RunHash(take(rest, 8)?)))
}
