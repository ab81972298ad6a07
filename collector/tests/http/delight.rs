//! The Delight agent's requests: 200 for what is safe, if only as a dead letter, 503 for what may succeed later, and
//! nothing else.

use std::time::{Duration, Instant};

use crate::support::{Answer, Mode, Server, gzip, options, start};
use collector::Options;
use event::dead_letter;
use event::delight::pack;
use event::{Header, Kind, RunName};
use serde_json::json;

const APP: &str = "spark-pi-02079b28-91ee-4c4e-ae84-65e316674a35";
/// As the agent's HTTP client says it.
const HEADERS: &str = "X-API-key: test-token\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n";

fn recorded(n: usize) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/fixtures/wire/delight/spark-3.5-pi");
    std::fs::read(format!("{folder}/{n:05}.body")).unwrap()
}

fn bulk(counter: i64, lines: &str) -> Vec<u8> {
    let data = pack(lines.as_bytes());
    json!({"dmAppId": "a", "counters": {"messageCounter": counter}, "data": data}).to_string().into_bytes()
}

async fn post(server: &Server, path: &str, body: &[u8]) -> Answer {
    server.post_with(path, HEADERS, body).await
}

#[tokio::test]
async fn recorded_requests_are_stored_at_every_spelling_of_their_paths() {
    let server = start(options()).await;
    let spellings = |name: &str| {
        [
            format!("/collector/{name}"),
            format!("/collector/{name}/"),
            format!("/collector//{name}"),
            format!("/collector//{name}/"),
        ]
    };
    let mut stored = 0;
    for (n, name) in
        [(1, "heartbeat"), (2, "bulk"), (3, "bulk"), (4, "bulk"), (5, "bulk"), (7, "bulk"), (8, "bulk"), (9, "ack")]
    {
        for path in spellings(name) {
            for body in [recorded(n), gzip(&recorded(n))] {
                let answer = post(&server, &path, &body).await;
                assert_eq!((answer.status, &answer.body["dead_lettered"]), (200, &0.into()), "{path}: {answer:?}");
                stored += answer.body["stored"].as_u64().unwrap();
            }
        }
    }
    let records = server.events.records();
    let key = RunName::new("spark-pi", APP).unwrap().to_key();
    assert!(records.iter().all(|it| it.key == key));
    let headers: Vec<_> = records.iter().map(|it| Header::parse(&it.header).unwrap()).collect();
    let count = |kind| headers.iter().filter(|it| it.kind == kind).count();
    assert_eq!([count(Kind::Event) as u64, count(Kind::Heartbeat) as u64, count(Kind::Ack) as u64], [stored, 8, 8]);
    let mut places: Vec<_> = headers.iter().filter_map(event::Header::event_key).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len() as u64, stored / 8);
    assert!(places.iter().enumerate().all(|(i, it)| (it.order, it.sequence.0) == (0, i as i64)));
}

