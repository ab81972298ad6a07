//! What must hold for any lines, whichever request brings them: events of `/v1/ingest` and of the Delight agent, or its
//! samples.

use bytes::Bytes;
use event::collect::{Error, Limits, Payload, Reason};
use event::delight::{Route, read};
use event::ingest::{self, Target};
use event::{Header, ReceivedAt, Redaction, RunName, Sequence, spark};

const LIMITS: Limits = Limits { event_bytes: 200, rejected_bytes: 300, truncated_bytes: 50 };
/// Of more, not each is decoded alone.
const MOST_ALONE: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Ingest,
    Bulk,
    Metrics,
}

/// The first byte is the sequence of the first line, and the choice between the two requests that bring events.
pub fn hold_for_events(bytes: &[u8]) {
    let Some((selector, text)) = bytes.split_first() else { return };
    let request = if selector & 1 == 0 { Request::Ingest } else { Request::Bulk };
    hold_for(request, i64::from(*selector), text);
}

pub fn hold_for_samples(text: &[u8]) {
    hold_for(Request::Metrics, 0, text);
}

fn hold_for(request: Request, first: i64, text: &[u8]) {
    let lines = lines_of(request, text);
    let decode = |text: &[u8], first, redaction: &Redaction| decode(request, first, text, redaction);
    // Whatever a line still ends with is its own.
    let end: &[u8] = if request == Request::Ingest { b"\r\n" } else { b"\n" };
    let alone = |index: usize, line: &[u8]| decode(&[line, end].concat(), first + index as i64, &Redaction::off());
    let result = decode(text, first, &Redaction::off());
    let Ok(payload) = &result else {
        assert!(request == Request::Ingest, "{result:?}");
        let mut each = lines.iter().enumerate().map(|(index, line)| alone(index, line));
        // Behind the first place a bad line alone is none to refuse.
        let is_bad = |it: Result<Payload, Error>| it.map_or(true, |payload| payload.events.is_empty());
        return assert!(each.all(is_bad), "a line alone is stored, and not among bad ones");
    };
    let outcomes = outcomes_of(payload, first, lines.len());
    for (line, outcome) in lines.iter().zip(&outcomes) {
        is_right(request, line, outcome);
    }
    for (index, line) in lines.iter().enumerate().take(MOST_ALONE) {
        let same = match alone(index, line) {
            // Samples have no sequences, and are counted from 0.
            Ok(payload) if request == Request::Metrics => outcomes_of(&payload, 0, 1)[0] == outcomes[index],
            Ok(payload) => outcomes_of(&payload, first + index as i64, 1)[0] == outcomes[index],
            Err(Error::NoGoodLine { .. }) => matches!(outcomes[index], Outcome::Rejected(..)),
            Err(_) => false,
        };
        assert!(same, "line {index} alone becomes something else");
    }
    let redacted = decode(text, first, &Redaction::default());
    redacts_for_good(request, first, payload, redacted);
}

/// What became of a line.
#[derive(Debug, PartialEq)]
enum Outcome {
    Stored { header: Header, value: Bytes },
    Rejected(Reason, Bytes, Option<usize>),
}

/// By the lines' places, each of which is taken once.
fn outcomes_of(payload: &Payload, first: i64, count: usize) -> Vec<Outcome> {
    let (mut events, mut rejected) = (payload.events.iter(), payload.rejected.iter().peekable());
    let outcomes = (0..count as i64).map(|index| {
        let sequence = Sequence(first + index);
        if let Some(it) = rejected.next_if(|it| it.sequence == sequence) {
            return Outcome::Rejected(it.reason, it.raw.clone(), it.truncated_from);
        }
        let event = events.next().expect("a line is stored or rejected");
        let header = Header::parse(&event.header).expect("what is stored has a header");
        assert!(header.sequence.is_none_or(|it| it == sequence));
        Outcome::Stored { header, value: event.value.clone() }
    });
    let outcomes = outcomes.collect();
    assert!(events.next().is_none() && rejected.next().is_none(), "more than there are lines");
    outcomes
}

fn is_right(request: Request, line: &[u8], outcome: &Outcome) {
    match outcome {
        Outcome::Rejected(_, raw, None) => assert_eq!(&raw[..], line),
        Outcome::Rejected(_, raw, Some(whole)) => {
            assert_eq!((&raw[..], *whole), (&line[..LIMITS.truncated_bytes], line.len()));
        }
        Outcome::Stored { header, value } => {
            assert_eq!(&value[..], line);
            assert!(line.len() <= LIMITS.event_bytes);
            let text = std::str::from_utf8(line).expect("what is stored is text");
            if request != Request::Metrics {
                assert!(header.event_key().is_some());
                return assert_eq!(spark::validate(text), Ok(()));
            }
            let key = header.sample_key().expect("samples have a place");
            if let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text) {
                // To the other parser -0 is no integer.
                let is_zero = || (parsed["timestamp"].as_f64() == Some(0.0)).then_some(0);
                assert_eq!(parsed["timestamp"].as_i64().or_else(is_zero), Some(key.order));
            }
        }
    }
}

/// What was redacted is still what it was, with the same identity, and redacting it again changes nothing.
fn redacts_for_good(request: Request, first: i64, kept: &Payload, redacted: Result<Payload, Error>) {
    let Ok(redacted) = redacted else { return };
    if redacted.redacted == 0 {
        assert_eq!((&kept.events, &kept.rejected), (&redacted.events, &redacted.rejected));
    }
    if request == Request::Metrics {
        return;
    }
    for event in &redacted.events {
        assert_eq!(std::str::from_utf8(&event.value).map(spark::validate), Ok(Ok(())));
        let sequence = Header::parse(&event.header).ok().and_then(|it| it.sequence).map_or(first, |it| it.0);
        let again = decode(request, sequence, &event.value, &Redaction::default()).expect("it is stored again");
        assert_eq!(&again.events[0], event);
    }
}

fn decode(request: Request, first: i64, text: &[u8], redaction: &Redaction) -> Result<Payload, Error> {
    let text = Bytes::copy_from_slice(text);
    if request == Request::Ingest {
        let target = Target { run: RunName::new("a", "a").expect("names"), first_sequence: first, attempt: 0 };
        return ingest::decode(&text, target, ReceivedAt(1), LIMITS, redaction);
    }
    let counter = first + lines_of(request, &text).len() as i64;
    let body = serde_json::json!({"dmAppId": "a", "counters": {"messageCounter": counter}, "data": ""}).to_string();
    if request == Request::Bulk {
        return read(body.as_bytes(), Route::Bulk)?.events(&text, ReceivedAt(1), LIMITS, redaction);
    }
    read(body.as_bytes(), Route::Metrics)?.samples(&text, ReceivedAt(1), LIMITS, redaction)
}

/// The lines that have a place. `/v1/ingest` takes other line ends too, and gives blank lines none.
fn lines_of(request: Request, text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = text.split(|it| *it == b'\n').collect();
    lines.pop_if(|last| last.is_empty());
    if request == Request::Ingest {
        lines.retain(|it| !it.trim_ascii().is_empty());
        lines.iter_mut().for_each(|it| *it = it.strip_suffix(b"\r").unwrap_or(it));
    }
    lines
}
