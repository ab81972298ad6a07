//! A collector behind a real server on a free port, a journal in memory that fails when told to, and a client that
//! sends exactly the bytes it is given.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use collector::{Collector, Options};
use event::dead_letter::DeadLetter;
use flate2::Compression;
use flate2::write::GzEncoder;
use journal::{Error, Position, Publication, Publisher, Record};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::Value;
use service::http::{Limits, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub enum Mode {
    #[default]
    Takes,
    NeverAnswers,
    IsAway,
    TakesUpTo(usize),
}

#[derive(Debug, Default)]
pub struct Memory {
    pub mode: Mutex<Mode>,
    records: Mutex<Vec<Record>>,
    pub waiting: AtomicUsize,
}

impl Memory {
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    pub fn letters(&self) -> Vec<DeadLetter> {
        self.records().into_iter().map(|r| DeadLetter::from_parts(&r.header, r.value).unwrap()).collect()
    }
}

impl Publisher for Memory {
    fn publish(&self, records: Vec<Record>) -> Publication<'_> {
        Box::pin(async move {
            let mode = *self.mode.lock().unwrap();
            match mode {
                Mode::Takes => {}
                Mode::NeverAnswers => {
                    self.waiting.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                Mode::IsAway => return Err(Error::Unavailable("away".to_owned())),
                Mode::TakesUpTo(limit) => {
                    if let Some(bytes) = records.iter().map(Record::size).find(|bytes| *bytes > limit) {
                        return Err(Error::RecordTooLarge { bytes, limit });
                    }
                }
            }
            let mut all = self.records.lock().unwrap();
            all.extend(records);
            Ok(vec![Position { partition: 0, offset: all.len() as u64 - 1 }])
        })
    }

    fn publish_to_all(&self, record: Record) -> Publication<'_> {
        self.publish(vec![record])
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub collector: Arc<Collector>,
    pub events: Arc<Memory>,
    pub dead_letters: Arc<Memory>,
    pub registry: Registry,
    _stop: DropGuard,
}

/// What a machine that stands still for seconds does not reach.
pub fn options() -> Options {
    let long = Duration::from_secs(120);
    Options { answer_within: long, body_idle: long, body_total: long, ..Options::default() }
}

pub async fn start(options: Options) -> Server {
    let events = Arc::<Memory>::default();
    Server { events: events.clone(), ..start_on(events, options).await }
}

/// A server whose events go to this journal.
pub async fn start_on(journal: Arc<dyn Publisher>, options: Options) -> Server {
    let (events, dead_letters, registry) = (Arc::<Memory>::default(), Arc::<Memory>::default(), Registry::new());
    let collector = Collector::new(options, journal, dead_letters.clone(), &registry).unwrap();
    let router = service::openapi::assemble([
        collector::router(collector.clone()),
        collector::administration(collector.clone()),
    ]);
    let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve(listener, router, Limits::default(), stop.clone()));
    Server { address, collector, events, dead_letters, registry, _stop: stop.drop_guard() }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl Server {
    /// Sends these bytes and reads one answer.
    pub async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The answer to a body that is refused early comes while it is still being sent.
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let (sent, read) = tokio::join!(writer.write_all(request), reader.read_to_end(&mut answer));
        drop(sent);
        read.unwrap();
        parse(&answer)
    }

    pub async fn post_with(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub async fn post(&self, body: &[u8]) -> Answer {
        self.post_with("/collect", "", body).await
    }

    pub fn metrics(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// The value of the metric written so, with its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    pub async fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        for _ in 0..18_000 {
            if met(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not come about: {}", self.metrics());
    }
}

fn parse(answer: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).unwrap_or_default() }
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn message(content: &str, generated_at: i64) -> Value {
    serde_json::json!({"content": content, "generated_at": generated_at, "message_type": "spark-event"})
}

pub fn payload(messages: &[Value]) -> Vec<u8> {
    let counter = messages.len();
    serde_json::json!({"job_name": "j", "run_id": "r", "counters": {"message_counter": counter}, "messages": messages})
        .to_string()
        .into_bytes()
}

pub fn events(count: usize) -> Vec<Value> {
    (0..count).map(|i| message(&format!(r#"{{"Event":"E","n":{i}}}"#), i as i64)).collect()
}

pub fn recorded() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/fixtures/wire/datamechanics/spark-3.5-pi");
    (1..=7).map(|n| std::fs::read(format!("{folder}/{n:05}.body")).unwrap()).collect()
}
