//! Events one a line.

use crate::support::{Mode, gzip, options, start};
use collector::Options;
use event::{Header, Kind, RunName};

const THREE: &[u8] = b"{\"Event\":\"A\"}\n\n{\"Event\":\"B\"}\r\n{\"Event\":\"C\"}";

#[tokio::test]
async fn lines_are_durable_under_the_run_and_the_sequence_that_the_path_names() {
    let server = start(options()).await;
    let path = "/v1/ingest/etl%2Fd%C3%A9j%C3%A0%20vu/..?first_sequence=5&attempt=2";
    for body in [THREE.to_vec(), gzip(THREE)] {
        let answer = server.post_with(path, "Content-Type: anything\r\n", &body).await;
        assert_eq!((answer.status, answer.body["stored"].as_u64()), (200, Some(3)), "{answer:?}");
        assert!(answer.body["journal"]["offset"].is_u64(), "{answer:?}");
    }
    let records = server.events.records();
    let key = RunName::new("etl/déjà vu", "..").unwrap().to_key();
    assert!(records.len() == 6 && records.iter().all(|it| it.key == key));
    let headers: Vec<_> = records.iter().map(|it| Header::parse(&it.header).unwrap()).collect();
    let places: Vec<_> = headers.iter().map(|it| it.event_key().unwrap()).collect();
    assert!(headers.iter().all(|it| it.kind == Kind::Event && it.instance.is_some()));
    assert_eq!(places[..3].iter().map(|it| (it.order, it.sequence.0)).collect::<Vec<_>>(), [(2, 5), (2, 6), (2, 7)]);
    assert_eq!(places[..3], places[3..], "the same once more");
    assert_eq!(&records[1].value[..], b"{\"Event\":\"B\"}");
}

#[tokio::test]
async fn a_bad_line_among_good_ones_is_a_dead_letter_that_can_be_sent_again() {
    let server = start(options()).await;
    let body = b"{\"Event\":\"A\"}\n{\"no\":\"event\"}\n{\"Event\":\"C\"}\n";
    let answer = server.post_with("/v1/ingest/j/r?first_sequence=5", "", body).await;
    assert_eq!((answer.status, &answer.body["stored"], &answer.body["dead_lettered"]), (200, &2.into(), &1.into()));
    let [letter] = &server.dead_letters.letters()[..] else { panic!("one") };
    assert_eq!((letter.reason.as_str(), &letter.value[..]), ("no_event", &b"{\"no\":\"event\"}"[..]));
    assert!(letter.detail.starts_with("line 2: "), "{}", letter.detail);
    let replay = letter.replay().unwrap();
    assert_eq!(replay.path, "/v1/ingest/j/r?first_sequence=6&attempt=0");
}

#[tokio::test]
async fn what_the_journal_finds_too_large_is_a_dead_letter_as_it_stood() {
    let server = start(options()).await;
    *server.events.mode.lock().unwrap() = Mode::TakesUpTo(200);
    let large = format!("{{\"Event\":\"{}\"}}", "x".repeat(300));
    let answer = server.post_with("/v1/ingest/j/r", "", format!("{{\"Event\":\"A\"}}\n{large}\n").as_bytes()).await;
    assert_eq!((answer.status, &answer.body["stored"], &answer.body["dead_lettered"]), (200, &1.into(), &1.into()));
    assert_eq!(server.dead_letters.letters()[0].reason, "too_large");
}

#[tokio::test]
async fn what_cannot_be_taken_in_is_refused_with_what_to_do() {
    let limits = Options { wire_bytes: 1000, decompressed_bytes: 2000, ..options() };
    let server = start(limits).await;
    let event = b"{\"Event\":\"A\"}\n".as_slice();
    let long = "x".repeat(4097);
    let too_many = event.repeat(200);
    let cases: [(&str, &[u8], u16, &str); 12] = [
        ("/v1/ingest/j/r", b"", 400, "empty"),
        ("/v1/ingest/j/r", b"\n\n", 400, "empty"),
        ("/v1/ingest/j/r", b"x\n{}", 400, "line 1"),
        ("/v1/ingest/j/r?first_sequence=-1", event, 400, "begins at 0"),
        ("/v1/ingest/j/r?first_sequence=9223372036854775808", event, 400, "first_sequence"),
        ("/v1/ingest/j/r?first_sequence=9223372036854775807", &event.repeat(2), 400, "first_sequence"),
        ("/v1/ingest/j/r?attempt=2147483648", event, 400, "2147483647"),
        ("/v1/ingest/j/r?attempts=1", event, 400, "attempts"),
        ("/v1/ingest/j/%ff", event, 400, "UTF-8"),
        (&format!("/v1/ingest/j/{long}"), event, 400, "4096"),
        ("/v1/ingest/j/r", &too_many, 413, "1000 bytes"),
        ("/v1/ingest/j/r", &gzip(&too_many), 413, "2000 bytes"),
    ];
    for (path, body, status, part) in cases {
        let answer = server.post_with(path, "", body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.message().contains(part), "{path}: {answer:?}");
    }
    assert_eq!(server.events.records().len(), 0);
    let answer = server.post_with("/v1/ingest/j/r?first_sequence=9223372036854775807", "", event).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    *server.events.mode.lock().unwrap() = Mode::IsAway;
    let answer = server.post_with("/v1/ingest/j/r", "", event).await;
    assert!(answer.status == 503 && answer.head.contains("retry-after"), "{answer:?}");
}
