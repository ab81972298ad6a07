//! Requests of the Delight agent, made and read without any code of the product.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::client::lines;
use crate::payload::gzip;
use crate::recorded::Request;

/// `lines`, each ended by `\n`; `counter`: the run's lines so far, these included.
pub fn bulk(app_id: &str, counter: i64, lines: &str) -> Vec<u8> {
    let counters = json!({"messageCounter": counter, "payloadCounter": 1});
    body(json!({"dmAppId": app_id, "sentAt": 1_795_228_886_079_i64, "counters": counters, "data": pack(lines)}))
}

pub fn metrics(app_id: &str, lines: &str) -> Vec<u8> {
    body(json!({"dmAppId": app_id, "sentAt": 1_795_228_886_079_i64, "data": pack(lines)}))
}

fn pack(lines: &str) -> String {
    STANDARD.encode(gzip(lines.as_bytes()))
}

fn body(json: Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

/// The lines of a recorded `bulk`.
pub fn events(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let Some(data) = body["data"].as_str() else { return Vec::new() };
    let mut text = Vec::new();
    GzDecoder::new(&STANDARD.decode(data).unwrap()[..]).read_to_end(&mut text).unwrap();
    lines(&text)
}
