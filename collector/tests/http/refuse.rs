//! What is refused: each with its status, a message that helps, and a server that goes on.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::{Mode, Server, events, gzip, options, payload, recorded, start};
use collector::Options;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn still_works(server: &Server) {
    let answer = server.post(&payload(&events(1))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    server.until("free memory", |it| it.metric("emberlog_collector_in_flight_bytes") == 0.0).await;
}

#[tokio::test]
async fn bad_bodies_get_a_400_that_says_what_is_wrong() {
    let server = start(options()).await;
    let good = gzip(&payload(&events(1)));
    let mut checksum = good.clone();
    let at = good.len() - 8;
    checksum[at] ^= 1;
    let trailing = [&good[..], b"more"].concat();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let cases: [(&str, &[u8], &str); 10] = [
        ("", b"", "This is not a payload: the body is empty."),
        ("Content-Encoding: gzip\r\n", b"", "This is not a payload: the body is empty."),
        ("", b"hello", "This is not a payload: the body is not JSON: a value is missing at byte 0."),
        ("", b"{\"job_name\":1}", "This is not a payload: job_name: must be a text, not a number."),
        ("", deep.as_bytes(), "This is not a payload: the body is nested deeper than 64 levels at byte 64."),
        ("Content-Encoding: gzip\r\n", b"{}", "The body is not valid gzip: it does not begin with the bytes 1f 8b."),
        ("", &checksum, "The body is not valid gzip: its checksum is wrong."),
        ("", &trailing, "The body is not valid gzip: 4 bytes follow it that are not gzip."),
        ("", &gzip(&good), "This is not a payload: the body is not JSON: a value is missing at byte 0."),
        (
            "",
            b"{\"job_name\":\"a\nb\"}",
            "This is not a payload: the body is not JSON: a control character inside a text at byte 14.",
        ),
    ];
    for (headers, body, message) in cases {
        let answer = server.post_with("/collect", headers, body).await;
        assert_eq!((answer.status, answer.message()), (400, message));
        assert_eq!((&answer.body["status"], &answer.body["title"]), (&400.into(), &"Bad Request".into()));
        assert!(answer.head.contains("content-type: application/problem+json"));
        still_works(&server).await;
    }
    assert_eq!(server.metric(r#"emberlog_collector_requests_total{status="400"}"#), 10.0);
    assert_eq!(server.metric(r#"emberlog_collector_refusals_total{reason="gzip"}"#), 3.0);
}

#[tokio::test]
async fn gzip_cut_at_any_byte_stores_nothing() {
    let server = start(options()).await;
    let body = recorded().swap_remove(1);
    for end in 0..body.len() {
        let answer = server.post_with("/collect", "Content-Encoding: gzip\r\n", &body[..end]).await;
        assert_eq!(answer.status, 400, "{end} {answer:?}");
    }
    assert_eq!(server.events.records().len(), 0);
    still_works(&server).await;
}

#[tokio::test]
async fn too_large_bodies_get_a_413_with_the_limit() {
    let server = start(Options { wire_bytes: 100_000, decompressed_bytes: 1_000_000, ..options() }).await;
    let on_wire = "The body has more than 97.7 KiB (100000 bytes) as sent. Send fewer messages in each payload, or \
                   raise the collector's limit.";
    let answer = server.post(&vec![b' '; 3_000_000]).await;
    assert_eq!((answer.status, answer.message()), (413, on_wire));
    let mut chunked =
        b"POST /collect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked.extend([b"186a1\r\n", &vec![b' '; 100_001][..], b"\r\n0\r\n\r\n"].concat());
    assert_eq!(server.raw(&chunked).await.message(), on_wire);
    let plain = start(Options { decompressed_bytes: 1_000_000, ..options() }).await;
    assert_eq!(plain.post(&vec![b' '; 1_000_001]).await.status, 413);
    let bombs = [gzip(&vec![b' '; 10_000_000]), gzip(&vec![b' '; 600_000]).repeat(2)];
    for bomb in bombs {
        let answer = server.post(&bomb).await;
        assert_eq!(answer.status, 413);
        assert!(answer.message().contains("(1000000 bytes) decompressed"), "{}", answer.message());
    }
    still_works(&server).await;
}

#[tokio::test]
async fn an_unknown_encoding_gets_a_415() {
    let server = start(options()).await;
    let answer = server.post_with("/collect", "Content-Encoding: br\r\n", b"x").await;
    let message = "The body's encoding \"br\" is not known here. Send it with gzip, or as it is.";
    assert_eq!((answer.status, answer.message()), (415, message));
    assert_eq!(server.raw(b"GET /collect HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.status, 405);
}

#[tokio::test]
async fn a_client_that_stops_half_way_ends_and_frees_its_memory() {
    let server = start(Options { body_idle: Duration::from_secs(1), ..options() }).await;
    let head = "POST /collect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n";
    let half = [head.as_bytes(), &[b' '; 2500]].concat();
    let (mut held, mut attempts) = (false, 0);
    // A machine that stands still meanwhile is looked at too late.
    while !held {
        attempts += 1;
        assert!(attempts < 10, "no memory was in use");
        let mut answer = pin!(server.raw(&half));
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
            held |= server.metric("emberlog_collector_in_flight_bytes") == 2500.0;
        };
        assert_eq!(
            (answer.status, answer.message()),
            (408, "The body stopped before its end; the collector waited 1 s for more.")
        );
        still_works(&server).await;
    }
    let mut gone = TcpStream::connect(server.address).await.unwrap();
    gone.write_all(&half).await.unwrap();
    drop(gone);
    still_works(&server).await;
}

#[tokio::test]
async fn a_body_that_drips_for_ever_ends() {
    let options =
        Options { body_idle: Duration::from_millis(300), body_total: Duration::from_millis(600), ..options() };
    let server = start(options).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n").await.unwrap();
    let started = Instant::now();
    while server.metrics().matches("status=\"408\"").count() == 0 {
        drop(stream.write_all(b" ").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn over_budget_is_a_503_at_once_and_what_is_held_counts() {
    let server = start(Options { budget_bytes: 300_000, ..options() }).await;
    let (held, bomb) = (payload(&events(1000)), gzip(&vec![b' '; 10_000_000]));
    *server.events.mode.lock().unwrap() = Mode::NeverAnswers;
    let waits = async {
        server.until("a waiting request", |it| it.events.waiting.load(Ordering::SeqCst) == 1).await;
        // The first waits on.
        let answers = [server.post(&held).await, server.post(&bomb).await];
        for answer in answers {
            assert_eq!((answer.status, answer.head.contains("retry-after: 1\r\n")), (503, true), "{answer:?}");
            assert!(answer.message().starts_with("This collector holds as much as it may."));
        }
    };
    tokio::select! {
        first = server.post(&held) => panic!("{first:?}"),
        () = waits => {}
    }
    *server.events.mode.lock().unwrap() = Mode::Takes;
    still_works(&server).await;
    assert_eq!(server.post(&held).await.status, 200);
}

#[tokio::test]
async fn what_a_body_decodes_to_is_charged_before_it_is_decoded() {
    let server = start(Options { budget_bytes: 300_000, ..options() }).await;
    let padded = |bytes: usize| [vec![b' '; bytes], payload(&events(1))].concat();
    assert_eq!(server.post(&padded(140_000)).await.status, 200);
    assert_eq!(server.post(&padded(160_000)).await.status, 503);
    assert_eq!(server.post(&gzip(&padded(160_000))).await.status, 503);
    still_works(&server).await;
}

#[tokio::test]
async fn a_journal_that_is_slow_or_away_is_a_503_within_five_seconds() {
    let in_time = Options::default().answer_within;
    assert!(in_time < Duration::from_secs(5), "{in_time:?}");
    let server = start(Options { answer_within: in_time, ..options() }).await;
    for (mode, message) in [
        (
            Mode::NeverAnswers,
            "The payload could not be stored in time: the journal did not answer. Send it again later.",
        ),
        (Mode::IsAway, "The journal cannot take events now. Send the payload again later."),
    ] {
        *server.events.mode.lock().unwrap() = mode;
        let started = Instant::now();
        let answer = server.post(&payload(&events(1))).await;
        assert!(started.elapsed() < Duration::from_secs(60));
        assert_eq!((answer.status, answer.message()), (503, message));
        assert!(answer.head.contains("retry-after: 3"));
    }
    *server.events.mode.lock().unwrap() = Mode::Takes;
    still_works(&server).await;
}

#[tokio::test]
async fn a_collector_that_shuts_down_sends_its_clients_elsewhere() {
    let server = start(options()).await;
    server.collector.shut_down();
    let answer = server.post(&payload(&events(1))).await;
    assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true));
    assert_eq!(server.events.records().len(), 0);
}

#[tokio::test]
async fn of_what_was_refused_a_sample_is_kept_but_never_replayed() {
    let server = start(options()).await;
    let began = Instant::now();
    for _ in 0..5 {
        server.post_with("/collect", "Authorization: Bearer secret\r\n", b"not a payload").await;
    }
    server.until("a sample", |it| !it.dead_letters.records().is_empty()).await;
    let letters = server.dead_letters.letters();
    // One in a second.
    assert!(letters.len() as u64 <= 1 + began.elapsed().as_secs(), "{letters:?}");
    let letter = &letters[0];
    assert_eq!((letter.reason.as_str(), letter.status, letter.count), ("not_json", Some(400), Some(1)));
    assert_eq!(letter.value, "not a payload");
    assert!(letter.replay().is_err());
    assert!(!String::from_utf8(letter.header()).unwrap().contains("secret"));
}

#[tokio::test]
async fn each_metric_counts_what_it_says() {
    let server = start(options()).await;
    let plain = payload(&events(4));
    let zipped = gzip(&plain);
    server.post(&zipped).await;
    server.post(b"{").await;
    let value = |name: &str| server.metric(&format!("emberlog_collector_{name}"));
    assert_eq!(value("requests_total{status=\"200\"}"), 1.0);
    assert_eq!(value("requests_total{status=\"400\"}"), 1.0);
    assert_eq!(value("refusals_total{reason=\"not_json\"}"), 1.0);
    assert_eq!(value("events_total"), 4.0);
    assert_eq!(value("wire_bytes_total"), (zipped.len() + 1) as f64);
    assert_eq!(value("decoded_bytes_total"), plain.len() as f64);
    assert_eq!((value("decode_seconds_count"), value("publish_seconds_count")), (2.0, 1.0));
    assert_eq!(value("in_flight_bytes"), 0.0);
}
