//! Opaque places to go on at: in the list of jobs, in a job's list of runs, in a run's events and samples.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{EventKey, RunHash};
use store::RunCursor;

use crate::error::Error;

const JOB: u8 = b'j';
const RUN: u8 = b'r';
const EVENT: u8 = b'e';
const SAMPLE: u8 = b's';

pub fn of_job(name: &str) -> String {
    text(JOB, name.as_bytes())
}

pub fn of_run(cursor: RunCursor) -> String {
    text(RUN, &[&cursor.started.to_be_bytes()[..], &cursor.hash.0].concat())
}

pub fn of_event(key: EventKey) -> String {
    text(EVENT, &key.to_bytes())
}

pub fn of_sample(key: EventKey) -> String {
    text(SAMPLE, &key.to_bytes())
}

pub fn job(cursor: &str) -> Result<String, Error> {
    String::from_utf8(bytes(JOB, cursor)?).map_err(|_| bad())
}

pub fn run(cursor: &str) -> Result<RunCursor, Error> {
    let bytes: [u8; 24] = bytes(RUN, cursor)?.try_into().map_err(|_| bad())?;
    let (started, hash) = bytes.split_first_chunk().ok_or_else(bad)?;
    let hash = RunHash(hash.try_into().map_err(|_| bad())?);
    Ok(RunCursor { started: i64::from_be_bytes(*started), hash })
}

pub fn event(cursor: &str) -> Result<EventKey, Error> {
    let bytes: [u8; EventKey::LEN] = bytes(EVENT, cursor)?.try_into().map_err(|_| bad())?;
    Ok(EventKey::from_bytes(&bytes))
}

pub fn sample(cursor: &str) -> Result<EventKey, Error> {
    let bytes: [u8; EventKey::LEN] = bytes(SAMPLE, cursor)?.try_into().map_err(|_| bad())?;
    Ok(EventKey::from_bytes(&bytes))
}

fn text(kind: u8, bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&[kind], bytes].concat())
}

fn bytes(kind: u8, cursor: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| bad())?;
    if bytes.first() != Some(&kind) {
        return Err(bad());
    }
    bytes.remove(0);
    Ok(bytes)
}

fn bad() -> Error {
    Error::BadRequest("cursor is none that this list gave; leave it out to begin anew".to_owned())
}

#[cfg(test)]
mod tests {
    use event::{Identity, Sequence};

    use super::*;

    #[test]
    fn cursors_round_trip_and_fit_only_their_own_list() {
        let key = EventKey { order: i64::MIN, sequence: Sequence(-1), identity: Identity(u64::MAX) };
        let place = RunCursor { started: -5, hash: RunHash([7; 16]) };
        let cursors = [of_job("etl/ü"), of_run(place), of_event(key)];
        assert_eq!(job(&cursors[0]).unwrap(), "etl/ü");
        assert_eq!(run(&cursors[1]).unwrap(), place);
        assert_eq!(event(&cursors[2]).unwrap(), key);
        for (i, cursor) in cursors.iter().enumerate() {
            assert_eq!([job(cursor).is_ok(), run(cursor).is_ok(), event(cursor).is_ok()].map(usize::from)[i], 1);
            assert_eq!(
                [job(cursor).is_ok(), run(cursor).is_ok(), event(cursor).is_ok()].iter().filter(|it| **it).count(),
                1
            );
        }
        assert_eq!(sample(&of_sample(key)).unwrap(), key);
        assert!(sample(&cursors[2]).is_err() && event(&of_sample(key)).is_err());
        for bad in ["", "!", "a", "ZQ", "ZQAA"] {
            assert!(event(bad).is_err() && run(bad).is_err() && job(bad).is_err(), "{bad}");
        }
    }
}
