//! A store filled by its writer, served over real sockets, and a client that sends what it is told, byte for byte.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use event::{EventKey, Identity, ReceivedAt, RunName, Sequence};
use prometheus::Registry;
use store::{Applied, Batch, Run, RunNumber, Writer};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The routes on a socket.
pub struct Front {
    pub address: SocketAddr,
    pub registry: Arc<Registry>,
    shutdown: CancellationToken,
    runtime: Option<Runtime>,
}

/// The routes over a store that a test writes.
pub struct Server {
    front: Front,
    pub writer: Writer,
    runs: u64,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::with(api::Options::default())
    }

    pub fn with(options: api::Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path(), &store::Options::default()).unwrap();
        let front = Front::over(writer.reader(), options, Arc::new(Registry::new()));
        Self { front, writer, runs: 0, _dir: dir }
    }

    /// Stores a run of these events, a millisecond apart, the last received just now.
    pub fn add(&mut self, job: &str, run: &str, events: &[impl AsRef<str>]) -> String {
        self.add_at(job, run, events, ReceivedAt::now())
    }

    pub fn add_at(&mut self, job: &str, run: &str, events: &[impl AsRef<str>], received_at: ReceivedAt) -> String {
        let name = RunName::new(job, run).unwrap();
        let mut record = Run::new(&name, RunNumber { partition: 0, number: self.runs }, 0, received_at);
        self.runs += 1;
        let mut batch = Batch::default();
        for (i, event) in events.iter().enumerate() {
            let key = key(i);
            batch.put_event(record.number, key, event.as_ref().as_bytes());
            store::fold(&mut record, key, event.as_ref().as_bytes());
            if batch.size() > 64 << 20 {
                self.writer.commit(std::mem::take(&mut batch)).unwrap();
            }
        }
        batch.put_run(&record, None).unwrap();
        self.writer.commit(batch).unwrap();
        name.hash().to_string()
    }

    /// Says that everything received until then is applied.
    pub fn applied_through(&mut self, through: ReceivedAt) {
        let mut batch = Batch::default();
        batch.put_applied(0, &Applied { through, ..Applied::default() }).unwrap();
        self.writer.commit(batch).unwrap();
    }
}

impl std::ops::Deref for Server {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Front {
    pub fn over(reader: store::Reader, options: api::Options, registry: Arc<Registry>) -> Self {
        let router = api::router(reader, options, &registry).unwrap();
        let router = service::openapi::assemble([router]);
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(service::http::listen("127.0.0.1:0", "--listen")).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        // A machine that stands still lets nobody go.
        let limits = service::http::Limits { write_stall: Duration::from_secs(180), ..Default::default() };
        runtime.spawn(service::http::serve(listener, router, limits, shutdown.clone()));
        Self { address, registry, shutdown, runtime: Some(runtime) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        stream
    }

    pub fn send(&self, method: &str, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        stream
    }

    pub fn ask(&self, method: &str, path: &str) -> Answer {
        let mut answer = Vec::new();
        self.send(method, path).read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    /// The value of the one metric of this name and these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|it| it.name() == name).unwrap_or_else(|| panic!("no metric {name}"));
        let wanted: HashMap<_, _> = labels.iter().copied().collect();
        let found = family
            .get_metric()
            .iter()
            .find(|it| it.get_label().iter().map(|l| (l.name(), l.value())).collect::<HashMap<_, _>>() == wanted);
        found.map_or(0.0, |it| {
            it.get_counter().get_value() + it.get_gauge().get_value() + it.get_histogram().get_sample_count() as f64
        })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

pub fn key(i: usize) -> EventKey {
    let i = i as i64;
    EventKey { order: 1_571_838_228_000 + i / 3, sequence: Sequence(i), identity: Identity(!(i as u64)) }
}

pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// Whether a chunked body has its end.
    pub complete: bool,
}

/// Bodies are large: a failure shows their beginning.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let begin = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        write!(f, "{} {:?} {} bytes: {begin}", self.status, self.headers, self.body.len())
    }
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Self {
        let split = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("no end of headers");
        let head = std::str::from_utf8(&bytes[..split]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<_, _> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
        let raw = &bytes[split + 4..];
        let (body, complete) = match headers.get("transfer-encoding") {
            Some(_) => unchunk(raw),
            None => (raw.to_vec(), true),
        };
        Self { status, headers, body, complete }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<&str> {
        let lines: Vec<_> = self.text().split('\n').collect();
        assert_eq!(lines.last(), Some(&""), "the last line has no end");
        lines[..lines.len() - 1].to_vec()
    }

    /// The `message` of a problem of this status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(
            (self.status, self.headers["content-type"].as_str()),
            (status, "application/problem+json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["status"], status);
        json["message"].as_str().unwrap().to_owned()
    }
}

fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = raw.windows(2).position(|it| it == b"\r\n") else { return (body, false) };
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        raw = &raw[end + 2..];
        if size == 0 {
            return (body, raw == b"\r\n");
        }
        body.extend_from_slice(&raw[..size.min(raw.len())]);
        if raw.len() < size + 2 {
            return (body, false);
        }
        raw = &raw[size + 2..];
    }
}

/// The events of an application of so many milliseconds, if it has ended.
pub fn application(app_id: &str, start: i64, took: Option<i64>) -> Vec<String> {
    let mut events = vec![
        r#"{"Event":"SparkListenerLogStart","Spark Version":"3.5.9"}"#.to_owned(),
        format!(
            r#"{{"Event":"SparkListenerApplicationStart","App Name":"x","App ID":"{app_id}","Timestamp":{start},"User":"u"}}"#
        ),
        r#"{"Event":"SparkListenerTaskEnd","note":"raw \u0000 and U+2028: "#.to_owned() + "\u{2028}\"}",
    ];
    events.extend(
        took.map(|took| {
            format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{}}}"#, start.wrapping_add(took))
        }),
    );
    events
}

pub fn lines(events: &[String]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}
