use proptest::prelude::*;

use super::*;
use crate::collect::Reason;

const LIMITS: Limits = Limits { event_bytes: 1000, rejected_bytes: 100, truncated_bytes: 10 };

fn target(first_sequence: i64, attempt: u32) -> Target {
    Target { run: RunName::new("j", "r").unwrap(), first_sequence, attempt }
}

fn read(body: &[u8], target: Target) -> Result<Payload, Error> {
    decode(&Bytes::copy_from_slice(body), target, ReceivedAt(9), LIMITS, &Redaction::default())
}

fn sequences(payload: &Payload) -> Vec<i64> {
    payload.events.iter().map(|it| Header::parse(&it.header).unwrap().sequence.unwrap().0).collect()
}

#[test]
fn lines_are_stored_as_they_are_and_counted_from_the_first_sequence() {
    let body = "{\"Event\":\"A\"}\r\n\n  \n{\"a\": \"\u{2028}\", \"Event\":\"B\"}\nno event\n{\"Event\":\"C\"}";
    let payload = read(body.as_bytes(), target(7, 0)).unwrap();
    let values: Vec<_> = payload.events.iter().map(|it| std::str::from_utf8(&it.value).unwrap()).collect();
    assert_eq!(values, ["{\"Event\":\"A\"}", "{\"a\": \"\u{2028}\", \"Event\":\"B\"}", "{\"Event\":\"C\"}"]);
    assert_eq!(sequences(&payload), [7, 8, 10]);
    let [bad] = &payload.rejected[..] else { panic!("{:?}", payload.rejected) };
    assert_eq!((bad.reason, bad.sequence, &bad.raw[..]), (Reason::NotJson, Sequence(9), &b"no event"[..]));
    assert!(bad.detail.starts_with("line 5: "), "{}", bad.detail);
    assert_eq!(Header::parse(&payload.events[0].header).unwrap().event_key().unwrap().order, 0);
}

#[test]
fn attempts_lie_behind_each_other_with_sequences_of_their_own() {
    let [first, second] = [1, 2].map(|attempt| {
        let payload = read(b"{\"Event\":\"A\"}\n", target(0, attempt)).unwrap();
        Header::parse(&payload.events[0].header).unwrap()
    });
    assert_eq!([first, second].map(|it| it.event_key().unwrap().order), [1, 2]);
    assert!(first.instance.is_some() && first.instance != second.instance);
    assert_eq!(first.identity, second.identity);
}

#[test]
fn a_beginning_without_a_line_that_can_be_stored_is_refused() {
    assert_eq!(read(b"", target(0, 0)).unwrap_err(), Error::Empty);
    assert_eq!(read(b"\n \r\n\n", target(0, 0)).unwrap_err(), Error::Empty);
    assert!(
        matches!(read(b"x\n{}\n", target(0, 0)).unwrap_err(), Error::NoGoodLine { first } if first.starts_with("line 1"))
    );
    let later = read(b"x\n{}\n", target(3, 0)).unwrap();
    assert_eq!((later.events.len(), later.rejected.len(), later.rejected[1].sequence), (0, 2, Sequence(4)));
    assert_eq!(read(b"\n", target(3, 0)).unwrap_err(), Error::Empty);
    assert_eq!(read(b"{\"Event\":\"A\"}", target(-1, 0)).unwrap_err(), Error::FirstSequence);
    let many = "x\n".repeat(crate::collect::MAX_REJECTED + 1);
    assert!(matches!(read(many.as_bytes(), target(0, 0)).unwrap_err(), Error::TooManyRejected { .. }));
}

#[test]
fn no_sequence_overflows() {
    let two = b"{\"Event\":\"A\"}\n{\"Event\":\"B\"}\n";
    assert_eq!(sequences(&read(two, target(i64::MAX - 1, 0)).unwrap()), [i64::MAX - 1, i64::MAX]);
    assert_eq!(read(two, target(i64::MAX, 0)).unwrap_err(), Error::FirstSequence);
}

#[test]
fn secrets_are_replaced_in_good_lines_and_in_bad_ones() {
    let secret = r#"{"Event":"SparkListenerJobStart","Properties":{"a.password":"s3cr3t"}}"#;
    let large = format!(r#"{{"Event":"X","password":"s3cr3t","a":"{}"}}"#, "a".repeat(1000));
    let body = format!("{secret}\n{{\"password\":\"s3cr3t\"}}\n{large}\n");
    let payload = read(body.as_bytes(), target(0, 0)).unwrap();
    assert_eq!(&payload.events[0].value[..], secret.replace("s3cr3t", crate::redact::REPLACEMENT).as_bytes());
    assert_eq!((payload.events.len(), payload.rejected.len()), (1, 2));
    assert!(payload.rejected.iter().all(|it| memchr::memmem::find(&it.raw, b"s3cr3t").is_none()));
    assert_eq!(payload.rejected[1].truncated_from, Some(large.len()));
    assert!(payload.redacted >= 2);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..300), first: i64, attempt in 0..=MAX_ATTEMPT) {
        let _ = read(&body, target(first, attempt));
    }

    #[test]
    fn every_line_has_its_place(lines in prop::collection::vec(prop_oneof![
        Just("{\"Event\":\"A\"}"), Just("{\"Event\":\"A\",\"a\":[1,{}]}"), Just("{}"), Just("x"), Just(""), Just(" \t")], 1..40),
        first in 0..1000i64)
    {
        let payload = read(lines.join("\n").as_bytes(), target(first, 0));
        let given: Vec<_> = lines.iter().filter(|it| !it.trim().is_empty()).collect();
        let expected: Vec<_> = (first..).zip(&given).filter(|(_, it)| it.contains("Event")).map(|(i, _)| i).collect();
        match payload {
            Ok(payload) => {
                prop_assert_eq!(sequences(&payload), expected);
                prop_assert_eq!(payload.events.len() + payload.rejected.len(), given.len());
            }
            Err(_) => prop_assert!(expected.is_empty() && (first == 0 || given.is_empty())),
        }
    }
}
