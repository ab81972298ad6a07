//! Importing into a server that runs.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use event::RunName;
use eventlog::Chunk;
use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use service::chain;

use super::target::{Attempt, Feed, Sent, Status, Target, number};
use crate::client::{self, Client};

/// On this machine compressing costs more than it saves, but a server takes no larger bodies.
const PLAIN_BYTES: usize = 16 << 20;
/// How long what was stored may take to be seen.
const VISIBLE_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Server {
    client: Client,
    patience: Duration,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Tries for `patience`, or until told to stop, what may succeed later.
    pub fn new(client: Client, patience: Duration, stop: Arc<AtomicBool>) -> Self {
        Self { client, patience, stop }
    }

    fn patiently<T>(&self, step: impl FnMut() -> Result<T, client::Error>) -> anyhow::Result<T> {
        patiently(self.patience, &self.stop, step)
    }

    fn json(&self, path: &str) -> anyhow::Result<Value> {
        self.patiently(|| self.client.get(path)?.json())
    }
}

/// Repeats what failed for a reason that may pass, each time after a longer pause.
pub fn patiently<T>(
    patience: Duration,
    stop: &AtomicBool,
    mut step: impl FnMut() -> Result<T, client::Error>,
) -> anyhow::Result<T> {
    let (began, mut pause, mut is_told) = (Instant::now(), FIRST_PAUSE, false);
    loop {
        match step() {
            Err(error) if error.is_retryable() && began.elapsed() + pause < patience => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("{error}; it is tried again");
                }
                let until = Instant::now() + error.retry_after().unwrap_or_default().clamp(pause, LONGEST_PAUSE);
                while Instant::now() < until {
                    if stop.load(Ordering::Relaxed) {
                        return Err(error.into());
                    }
                    std::thread::sleep(FIRST_PAUSE.min(until.saturating_duration_since(Instant::now())));
                }
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            result => return Ok(result?),
        }
    }
}

fn path(attempt: &Attempt) -> String {
    // Dots too: clients drop segments of dots.
    let encoded = |name: &str| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    format!("/v1/ingest/{}/{}", encoded(attempt.run.job.as_str()), encoded(attempt.run.run.as_str()))
}

impl Target for Server {
    fn status(&self, attempt: &Attempt) -> anyhow::Result<Status> {
        let answer = self.json(&format!("{}?attempt={}", path(attempt), attempt.number))?;
        status(&answer).with_context(|| format!("the server's answer is not understood: {answer}"))
    }

    fn event(&self, run: &RunName, place: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let path = format!("/v1/runs/{}/events?skip={place}&limit=1", run.hash());
        let mut line = Vec::new();
        let answer = match self.patiently(|| self.client.get(&path)) {
            // A token that may only send.
            Err(error) if is_refused(&error) => return Ok(None),
            answer => answer?,
        };
        answer.into_reader().read_to_end(&mut line)?;
        line.pop_if(|last| *last == b'\n');
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    fn only_attempt(&self, run: &RunName) -> anyhow::Result<Option<u32>> {
        let json = match self.json(&format!("/v1/runs/{}", run.hash())) {
            Err(error) if is_refused(&error) => return Ok(None),
            json => json?,
        };
        Ok(match json["applications"].as_array().map(Vec::as_slice) {
            Some([only]) => Some(number(only["attempt"].as_str())),
            _ => None,
        })
    }

    fn reopen(&self, run: &RunName) -> anyhow::Result<()> {
        let emptied = format!("/v1/runs/{}?reopen=true", run.hash());
        let answer = self.patiently(|| self.client.delete(&emptied)?.json());
        let answer = answer.context("emptying the run needs a token for administration")?;
        let places: Vec<_> = answer["journal"].as_array().into_iter().flatten().filter_map(place).collect();
        let deadline = Instant::now() + self.patience;
        let attempt = Attempt { run: run.clone(), number: 0 };
        loop {
            // Its record is in every partition, and only that of the run matters: it is known by what it does.
            let status = match places.as_slice() {
                [only] => self.json(&format!("{}?wait_for={only}", path(&attempt)))?,
                _ => self.json(&path(&attempt))?,
            };
            match status["events"].as_u64() {
                Some(0) => return Ok(()),
                _ if Instant::now() > deadline => bail!("the server has not emptied the run"),
                _ => std::thread::sleep(FIRST_PAUSE),
            }
        }
    }

    fn feed<'a>(&'a self, attempt: &Attempt) -> anyhow::Result<Box<dyn Feed + 'a>> {
        let feed = ServerFeed {
            server: self,
            path: path(attempt),
            attempt: attempt.number,
            sent: Sent::default(),
            last: None,
        };
        Ok(Box::new(feed))
    }
}

fn is_refused(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<client::Error>().and_then(client::Error::status);
    status.is_some_and(|it| it == 401 || it == 403)
}

fn status(answer: &Value) -> Option<Status> {
    Some(Status {
        next: u64::try_from(answer["next_sequence"].as_i64()?).ok()?,
        events: answer["events"].as_u64()?,
        ingested: answer["ingested"].as_u64()?,
        deleted: answer["deleted"].as_bool()?,
    })
}

fn place(position: &Value) -> Option<String> {
    Some(format!("{}:{}", position["partition"].as_u64()?, position["offset"].as_u64()?))
}

struct ServerFeed<'a> {
    server: &'a Server,
    path: String,
    attempt: u32,
    sent: Sent,
    /// Where the last line is in the journal.
    last: Option<String>,
}

impl Feed for ServerFeed<'_> {
    /// Sends it until the server has answered: what an attempt of unknown outcome left there is found to be the same.
    fn send(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        let path = format!("{}?first_sequence={}&attempt={}", self.path, chunk.first, self.attempt);
        let client = &self.server.client;
        let (body, encoding) = match client.is_local() && chunk.bytes.len() <= PLAIN_BYTES {
            true => (chunk.bytes, None),
            false => (gzip(&chunk.bytes)?, Some(("content-encoding", "gzip"))),
        };
        let headers: Vec<_> = [("content-type", "application/x-ndjson")].into_iter().chain(encoding).collect();
        let answer = self.server.patiently(|| client.post(&path, &headers, &body)?.json())?;
        self.sent.stored += answer["stored"].as_u64().unwrap_or_default();
        self.sent.dead_lettered += answer["dead_lettered"].as_u64().unwrap_or_default();
        self.last = place(&answer["journal"]).or(self.last.take());
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<Sent> {
        if let Some(last) = self.last.take() {
            let path = format!("{}?attempt={}&wait_for={last}", self.path, self.attempt);
            // It is stored; when it shows is another matter.
            if let Err(error) = patiently(VISIBLE_WITHIN, &self.server.stop, || self.server.client.get(&path)?.json()) {
                tracing::warn!("what was imported is safe, but not to be seen yet: {}", chain(error.as_ref()));
            }
        }
        Ok(std::mem::take(&mut self.sent))
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 16), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
