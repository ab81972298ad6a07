use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::collect::Reason;

const LIMITS: Limits = Limits { event_bytes: 1_000_000, rejected_bytes: 1000, truncated_bytes: 10 };
const UUID: &str = "02079b28-91ee-4c4e-ae84-65e316674a35";

pub(crate) fn decode(body: &[u8], route: Route) -> Result<Payload, Error> {
    let envelope = read(body, route)?;
    let mut lines = Vec::new();
    if !envelope.data.is_empty() {
        GzDecoder::new(&envelope.data[..]).read_to_end(&mut lines).unwrap();
    }
    let lines = Bytes::from(lines);
    match route {
        Route::Bulk => envelope.events(&lines, ReceivedAt(9), LIMITS, &Redaction::default()),
        Route::Metrics => envelope.samples(&lines, ReceivedAt(9), LIMITS, &Redaction::default()),
        Route::Heartbeat | Route::Ack => Ok(envelope.sign_of_life(route, ReceivedAt(9))),
    }
}

fn bulk(counter: i64, lines: &str) -> Vec<u8> {
    let data = pack(lines.as_bytes());
    serde_json::json!({"dmAppId": "a", "sentAt": 1, "counters": {"messageCounter": counter, "payloadCounter": 1}, "data": data})
        .to_string()
        .into_bytes()
}

fn sequences(payload: &Payload) -> Vec<i64> {
    payload.events.iter().map(|it| Header::parse(&it.header).unwrap().sequence.unwrap().0).collect()
}

fn recorded(n: usize) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/fixtures/wire/delight/spark-3.5-pi");
    std::fs::read(format!("{folder}/{n:05}.body")).unwrap()
}

#[test]
fn recorded_requests_hold_the_whole_run_in_its_order() {
    let mut next = 0;
    for n in [2, 3, 4, 5, 7, 8] {
        let payload = decode(&recorded(n), Route::Bulk).unwrap();
        assert_eq!(payload.run, RunName::new("spark-pi", &format!("spark-pi-{UUID}")).unwrap());
        assert_eq!(payload.rejected, []);
        let found = sequences(&payload);
        assert_eq!(found, (next..next + found.len() as i64).collect::<Vec<_>>());
        next += found.len() as i64;
    }
    for (n, route, text) in
        [(1, Route::Heartbeat, "1 heartbeat delight - - - 9 -"), (9, Route::Ack, "1 ack delight - - - 9 -")]
    {
        let payload = decode(&recorded(n), route).unwrap();
        assert_eq!(payload.heartbeat.as_deref(), Some(text.as_bytes()));
    }
}

#[test]
fn a_job_is_the_application_without_the_uuid_that_the_agent_adds() {
    for (app_id, job) in [
        (format!("spark-pi-{UUID}"), "spark-pi"),
        (format!("nightly-{UUID}-{UUID}"), &format!("nightly-{UUID}")),
        (format!("-{UUID}"), "unnamed"),
        (format!("----{UUID}"), "unnamed"),
        ("---".to_owned(), "unnamed"),
        (UUID.to_owned(), UUID),
        ("nightly".to_owned(), "nightly"),
        (format!("a-{}", UUID.to_uppercase()), "a"),
        ("a-02079b28-91ee-1c4e-ae84-65e316674a35".to_owned(), "a-02079b28-91ee-1c4e-ae84-65e316674a35"),
        ("a-02079b28-91ee-4c4e-7e84-65e316674a35".to_owned(), "a-02079b28-91ee-4c4e-7e84-65e316674a35"),
        (format!("é{}", &UUID[1..]), &format!("é{}", &UUID[1..])),
        (format!("日本語-{UUID}"), "日本語"),
    ] {
        let run = run_of(&app_id).unwrap();
        assert_eq!((run.job.as_str(), run.run.as_str()), (job, app_id.as_str()));
    }
    assert!(run_of("").is_err() && run_of(&"x".repeat(4097)).is_err());
}

