//! Payloads of the documented protocol.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub job_name: String,
    pub run_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    pub counters: Counters,
    pub sent_at: i64,
    pub messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub message_counter: i64,
    pub payload_counter: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub content: String,
    pub generated_at: i64,
    pub message_type: String,
}

impl Message {
    pub fn event(content: impl Into<String>, generated_at: i64) -> Self {
        Self { content: content.into(), generated_at, message_type: "spark-event".into() }
    }

    pub fn heartbeat(generated_at: i64) -> Self {
        Self { content: "heartbeat".into(), generated_at, message_type: "heartbeat".into() }
    }

    pub fn is_event(&self) -> bool {
        self.message_type == "spark-event"
    }
}

impl Payload {
    /// The first payload of a run.
    pub fn new(job: &str, run: &str, messages: Vec<Message>) -> Self {
        let message_counter = i64::try_from(messages.len()).unwrap();
        Self {
            job_name: job.into(),
            run_id: run.into(),
            instance_id: None,
            counters: Counters { message_counter, payload_counter: 1 },
            sent_at: 1_795_000_000_000,
            messages,
        }
    }

    /// The sequence that the protocol gives to message `index`.
    pub fn sequence(&self, index: usize) -> i64 {
        let [index, count] = [index, self.messages.len()].map(|it| i64::try_from(it).unwrap());
        self.counters.message_counter - count + index
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap()
    }

    pub fn to_gzip(&self) -> Vec<u8> {
        gzip(&self.to_json())
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A run as Spark writes it: start, `tasks` small tasks, end.
pub fn small_run(job: &str, run: &str, tasks: i64) -> Payload {
    const START: i64 = 1_795_000_000_000;
    let name = serde_json::to_string(job).unwrap();
    let id = serde_json::to_string(run).unwrap();
    let start = format!(
        r#"{{"Event":"SparkListenerApplicationStart","App Name":{name},"App ID":{id},"Timestamp":{START},"User":"u"}}"#
    );
    let end = format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{}}}"#, START + 10_000);
    let task = |i| {
        let content = format!(
            r#"{{"Event":"SparkListenerTaskEnd","Stage ID":0,"Stage Attempt ID":0,"Task Info":{{"Task ID":{i},"Launch Time":{}}}}}"#,
            START + i
        );
        Message::event(content, START + 2_000 + i / 4)
    };
    let mut messages = vec![Message::event(start, START + 1_000)];
    messages.extend((0..tasks).map(task));
    messages.push(Message::event(end, START + 10_001 + tasks));
    Payload::new(job, run, messages)
}
