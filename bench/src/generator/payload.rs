//! Payloads of `POST /collect`, written as the documented listener writes them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::template::decimal;

/// One message of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Event { generated_at: i64, content: Vec<u8> },
    Heartbeat { generated_at: i64 },
}

/// What a listener sends in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub job_name: String,
    pub run_id: String,
    /// As Emberlog's own listener has it.
    pub instance_id: Option<String>,
    /// Messages of the run so far, with those of this payload.
    pub message_counter: u64,
    pub payload_counter: u64,
    pub sent_at: i64,
    pub messages: Vec<Message>,
}

impl Payload {
    /// The events, without heartbeats, in order.
    pub fn events(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.messages.iter().filter_map(|message| match message {
            Message::Event { generated_at, content } => Some((*generated_at, content.as_slice())),
            Message::Heartbeat { .. } => None,
        })
    }

    /// The JSON text of the request.
    pub fn to_json(&self) -> Vec<u8> {
        let length: usize = self.events().map(|(_, content)| content.len()).sum();
        let mut out = Vec::with_capacity(length + length / 4 + 100 * self.messages.len() + 400);
        out.extend_from_slice(br#"{"counters":{"message_counter":"#);
        decimal(self.message_counter, &mut out);
        out.extend_from_slice(br#","payload_counter":"#);
        decimal(self.payload_counter, &mut out);
        out.push(b'}');
        if let Some(instance_id) = &self.instance_id {
            out.extend_from_slice(br#","instance_id":"#);
            string(instance_id.as_bytes(), &mut out);
        }
        out.extend_from_slice(br#","job_name":"#);
        string(self.job_name.as_bytes(), &mut out);
        out.extend_from_slice(br#","messages":["#);
        for (i, message) in self.messages.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            message.write(&mut out);
        }
        out.extend_from_slice(br#"],"run_id":"#);
        string(self.run_id.as_bytes(), &mut out);
        out.extend_from_slice(br#","sent_at":"#);
        integer(self.sent_at, &mut out);
        out.push(b'}');
        out
    }

    /// The body of the request: the JSON text, gzipped at level 6 as Java does.
    pub fn to_gzip(&self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        match encoder.write_all(&self.to_json()).and_then(|()| encoder.finish()) {
            Ok(body) => body,
            Err(error) => unreachable!("a Vec takes every write: {error}"),
        }
    }
}

impl Message {
    fn write(&self, out: &mut Vec<u8>) {
        let (content, generated_at, kind) = match self {
            Self::Event { generated_at, content } => (content.as_slice(), generated_at, "spark-event"),
            Self::Heartbeat { generated_at } => (&b""[..], generated_at, "heartbeat"),
        };
        out.extend_from_slice(br#"{"content":"#);
        string(content, out);
        out.extend_from_slice(br#","generated_at":"#);
        integer(*generated_at, out);
        out.extend_from_slice(br#","message_type":"#);
        string(kind.as_bytes(), out);
        out.push(b'}');
    }
}

fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(value.unsigned_abs(), out);
}

/// A JSON string of UTF-8 text.
fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (i, byte) in text.iter().enumerate() {
        if *byte != b'"' && *byte != b'\\' && *byte >= 0x20 {
            continue;
        }
        out.extend_from_slice(&text[plain..i]);
        plain = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}