#[tokio::test]
async fn what_no_one_can_read_is_acknowledged_and_kept_as_it_came() {
    let options = Options { wire_bytes: 100_000, decompressed_bytes: 50_000, ..options() };
    let server = start(options).await;
    let zeros = bulk(1, &"x".repeat(60_000));
    let good = bulk(1, "{\"Event\":\"A\"}\n");
    let cut = {
        let data = pack(b"{\"Event\":\"A\"}\n");
        json!({"dmAppId": "a", "data": &data[..data.len() - 8]}).to_string().into_bytes()
    };
    let cases: [(&str, &[u8], &str); 8] = [
        ("", b"", "empty"),
        ("", b"not JSON", "not_json"),
        ("", br#"{"data":""}"#, "missing_member"),
        ("", br#"{"dmAppId":"a","data":"!"}"#, "not_base64"),
        ("", &cut, "gzip"),
        ("", &zeros, "too_large_decompressed"),
        ("Content-Encoding: br\r\n", &good, "encoding"),
        ("Content-Encoding: gzip\r\n", &good, "gzip"),
    ];
    for (n, (headers, body, reason)) in cases.into_iter().enumerate() {
        let answer = server.post_with("/collector/bulk", headers, body).await;
        assert_eq!(
            (answer.status, &answer.body["stored"], &answer.body["dead_lettered"]),
            (200, &0.into(), &1.into()),
            "{reason}"
        );
        let letter = server.dead_letters.letters().pop().unwrap();
        assert_eq!((server.dead_letters.records().len(), letter.reason.as_str()), (n + 1, reason));
        assert_eq!((letter.kind, &letter.value[..]), (dead_letter::Kind::Payload, body));
        let replay = letter.replay().unwrap();
        assert_eq!((replay.path.as_str(), &replay.body[..]), ("/collector/bulk", body));
        assert!(!replay.headers.keys().any(|name| name.contains("key") || name.contains("length")), "{replay:?}");
    }
    assert_eq!(server.events.records().len(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_read_to_its_end_and_its_beginning_kept() {
    let server = start(Options { wire_bytes: 200_000, ..options() }).await;
    let large: Vec<u8> = (0..500_000_u32).map(|it| b'a' + (it % 26) as u8).collect();
    let chunked = [
        b"POST /collector/bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        &format!("{:x}\r\n", large.len()).into_bytes()[..],
        &large,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for answer in [post(&server, "/collector/bulk", &large).await, server.raw(&chunked).await] {
        assert_eq!((answer.status, &answer.body["dead_lettered"]), (200, &1.into()), "{answer:?}");
        let letter = server.dead_letters.letters().pop().unwrap();
        assert_eq!((letter.reason.as_str(), letter.truncated_from), ("too_large_on_wire", Some(500_000)));
        assert_eq!(&letter.value[..], &large[..dead_letter::TRUNCATED_BYTES]);
    }
    assert_eq!(server.metric("emberlog_collector_in_flight_bytes"), 0.0);
}

#[tokio::test]
async fn a_bad_line_is_a_dead_letter_by_itself() {
    let server = start(options()).await;
    let body = bulk(10, "{\"Event\":\"A\"}\n{\"password\":\"s3cr3t\"}\n{\"Event\":\"B\"}\n");
    let answer = post(&server, "/collector/bulk", &body).await;
    assert_eq!((answer.status, &answer.body["stored"], &answer.body["dead_lettered"]), (200, &2.into(), &1.into()));
    let letter = server.dead_letters.letters().pop().unwrap();
    assert_eq!((letter.kind, letter.reason.as_str()), (dead_letter::Kind::Message, "no_event"));
    assert_eq!((letter.sequence.unwrap().0, &letter.value[..]), (8, &br#"{"password":"*********(redacted)"}"#[..]));
    assert_eq!(letter.run_id.as_deref(), Some("a"));
}

#[tokio::test]
async fn secrets_of_a_payload_that_could_be_read_are_in_no_dead_letter() {
    let server = start(options()).await;
    let event = r#"{"Event":"SparkListenerJobStart","Properties":{"a.password":"s3cr3t"}}"#;
    let lines = format!("{event}\n{}", "x\n".repeat(20_000));
    for body in [bulk(1, &lines), gzip(&bulk(1, &lines))] {
        let answer = post(&server, "/collector/bulk", &body).await;
        assert_eq!((answer.status, &answer.body["dead_lettered"]), (200, &1.into()), "{answer:?}");
        let letter = server.dead_letters.letters().pop().unwrap();
        assert_eq!((letter.reason.as_str(), letter.truncated_from), ("too_many_rejected", Some(body.len() as u64)));
        let value = String::from_utf8_lossy(&letter.value).into_owned();
        assert!(value.starts_with(&event.replace("s3cr3t", event::redact::REPLACEMENT)), "{}", &value[..200]);
    }
}

#[tokio::test]
async fn a_dead_letter_that_its_journal_finds_too_large_is_kept_in_part() {
    let server = start(options()).await;
    *server.dead_letters.mode.lock().unwrap() = Mode::TakesUpTo(1_000_000);
    let answer = post(&server, "/collector/bulk", &vec![b'x'; 2_000_000]).await;
    assert_eq!((answer.status, &answer.body["dead_lettered"]), (200, &1.into()), "{answer:?}");
    let letter = server.dead_letters.letters().pop().unwrap();
    assert_eq!((letter.value.len(), letter.truncated_from), (dead_letter::TRUNCATED_BYTES, Some(2_000_000)));
}

#[tokio::test]
async fn samples_are_records_of_their_own_kind() {
    let server = start(options()).await;
    let lines = "{\"host\":\"driver\",\"kind\":\"memory\",\"timestamp\":17,\"metrics\":{}}\n{\"no\":\"time\"}\n";
    let body = json!({"dmAppId": APP, "sentAt": 1, "data": pack(lines.as_bytes())}).to_string();
    let answer = post(&server, "/collector/metrics", body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let counts = ["stored", "samples", "dead_lettered"].map(|it| answer.body[it].as_u64());
    assert_eq!(counts, [Some(0), Some(1), Some(1)]);
    let header = Header::parse(&server.events.records()[0].header).unwrap();
    assert_eq!((header.kind, header.sample_key().unwrap().order), (Kind::Sample, 17));
    assert_eq!(server.dead_letters.letters()[0].replay().unwrap().path, "/collector/metrics");
    assert_eq!(server.metric("emberlog_collector_samples_total"), 1.0);
    assert_eq!(server.metric("emberlog_collector_events_total"), 0.0);
}

#[tokio::test]
async fn what_may_succeed_later_is_answered_503_in_time_with_one_message() {
    let quick =
        Options { answer_within: Duration::from_millis(300), body_idle: Duration::from_millis(300), ..options() };
    let server = start(Options { budget_bytes: 100_000, ..quick }).await;
    let good = bulk(1, "{\"Event\":\"A\"}\n");
    let bad = b"{}".to_vec();
    let set = |events: Mode, letters: Mode| {
        *server.events.mode.lock().unwrap() = events;
        *server.dead_letters.mode.lock().unwrap() = letters;
    };
    let mut answers = Vec::new();
    for mode in [Mode::IsAway, Mode::NeverAnswers] {
        set(mode, mode);
        let began = Instant::now();
        answers.push(post(&server, "/collector/bulk", &good).await);
        answers.push(post(&server, "/collector/heartbeat", br#"{"dmAppId":"a"}"#).await);
        answers.push(post(&server, "/collector/bulk", &bad).await);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    set(Mode::Takes, Mode::Takes);
    answers.push(post(&server, "/collector/bulk", &vec![b'x'; 200_000]).await);
    answers.push(
        server
            .raw(b"POST /collector/bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{")
            .await,
    );
    server.collector.shut_down();
    answers.push(post(&server, "/collector/ack", br#"{"dmAppId":"a"}"#).await);
    for answer in answers {
        assert!(answer.status == 503 && answer.head.contains("retry-after: "), "{answer:?}");
        assert_eq!(answer.body.to_string().matches("\"message\"").count(), 1, "{answer:?}");
    }
    assert!(server.events.records().is_empty() && server.dead_letters.records().is_empty());
}

#[tokio::test]
async fn another_method_is_told_which_to_use_at_every_spelling() {
    let server = start(options()).await;
    for path in ["/collector/bulk", "/collector/bulk/", "/collector//bulk"] {
        let answer =
            server.raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!((answer.status, answer.message()), (405, format!("{path} takes POST, not GET.").as_str()));
    }
}
