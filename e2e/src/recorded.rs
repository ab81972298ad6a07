//! What a real Spark sent, byte for byte, and an independent reading of it.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::payload::Payload;

/// One request as it was recorded.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Deserialize)]
struct Index {
    path: String,
    headers: Vec<(String, String)>,
    body_file: String,
}

fn folder(protocol: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures/wire", protocol, "spark-3.5-pi"].iter().collect()
}

/// The requests of one run of Spark 3.5, in their order.
pub fn requests() -> Vec<Request> {
    requests_of("datamechanics")
}

/// The same of another agent.
pub fn requests_of(protocol: &str) -> Vec<Request> {
    let folder = folder(protocol);
    let index = std::fs::read_to_string(folder.join("index.jsonl")).unwrap();
    let request = |line: &str| {
        let index: Index = serde_json::from_str(line).unwrap();
        // What the client writes itself.
        let own = ["content-length", "host", "connection"];
        let headers = index.headers.into_iter().filter(|(name, _)| !own.contains(&name.to_lowercase().as_str()));
        let body = std::fs::read(folder.join(index.body_file)).unwrap();
        Request { path: index.path, headers: headers.collect(), body }
    };
    index.lines().map(request).collect()
}

impl Request {
    /// The payload inside.
    pub fn payload(&self) -> Payload {
        let mut json = Vec::new();
        MultiGzDecoder::new(&self.body[..]).read_to_end(&mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }
}

/// The event log that Spark itself wrote of that run.
pub fn event_log() -> Vec<u8> {
    event_log_of("datamechanics")
}

/// The same of the run that the other agent sent.
pub fn event_log_of(protocol: &str) -> Vec<u8> {
    let mut logs = std::fs::read_dir(folder(protocol).join("eventlog")).unwrap();
    let file = std::fs::File::open(logs.next().unwrap().unwrap().path()).unwrap();
    zstd::decode_all(file).unwrap()
}
