//! What must hold for any bytes that come as the body of one of the Delight agent's requests. The first byte chooses the
//! route.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use event::collect::Limits;
use event::delight::{Envelope, Route, pack, read, run_of};
use event::{Header, ReceivedAt, Redaction};

const LIMITS: Limits = Limits { event_bytes: 200, rejected_bytes: 300, truncated_bytes: 50 };
const MOST_INFLATED: u64 = 64 << 10;

pub fn hold_for(bytes: &[u8]) {
    let Some((selector, body)) = bytes.split_first() else { return };
    let route = [Route::Bulk, Route::Metrics, Route::Heartbeat, Route::Ack][usize::from(selector % 4)];
    comes_back_from_what_an_agent_packs(body);
    let Ok(envelope) = read(body, route) else { return };
    let app_id = envelope.run.run.as_str().to_owned();
    assert_eq!(run_of(&app_id).as_ref(), Ok(&envelope.run));
    let job = envelope.run.job.as_str();
    assert!(app_id.starts_with(job) || job == "unnamed");
    is_what_another_parser_reads(body, &envelope, route);
    has_a_header_for_every_line(envelope, route);
}

fn is_what_another_parser_reads(body: &[u8], envelope: &Envelope, route: Route) {
    let Ok(parsed) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    assert_eq!(parsed["dmAppId"].as_str(), Some(envelope.run.run.as_str()));
    match route {
        Route::Bulk | Route::Metrics => {
            let data = parsed["data"].as_str().map(|it| it.trim_end_matches('='));
            assert_eq!(data, Some(STANDARD_NO_PAD.encode(&envelope.data).as_str()));
        }
        Route::Heartbeat | Route::Ack => assert!(envelope.data.is_empty()),
    }
}

fn has_a_header_for_every_line(envelope: Envelope, route: Route) {
    let mut lines = Vec::new();
    // Whatever can be inflated will do.
    let _ = flate2::read::GzDecoder::new(&envelope.data[..]).take(MOST_INFLATED).read_to_end(&mut lines);
    let (lines, redaction) = (Bytes::from(lines), Redaction::default());
    let payload = match route {
        Route::Bulk => envelope.events(&lines, ReceivedAt(1), LIMITS, &redaction),
        Route::Metrics => envelope.samples(&lines, ReceivedAt(1), LIMITS, &redaction),
        Route::Heartbeat | Route::Ack => Ok(envelope.sign_of_life(route, ReceivedAt(1))),
    };
    let Ok(payload) = payload else { return };
    let headers = payload.events.iter().map(|it| &it.header).chain(&payload.heartbeat);
    headers.for_each(|it| assert!(Header::parse(it).is_ok()));
}

fn comes_back_from_what_an_agent_packs(lines: &[u8]) {
    let body = serde_json::json!({"dmAppId": "a", "data": pack(lines)}).to_string();
    let envelope = read(body.as_bytes(), Route::Bulk).expect("an agent's request");
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&envelope.data[..]).read_to_end(&mut inflated).expect("gzip");
    assert_eq!(inflated, lines);
}