#[test]
fn lines_count_back_from_the_counter_and_bad_ones_keep_their_places() {
    let payload = decode(&bulk(7, "{\"Event\":\"A\"}\nx\n\n{\"Event\":\"B\"}\n"), Route::Bulk).unwrap();
    assert_eq!(sequences(&payload), [3, 6]);
    let rejected: Vec<_> = payload.rejected.iter().map(|it| (it.reason, it.sequence.0)).collect();
    assert_eq!(rejected, [(Reason::NotJson, 4), (Reason::NotJson, 5)]);
    assert_eq!(sequences(&decode(&bulk(1, "{\"Event\":\"A\"}\n{\"Event\":\"B\"}"), Route::Bulk).unwrap()), [-1, 0]);
    let uncounted = serde_json::json!({"dmAppId": "a", "counters": null, "data": pack(b"{\"Event\":\"A\"}\n")});
    assert_eq!(sequences(&decode(uncounted.to_string().as_bytes(), Route::Bulk).unwrap()), [0]);
    assert!(decode(&bulk(i64::MIN, "{\"Event\":\"A\"}\n"), Route::Bulk).is_err());
    assert_eq!(decode(&bulk(0, ""), Route::Bulk).unwrap().events, []);
}

#[test]
fn samples_carry_their_time_and_lose_their_secrets() {
    let lines = "{\"host\":\"driver\",\"kind\":\"memory\",\"timestamp\":17,\"metrics\":{\"heap\":1}}\n{\"timestamp\":18,\"password\":\"s3cr3t\"}\n{}\n";
    let body = serde_json::json!({"dmAppId": "a", "data": pack(lines.as_bytes())}).to_string();
    let payload = decode(body.as_bytes(), Route::Metrics).unwrap();
    assert_eq!((payload.kind, payload.events.len(), payload.rejected.len()), (Kind::Sample, 2, 1));
    let header = Header::parse(&payload.events[0].header).unwrap();
    assert_eq!((header.kind, header.sample_key().unwrap().order), (Kind::Sample, 17));
    assert_eq!(&payload.events[0].value[..], lines.split('\n').next().unwrap().as_bytes());
    assert_eq!(&payload.events[1].value[..], br#"{"timestamp":18,"password":"*********(redacted)"}"#);
}

#[test]
fn what_is_no_envelope_says_what_it_lacks() {
    for (body, part) in [
        ("", "empty"),
        ("x", "not JSON"),
        ("[]", "an array"),
        ("{}", "dmAppId is missing"),
        (r#"{"dmAppId":""}"#, "dmAppId: run_id is empty"),
        (r#"{"dmAppId":1}"#, "dmAppId: must be a text"),
        (r#"{"dmAppId":"a","dmAppId":"a"}"#, "appears twice"),
        (r#"{"dmAppId":"a"}"#, "data is missing"),
        (r#"{"dmAppId":"a","data":"?"}"#, "not base64"),
        (r#"{"dmAppId":"a","data":"","counters":{"messageCounter":"1"}}"#, "messageCounter"),
        (r#"{"dmAppId":"a","data":""}{}"#, "follows"),
    ] {
        let error = read(body.as_bytes(), Route::Bulk).unwrap_err().to_string();
        assert!(error.contains(part), "{body}: {error}");
    }
    assert!(read(br#"{"dmAppId":"a","counters":1,"data":1}"#, Route::Heartbeat).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), lines in prop::collection::vec(any::<u8>(), 0..200), counter: i64) {
        for route in [Route::Bulk, Route::Metrics, Route::Heartbeat, Route::Ack] {
            let _ = read(&body, route);
        }
        let data = pack(&lines);
        let body = serde_json::json!({"dmAppId": "a", "counters": {"messageCounter": counter}, "data": data}).to_string();
        for route in [Route::Bulk, Route::Metrics] {
            if let Ok(payload) = decode(body.as_bytes(), route) {
                prop_assert_eq!(payload.events.len() + payload.rejected.len(), lines::count(&lines));
            }
        }
    }

    #[test]
    fn any_text_is_a_run_or_none(app_id in ".{0,60}") {
        if let Ok(run) = run_of(&app_id) {
            prop_assert!(run.run.as_str() == app_id && !run.job.as_str().is_empty());
        }
    }
}
