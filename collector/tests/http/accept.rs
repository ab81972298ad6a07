//! What is accepted, in all variants of the protocol, and what becomes of it.

use crate::support::{Mode, events, gzip, message, options, payload, recorded, start, start_on};
use std::sync::Arc;
use std::time::Duration;

use collector::Options;
use event::{Header, Kind, RunName};
use journal::local::{self, Local};
use journal::{Position, Subscriber};
use prometheus::Registry;
use serde_json::json;

#[tokio::test]
async fn recorded_payloads_are_stored_as_they_were_sent() {
    let server = start(options()).await;
    let mut offset = 0;
    for body in recorded() {
        let answer = server.post_with("/collect", "Content-Encoding: gzip\r\n", &body).await;
        assert_eq!((answer.status, answer.body["dead_lettered"].as_u64()), (200, Some(0)), "{answer:?}");
        offset = answer.body["journal"]["offset"].as_u64().unwrap();
    }
    let records = server.events.records();
    assert_eq!(records.len() as u64, offset + 1);
    let headers: Vec<_> = records.iter().map(|r| Header::parse(&r.header).unwrap()).collect();
    let kinds = |kind| headers.iter().filter(|h| h.kind == kind).count();
    assert_eq!((kinds(Kind::Event), kinds(Kind::Heartbeat)), (166, 3));
    let key = RunName::new("spark-pi", "local-1795229682121").unwrap().to_key();
    assert!(records.iter().all(|r| r.key == key));
    let [first, last] = [&records[1], &records[records.len() - 1]].map(|r| String::from_utf8_lossy(&r.value));
    assert!(
        first.starts_with(r#"{"Event":"SparkListenerLogStart""#) && last.contains("ApplicationEnd"),
        "{first} {last}"
    );
    assert_eq!(server.metric("emberlog_collector_events_total"), 166.0);
    assert_eq!(server.metric("emberlog_collector_heartbeats_total"), 3.0);
}

#[tokio::test]
async fn the_answer_tells_where_in_the_journal_the_payload_is() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = local::Metrics::register(&Registry::new(), "events").unwrap();
    let journal = Local::open(dir.path(), local::Options::default(), metrics).unwrap();
    let server = start_on(Arc::new(journal.publisher()), options()).await;
    let bodies = recorded();
    let first = server.post(&bodies[0]).await;
    let second = server.post(&bodies[1]).await;
    assert_eq!(first.body["journal"], json!({"partition": 0, "offset": 5}));
    assert_eq!(second.body["journal"], json!({"partition": 0, "offset": 7}));
    let mut subscriber = journal.subscriber().unwrap();
    subscriber.seek(Position { partition: 0, offset: 0 }).unwrap();
    let mut entries = Vec::new();
    while entries.len() < 8 {
        entries.extend(subscriber.next(Duration::from_secs(5)).unwrap());
    }
    let kinds: Vec<_> = entries.iter().map(|entry| Header::parse(&entry.record.header).unwrap().kind).collect();
    assert_eq!(kinds[0], Kind::Heartbeat);
    assert!(kinds[1..].iter().all(|kind| *kind == Kind::Event));
    assert!(entries[5].record.value.starts_with(br#"{"Event":"SparkListenerApplicationStart""#));
}

#[tokio::test]
async fn every_way_to_send_a_payload_stores_it() {
    let server = start(options()).await;
    let plain = payload(&events(3));
    let zipped = gzip(&plain);
    let (left, right) = plain.split_at(50);
    let members = [gzip(left), gzip(right)].concat();
    let cases: [(&str, &str, &[u8]); 8] = [
        ("/collect", "", &plain),
        ("/", "Content-Type: text/plain\r\n", &plain),
        ("/collect/", "Content-Type: multipart/form-data\r\n", &plain),
        ("/collect", "Content-Encoding: gzip\r\n", &zipped),
        ("/collect", "", &zipped),
        ("/collect", "Content-Encoding: identity\r\nContent-Type: x\r\n", &zipped),
        ("/collect?a=b", "Content-Encoding: GZIP\r\n", &members),
        ("/collect", "", &members),
    ];
    for (path, headers, body) in cases {
        let answer = server.post_with(path, headers, body).await;
        assert_eq!((answer.status, answer.body["stored"].as_u64()), (200, Some(3)), "{path} {headers}: {answer:?}");
    }
    let mut chunked =
        b"POST /collect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in zipped.chunks(7) {
        chunked.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    assert_eq!(server.raw(&chunked).await.body["stored"], 3);
    let records = server.events.records();
    assert_eq!(records.len(), 27);
    assert!(records.chunks(3).all(|three| three.iter().zip(&records).all(|(a, b)| a.value == b.value)));
}

#[tokio::test]
async fn names_of_every_kind_key_their_records() {
    let server = start(options()).await;
    for name in ["a/b", " ", "a b", "..", "%2f?#", "\n\"'\\", "😀é", &"x".repeat(1000), "\u{0}"] {
        let body = json!({"job_name": name, "run_id": name, "messages": [message(r#"{"Event":"E"}"#, 1)]});
        assert_eq!(server.post(body.to_string().as_bytes()).await.status, 200, "{name}");
        let record = server.events.records().pop().unwrap();
        assert_eq!(RunName::from_key(&record.key).unwrap(), RunName::new(name, name).unwrap());
    }
}

#[tokio::test]
async fn bad_messages_are_durable_among_the_dead_letters_before_the_200() {
    let server = start(options()).await;
    let mut messages = events(3);
    messages.insert(1, json!({"content": "{}", "generated_at": "x", "message_type": "spark-event"}));
    messages.push(message("not json", 7));
    let headers = "User-Agent: agent\r\nAuthorization: Bearer secret\r\nX-API-Key: secret\r\n";
    let answer = server.post_with("/collect/", headers, &gzip(&payload(&messages))).await;
    assert_eq!((answer.body["stored"].as_u64(), answer.body["dead_lettered"].as_u64()), (Some(3), Some(2)));
    let letters = server.dead_letters.letters();
    let reasons: Vec<_> = letters.iter().map(|l| (l.reason.as_str(), l.sequence.unwrap().0)).collect();
    assert_eq!(reasons, [("wrong_type", 1), ("not_json", 4)]);
    assert_eq!(letters[0].value, messages[1].to_string());
    assert_eq!((letters[0].job_name.as_deref(), letters[0].path.as_deref()), (Some("j"), Some("/collect/")));
    assert!(letters[0].source.as_ref().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(letters[0].headers["user-agent"], "agent");
    let records = server.dead_letters.records();
    assert!(records.iter().all(|r| !String::from_utf8_lossy(&r.header).contains("secret")));
    assert_eq!(server.metric(r#"emberlog_collector_dead_letters_total{reason="not_json"}"#), 1.0);

    *server.dead_letters.mode.lock().unwrap() = Mode::IsAway;
    assert_eq!(server.post(&payload(&messages)).await.status, 503);
}

#[tokio::test]
async fn ten_thousand_events_and_one_of_15_mb_and_a_deep_plan_are_stored() {
    let server = start(options()).await;
    let many = server.post(&gzip(&payload(&events(10_000)))).await;
    assert_eq!((many.status, many.body["stored"].as_u64()), (200, Some(10_000)));
    let large = format!(r#"{{"Event":"E","plan":"{}"}}"#, "x".repeat(15_000_000));
    let deep = format!(r#"{{"Event":"E","plan":{}{}}}"#, r#"{"children":["#.repeat(2000), "]}".repeat(2000));
    let answer = server.post(&payload(&[message(&large, 1), message(&deep, 2)])).await;
    assert_eq!((answer.status, answer.body["stored"].as_u64()), (200, Some(2)));
    let values: Vec<_> = server.events.records().into_iter().skip(10_000).map(|r| r.value).collect();
    assert!(values == [large, deep]);
}

#[tokio::test]
async fn an_event_over_a_limit_is_a_dead_letter_whoever_sets_the_limit() {
    let server = start(Options { event_bytes: 100_000, ..options() }).await;
    let large = |bytes: usize| message(&format!(r#"{{"Event":"{}"}}"#, "x".repeat(bytes)), 5);
    let body = payload(&[large(200_000), large(90_000), large(10)]);
    let answer = server.post(&body).await;
    assert_eq!((answer.body["stored"].as_u64(), answer.body["dead_lettered"].as_u64()), (Some(2), Some(1)));
    // The journal's own limit may be lower than ours.
    *server.events.mode.lock().unwrap() = Mode::TakesUpTo(50_000);
    let answer = server.post(&body).await;
    assert_eq!(
        (answer.body["stored"].as_u64(), answer.body["dead_lettered"].as_u64()),
        (Some(1), Some(2)),
        "{answer:?}"
    );
    let letters = server.dead_letters.letters();
    assert!(letters.iter().all(|letter| letter.reason == "too_large" && letter.generated_at.unwrap().0 == 5));
    assert_eq!(
        (letters[2].sequence.unwrap().0, letters[2].truncated_from),
        (1, Some(large(90_000).to_string().len() as u64))
    );
}

#[tokio::test]
async fn a_payload_without_messages_is_fine_and_stores_nothing() {
    let server = start(options()).await;
    let answer = server.post(&payload(&[])).await;
    assert_eq!((answer.status, answer.body), (200, json!({"stored": 0, "dead_lettered": 0, "heartbeats": 0})));
    assert_eq!(server.events.records().len(), 0);
}
