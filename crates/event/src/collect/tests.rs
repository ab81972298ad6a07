use std::fmt::Write;

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{EventKey, Header, Identity, Instance, Kind};

const LIMITS: Limits = Limits { event_bytes: 1000, rejected_bytes: 2000, truncated_bytes: 100 };

fn decode_str(body: &str) -> Result<Payload, Error> {
    decode(body.as_bytes(), ReceivedAt(9), LIMITS)
}

fn headers(payload: &Payload) -> Vec<Header> {
    payload.events.iter().map(|event| Header::parse(&event.header).unwrap()).collect()
}

fn envelope(messages: &str) -> String {
    format!(r#"{{"job_name":"j","run_id":"r","counters":{{"message_counter":10}},"messages":[{messages}]}}"#)
}

fn message(content: &str, generated_at: &str) -> String {
    format!(r#"{{"content":{},"generated_at":{generated_at},"message_type":"spark-event"}}"#, json!(content))
}

#[test]
fn recorded_payloads_hold_the_events_that_spark_logged() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/fixtures/wire/datamechanics/spark-3.5-pi");
    let limits = Limits { event_bytes: 16_000_000, ..LIMITS };
    let (mut events, mut heartbeats) = (Vec::new(), 0);
    for n in 1..=7 {
        let body = std::fs::read(format!("{folder}/{n:05}.body")).unwrap();
        let mut json = Vec::new();
        std::io::copy(&mut MultiGzDecoder::new(&body[..]), &mut json).unwrap();
        let payload = decode(&json, ReceivedAt(9), limits).unwrap();
        assert_eq!((payload.run.job.as_str(), payload.run.run.as_str()), ("spark-pi", "local-1795229682121"));
        assert_eq!((payload.protocol, payload.rejected.len()), (Protocol::Collect, 0));
        assert_eq!(payload.heartbeat.is_some(), payload.heartbeats > 0);
        let tree: Value = serde_json::from_slice(&json).unwrap();
        let sent = tree["messages"].as_array().unwrap();
        let first = tree["counters"]["message_counter"].as_i64().unwrap() - i64::try_from(sent.len()).unwrap();
        let wanted = (first..).zip(sent).filter(|(_, message)| message["message_type"] == "spark-event");
        for ((sequence, wanted), event) in wanted.zip(&payload.events) {
            let header = Header::parse(&event.header).unwrap();
            assert_eq!(header.sequence, Some(Sequence(sequence)));
            assert_eq!(header.generated_at.unwrap().0, wanted["generated_at"].as_i64().unwrap());
            assert_eq!(event.value, wanted["content"].as_str().unwrap());
        }
        heartbeats += payload.heartbeats;
        events.extend(payload.events);
    }
    assert_eq!((events.len(), heartbeats), (166, 3));
}

#[test]
fn faults_of_the_envelope_refuse_the_payload_and_name_the_member() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let deep_content = envelope(&format!(r#"{{"content":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)));
    let long = format!(r#"{{"job_name":"{}","run_id":"r","messages":[]}}"#, "x".repeat(4097));
    let cases: [(&str, &str); 30] = [
        ("", "the body is empty"),
        (" \n", "the body is empty"),
        ("x", "the body is not JSON: a value is missing at byte 0"),
        ("{", "the body is not JSON: a member's name is missing at byte 1"),
        (
            r#"{"job_name":"j","run_id":"r","messages":[]}x"#,
            "the body is not JSON: something follows the value at byte 43",
        ),
        (r#"["j","r",[]]"#, "the body must be a JSON object, not an array"),
        ("null", "the body must be a JSON object, not null"),
        (&deep, "the body is nested deeper than 64 levels at byte 69"),
        (&deep_content, "the body is nested deeper than 64 levels at byte 150"),
        (r#"{"run_id":"r","messages":[]}"#, "job_name is missing"),
        (r#"{"job_name":"j","messages":[]}"#, "run_id is missing"),
        (r#"{"job_name":"j","run_id":"r"}"#, "messages is missing"),
        (r#"{"job_name":1,"run_id":"r","messages":[]}"#, "job_name: must be a text, not a number"),
        (r#"{"job_name":"j","run_id":null,"messages":[]}"#, "run_id: must be a text, not null"),
        (r#"{"job_name":"j","run_id":"r","messages":{}}"#, "messages: must be an array, not an object"),
        (r#"{"job_name":"j","run_id":"r","messages":null}"#, "messages: must be an array, not null"),
        (r#"{"job_name":"j","job_name":"j","run_id":"r","messages":[]}"#, "job_name appears twice"),
        (r#"{"job_name":"j","run_id":"r","messages":[],"messages":[]}"#, "messages appears twice"),
        (r#"{"job_name":"j","run_id":"r","r\u0075n_id":"r","messages":[]}"#, "run_id appears twice"),
        (r#"{"job_name":"","run_id":"r","messages":[]}"#, "job_name is empty"),
        (&long, "job_name has 4097 bytes; the limit is 4096"),
        (r#"{"job_name":"\ud800","run_id":"r","messages":[]}"#, "job_name: is not Unicode text"),
        (r#"{"job_name":"j","run_id":"r","counters":[],"messages":[]}"#, "counters: must be an object, not an array"),
        (
            r#"{"job_name":"j","run_id":"r","counters":{"message_counter":"1"},"messages":[]}"#,
            "counters.message_counter: must be an integer, not a text",
        ),
        (
            r#"{"job_name":"j","run_id":"r","counters":{"message_counter":1.5},"messages":[]}"#,
            "counters.message_counter: must be an integer of 64 bits, not 1.5",
        ),
        (
            r#"{"job_name":"j","run_id":"r","counters":{"message_counter":-9223372036854775808},"messages":[1]}"#,
            "counters.message_counter: must be at least the number of messages above the least integer of 64 bits, \
             not -9223372036854775808",
        ),
        (r#"{"job_name":"j","run_id":"r","instance_id":7,"messages":[]}"#, "instance_id: must be a text, not a number"),
        (
            r#"{"job_name":"j","run_id":"r","instance_id":"","counters":{"message_counter":1},"messages":[]}"#,
            "instance_id: must have 1 to 256 bytes",
        ),
        (
            r#"{"job_name":"j","run_id":"r","instance_id":"i","messages":[]}"#,
            "counters.message_counter, which an instance_id needs, is missing",
        ),
        (
            "{\"job_name\":\"a\nb\",\"run_id\":\"r\"}",
            "the body is not JSON: a control character inside a text at byte 14",
        ),
    ];
    for (body, error) in cases {
        let found = decode_str(body).map(|payload| payload.events.len());
        assert_eq!(found.map_err(|e| e.to_string()), Err(error.to_owned()), "{}", &body[..body.len().min(200)]);
    }
}

#[test]
fn a_bad_message_is_rejected_with_its_reason_among_good_ones() {
    let good = message(r#"{"Event":"E"}"#, "1");
    let long = format!(r#"{{"Event":"{}"}}"#, "x".repeat(1000));
    let cases: [(&str, Reason, &str); 24] = [
        ("7", Reason::NotAnObject, "messages[1]: must be an object, not a number"),
        ("[\"{}\",1,\"spark-event\"]", Reason::NotAnObject, "messages[1]: must be an object, not an array"),
        ("{}", Reason::MissingMember, "messages[1].message_type: is missing"),
        (
            r#"{"content":"","message_type":"spark-event"}"#,
            Reason::MissingMember,
            "messages[1].generated_at: is missing",
        ),
        (
            r#"{"generated_at":1,"message_type":"spark-event"}"#,
            Reason::MissingMember,
            "messages[1].content: is missing",
        ),
        (r#"{"content":"","content":""}"#, Reason::DuplicateMember, "messages[1].content: appears twice"),
        (r#"{"content":{"Event":"E"}}"#, Reason::WrongType, "messages[1].content: must be a text, not an object"),
        (r#"{"content":null}"#, Reason::WrongType, "messages[1].content: must be a text, not null"),
        (r#"{"message_type":true}"#, Reason::WrongType, "messages[1].message_type: must be a text, not a boolean"),
        (&message("", "\"1\""), Reason::WrongType, "messages[1].generated_at: must be an integer, not a text"),
        (&message("", "null"), Reason::WrongType, "messages[1].generated_at: must be an integer, not null"),
        (&message("", "1.0"), Reason::WrongType, "messages[1].generated_at: must be an integer of 64 bits, not 1.0"),
        (
            &message("", "1e999"),
            Reason::WrongType,
            "messages[1].generated_at: must be an integer of 64 bits, not 1e999",
        ),
        (
            &message("", "9223372036854775808"),
            Reason::OutOfRange,
            "messages[1].generated_at: must be an integer of 64 bits, not 9223372036854775808",
        ),
        (
            r#"{"message_type":"spark"}"#,
            Reason::UnknownMessageType,
            "messages[1].message_type: must be \"spark-event\" or \"heartbeat\", not \"spark\"",
        ),
        (
            r#"{"content":"\ud800","generated_at":1,"message_type":"spark-event"}"#,
            Reason::NotUnicode,
            "messages[1].content: holds half a surrogate pair",
        ),
        (&message(&long, "1"), Reason::TooLarge, "messages[1].content: has 1012 bytes; the limit is 1000"),
        (&message("heartbeat", "1"), Reason::NotJson, "messages[1].content: the event is not JSON"),
        (&message("", "1"), Reason::NotJson, "messages[1].content: the event is not JSON"),
        (&message(r#"{"Event":"E"}}"#, "1"), Reason::NotJson, "messages[1].content: the event is not JSON"),
        (&message(r#"{"a":1}"#, "1"), Reason::NoEvent, "messages[1].content: the event is not a JSON object with"),
        (
            &message("{\"Event\":\"E\",\n\"a\":1}", "1"),
            Reason::LineBreak,
            "messages[1].content: the event holds a raw line",
        ),
        (&message("{\"Event\":\"E\"}\r", "1"), Reason::LineBreak, "messages[1].content: the event holds a raw line"),
        (&message("{\"Event\":\"\u{1}\"}", "1"), Reason::NotJson, "messages[1].content: the event is not JSON"),
    ];
    for (bad, reason, detail) in cases {
        let payload = decode_str(&envelope(&format!("{good}, {bad} ,{good}"))).unwrap();
        let rejected = &payload.rejected[0];
        assert_eq!(rejected.reason, reason, "{bad}");
        assert!(rejected.detail.starts_with(detail), "{} is not {detail}", rejected.detail);
        assert_eq!((rejected.raw.as_ref(), rejected.truncated_from), (bad.as_bytes(), None));
        assert_eq!(rejected.sequence, Sequence(8));
        let sequences: Vec<_> = headers(&payload).iter().map(|h| h.sequence.unwrap().0).collect();
        assert_eq!(sequences, [7, 9], "{bad}");
        assert!(payload.events.iter().all(|event| event.value == r#"{"Event":"E"}"#));
    }
}

#[test]
fn bytes_that_are_not_utf8_spoil_only_their_message() {
    let body = envelope(&[message(r#"{"Event":"E"}"#, "1"), message(r#"{"Event":"@"}"#, "1")].join(","));
    let body: Vec<u8> = body.bytes().map(|b| if b == b'@' { 0xff } else { b }).collect();
    let payload = decode(&body, ReceivedAt(9), LIMITS).unwrap();
    assert_eq!((payload.events.len(), payload.rejected[0].reason), (1, Reason::NotUnicode));
}

#[test]
fn of_a_large_rejected_message_the_beginning_is_kept() {
    let large = message(&"x".repeat(3000), "1");
    let payload = decode_str(&envelope(&large)).unwrap();
    assert_eq!(payload.rejected[0].raw, large[..100]);
    assert_eq!(payload.rejected[0].truncated_from, Some(large.len()));
}

#[test]
fn payloads_of_countless_messages_are_refused() {
    let zeros = vec!["0"; MAX_REJECTED + 1].join(",");
    assert!(matches!(decode_str(&envelope(&zeros)), Err(Error::TooManyRejected { .. })));
    assert_eq!(decode_str(&envelope(&zeros[2..])).unwrap().rejected.len(), MAX_REJECTED);
    let heartbeats = vec![r#"{"message_type":"heartbeat"}"#; MAX_MESSAGES + 1].join(",");
    assert_eq!(decode_str(&envelope(&heartbeats)).unwrap_err(), Error::TooManyMessages);
}

#[test]
fn a_heartbeat_is_no_event_whatever_else_it_holds() {
    let beats = r#"{"message_type":"heartbeat"},{"content":5,"generated_at":33,"message_type":"heartbeat"},{"content":"","generated_at":"x","message_type":"heartbeat"}"#;
    let payload = decode_str(&envelope(beats)).unwrap();
    assert_eq!((payload.heartbeats, payload.events.len(), payload.rejected.len()), (3, 0, 0));
    let header = Header::parse(&payload.heartbeat.unwrap()).unwrap();
    assert_eq!((header.kind, header.generated_at, header.sequence), (Kind::Heartbeat, Some(GeneratedAt(33)), None));
    let silent = decode_str(&envelope("")).unwrap();
    assert_eq!((silent.heartbeats, silent.heartbeat), (0, None));
}

#[test]
fn any_integer_is_a_time() {
    for time in [i64::MIN, -1, 0, i64::MAX] {
        let payload = decode_str(&envelope(&message(r#"{"Event":"E"}"#, &time.to_string()))).unwrap();
        assert_eq!(headers(&payload)[0].event_key().unwrap().order, time);
    }
}

#[test]
fn without_counters_the_index_is_the_sequence() {
    let one = message(r#"{"Event":"E"}"#, "1");
    for counters in ["", r#""counters":null,"#, r#""counters":{},"#, r#""counters":{"message_counter":null},"#] {
        let body = format!(r#"{{{counters}"messages":[{one},{one}],"run_id":"r","job_name":"j"}}"#);
        let payload = decode_str(&body).unwrap();
        assert_eq!(headers(&payload)[1].sequence, Some(Sequence(1)), "{body}");
    }
}

#[test]
fn the_instance_names_its_events_by_sequence() {
    let one = message(r#"{"Event":"E"}"#, "1");
    let members = [
        r#""job_name":"j","run_id":"r""#.to_owned(),
        r#""instance_id":"i-1""#.to_owned(),
        r#""counters":{"message_counter":2}"#.to_owned(),
        format!(r#""messages":[{one},{one}]"#),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let body = format!("{{{}}}", order.map(|i| members[i].clone()).join(","));
        let payload = decode_str(&body).unwrap();
        assert_eq!((payload.protocol, payload.instance_id.as_deref()), (Protocol::Instance, Some("i-1")));
        for (sequence, header) in (0..).map(Sequence).zip(headers(&payload)) {
            assert_eq!(header.identity, Some(Identity::of_instance("i-1", sequence)));
            assert_eq!(header.instance, Some(Instance::of("i-1")));
        }
    }
}

fn keys(messages: &[String]) -> Vec<(i64, Identity)> {
    let payload = decode_str(&envelope(&messages.join(","))).unwrap();
    headers(&payload).iter().map(|h| (h.generated_at.unwrap().0, h.identity.unwrap())).collect()
}

#[test]
fn equal_occurrences_are_counted_and_regrouping_them_changes_nothing() {
    let event = r#"{"Event":"E"}"#;
    let occurrence = Identity::of_occurrence(event.as_bytes());
    let messages = ["1", "1", "2"].map(|time| message(event, time));
    let together = keys(&messages);
    assert_eq!(together, [(1, occurrence), (1, occurrence.of_copy(1)), (2, occurrence)]);
    assert_eq!([keys(&messages[..2]), keys(&messages[2..])].concat(), together);
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![".{1,20}", "[/ \n%?#\"😀]{1,8}", Just("x".repeat(1000))]
}

/// Spark events as any JSON encoder may write them, and their times.
fn spark_events() -> impl Strategy<Value = Vec<(String, i64)>> {
    let event = (".{0,10}", ".{0,30}", any::<i64>())
        .prop_map(|(name, text, number)| format!(r#"{{"Event":{},"text":{},"n":{number}}}"#, json!(name), json!(text)));
    prop::collection::vec((event, any::<i64>()), 0..12)
}

/// JSON with every character beyond ASCII, and some of the others, escaped.
fn escaped(json: &str) -> String {
    let mut out = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").unwrap();
            }
        }
    }
    out.replace('/', "\\/")
}

proptest! {
    #[test]
    fn what_any_encoder_wrote_is_what_is_decoded(
        job in names(), run in names(), events in spark_events(), counter in -100_000..i64::MAX,
        pretty: bool, ascii: bool, beat_first: bool,
    ) {
        let mut messages: Vec<Value> = events.iter().map(|(content, at)|
            json!({"content": content, "generated_at": at, "message_type": "spark-event", "unknown": [{"a": [1.5e300]}]})).collect();
        if beat_first {
            messages.insert(0, json!({"content": "", "generated_at": 1, "message_type": "heartbeat"}));
        }
        let first = counter - i64::try_from(messages.len()).unwrap() + i64::from(beat_first);
        let body = json!({"job_name": job, "run_id": run, "counters": {"message_counter": counter, "payload_counter": 1},
            "messages": messages, "sent_at": 5, "more": null});
        let body = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
        let body = if ascii { escaped(&body) } else { body };
        let payload = decode_str(&body).unwrap();
        prop_assert_eq!((payload.run.job.as_str(), payload.run.run.as_str()), (&*job, &*run));
        prop_assert_eq!((payload.events.len(), payload.heartbeats), (events.len(), usize::from(beat_first)));
        for ((sequence, header), (event, (content, at))) in (first..).zip(headers(&payload)).zip(payload.events.iter().zip(&events)) {
            prop_assert_eq!(&event.value[..], content.as_bytes());
            let EventKey { order, sequence: found, identity } = header.event_key().unwrap();
            prop_assert_eq!((order, found.0, header.received_at), (*at, sequence, ReceivedAt(9)));
            prop_assert_eq!(identity, Identity::of_occurrence(content.as_bytes()));
        }
    }
}

fn job_start(properties: &str) -> String {
    format!(r#"{{"Event":"SparkListenerJobStart","Properties":{{{properties}}}}}"#)
}

#[test]
fn secrets_are_replaced_in_what_is_stored_and_in_what_is_rejected() {
    let redacted = |messages: &[String]| {
        decode_redacted(envelope(&messages.join(",")).as_bytes(), ReceivedAt(9), LIMITS, &Redaction::default()).unwrap()
    };
    let secret = job_start(r#""password":"hunter2""#);
    // The second is larger than the limit only once it is redacted, the third is kept as its beginning only.
    let grown = job_start(&(0..60).map(|i| format!(r#""token{i}":"""#)).collect::<Vec<_>>().join(","));
    let huge = job_start(&format!(r#""password":"hunter2","more":"{}""#, "x".repeat(3000)));
    assert!(grown.len() < LIMITS.event_bytes && huge.len() > LIMITS.rejected_bytes);
    let payload = redacted(&[message(&secret, "1"), message(&grown, "2"), message(&huge, "3")]);
    assert_eq!(payload.events[0].value, secret.replace("hunter2", "*********(redacted)"));
    let reasons: Vec<_> = payload.rejected.iter().map(|it| (it.reason, it.truncated_from.is_some())).collect();
    assert_eq!(reasons, [(Reason::TooLarge, false), (Reason::TooLarge, true)]);
    assert!(!payload.rejected.iter().any(|it| String::from_utf8_lossy(&it.raw).contains("hunter2")));
    assert_eq!((payload.redacted, payload.events.len()), (1 + 60 + 1, 1));
    assert!(payload.bytes >= payload.events[0].value.len() + payload.events[0].header.len());
}

#[test]
fn a_payload_that_redaction_would_swell_is_refused() {
    let tokens = vec![r#""token":"""#; 50_000].join(",");
    let messages = vec![message(&job_start(&tokens), "1"); 20].join(",");
    let limits = Limits { event_bytes: 16_000_000, ..LIMITS };
    let result = decode_redacted(envelope(&messages).as_bytes(), ReceivedAt(9), limits, &Redaction::default());
    assert_eq!(result.unwrap_err(), Error::TooMuchRedacted);
}
