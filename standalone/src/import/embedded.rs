//! Importing straight into the embedded journal of a server that does not run: as its collector would take the same lines in.
//! What the store has not applied yet is applied first, so that it tells what is there.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use collector::letters::{self, Origin};
use event::collect::Limits;
use event::{Deletion, ReceivedAt, Redaction, RunName, dead_letter, ingest};
use eventlog::Chunk;
use journal::local::{self, Local};
use journal::{Publication, Publisher, Record, Subscriber};
use materializer::{Hooks, Materializer, State, quarantine};
use prometheus::Registry;
use store::Reader;
use tokio::runtime::Runtime;

use super::target::{Attempt, Feed, Sent, Status, Target, number};
use crate::data_dir::DataDir;

/// Publications of one log that wait to be durable, so that packing and fsync do not wait for decoding.
const UNDER_WAY: usize = 4;

pub struct Embedded {
    publisher: local::Publisher,
    dead_letters: local::Publisher,
    reader: Reader,
    /// What this process has put into the journal since, which the reader does not know.
    since: Mutex<HashMap<Attempt, u64>>,
    reopened: Mutex<Vec<RunName>>,
    limits: Limits,
    redaction: Redaction,
    runtime: Runtime,
    /// Closed when all is done.
    _journals: [Arc<Local>; 2],
}

impl Embedded {
    pub fn open(data_dir: &DataDir, redaction: Redaction) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let events = open(&data_dir.journal(), "events").map_err(in_use)?;
        let dead = open(&data_dir.dead_letters(), "dlq").map_err(in_use)?;
        let reader = apply_all(&data_dir.create_store()?, &events, &dead, &runtime)?;
        Ok(Self {
            publisher: events.publisher(),
            dead_letters: dead.publisher(),
            reader,
            since: Mutex::default(),
            reopened: Mutex::default(),
            limits: Limits {
                event_bytes: collector::Options::default().event_bytes,
                rejected_bytes: dead_letter::MAX_WHOLE_BYTES,
                truncated_bytes: dead_letter::TRUNCATED_BYTES,
            },
            redaction,
            runtime,
            _journals: [events, dead],
        })
    }

    fn is_reopened(&self, run: &RunName) -> bool {
        self.reopened.lock().unwrap_or_else(PoisonError::into_inner).contains(run)
    }
}

fn open(dir: &Path, name: &str) -> anyhow::Result<Arc<Local>> {
    let metrics = local::Metrics::register(&Registry::new(), name)?;
    Ok(Arc::new(Local::open(
        dir,
        local::Options { max_bytes_in_flight: 1 << 30, ..local::Options::default() },
        metrics,
    )?))
}

fn in_use(error: anyhow::Error) -> anyhow::Error {
    error.context("while a server runs on this folder, import into it: --url instead of --data-dir")
}

/// Brings the store to the journal's end.
fn apply_all(dir: &Path, events: &Arc<Local>, dead: &Arc<Local>, runtime: &Runtime) -> anyhow::Result<Reader> {
    let end = events.subscriber()?.extents()?.first().map_or(0, |it| it.end);
    let (halted, halt) = mpsc::channel();
    let journal = events.clone();
    let hooks = Hooks {
        connect: Box::new(move || Ok(Box::new(journal.subscriber()?))),
        quarantine: quarantine(Arc::new(dead.publisher()), runtime.handle().clone()),
        synced: Box::new(|_, _| ()),
        state: Box::new(move |state| {
            if let State::Halted(error) = state {
                // Nobody listens once all is applied.
                let _ = halted.send(error.to_string());
            }
        }),
    };
    let metrics = materializer::Metrics::new(&Registry::new())?;
    let materializer = Materializer::open(dir, hooks, metrics, materializer::Options::default())
        .with_context(|| format!("cannot open the store in {}", dir.display()))?;
    let reader = materializer.reader();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| materializer.run(&stop));
        let partition = u16::try_from(local::PARTITION).unwrap_or_default();
        let result = loop {
            match reader.applied(partition) {
                Ok(applied) if applied.map_or(0, |it| it.next_offset) >= end => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error.into()),
            }
            if let Ok(error) = halt.recv_timeout(Duration::from_millis(50)) {
                break Err(anyhow!("the store has halted: {error}; start the server, which says how to go on"));
            }
            if thread.is_finished() {
                break Err(anyhow!("the store cannot be brought up to date"));
            }
        };
        stop.store(true, Ordering::Relaxed);
        thread.join().map_err(|_| anyhow!("the materializer's thread panicked"))??;
        result
    })?;
    Ok(reader)
}

impl Target for Embedded {
    fn status(&self, attempt: &Attempt) -> anyhow::Result<Status> {
        let hash = attempt.run.hash();
        let is_reopened = self.is_reopened(&attempt.run);
        let mut status = self.reader.scan(|view| {
            let Some(run) = view.run(hash)?.filter(|_| !is_reopened) else {
                let deleted = !is_reopened && view.gone(hash)?.is_some();
                return Ok::<_, store::Error>(Status { deleted, ..Status::default() });
            };
            let next = match run.spans.next_sequence(ingest::instance_of(attempt.number)) {
                Some(next) => next,
                None => api::first_missing(view, &run, attempt.number)?,
            };
            let next = u64::try_from(next.0).unwrap_or_default();
            Ok(Status { next, events: run.summary.events, ingested: run.ingested, deleted: false })
        })?;
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        status.next = status.next.max(since.get(attempt).copied().unwrap_or_default());
        Ok(status)
    }

    fn event(&self, run: &RunName, place: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let place = usize::try_from(place)?;
        let found = self.reader.scan(|view| {
            let Some(record) = view.run(run.hash())? else { return Ok(None) };
            let mut events = view.events(record.number, None);
            for _ in 0..place {
                if events.next()?.is_none() {
                    return Ok(None);
                }
            }
            Ok::<_, store::Error>(events.next()?.map(|(_, event)| event.to_vec()))
        })?;
        Ok(found)
    }

    fn only_attempt(&self, run: &RunName) -> anyhow::Result<Option<u32>> {
        let Some(record) = self.reader.run(run.hash())? else { return Ok(None) };
        Ok(match record.summary.applications().as_slice() {
            [only] => Some(number(only.start.as_ref().and_then(|it| it.attempt.as_deref()))),
            _ => None,
        })
    }

    fn reopen(&self, run: &RunName) -> anyhow::Result<()> {
        let deletion = Deletion::Run { id: run.hash(), reopen: true };
        let header = Deletion::header(ReceivedAt::now());
        let record = Record { key: deletion.to_key().into(), header: header.into(), value: Bytes::new() };
        self.runtime.block_on(self.publisher.publish(vec![record]))?;
        self.since.lock().unwrap_or_else(PoisonError::into_inner).retain(|attempt, _| attempt.run != *run);
        self.reopened.lock().unwrap_or_else(PoisonError::into_inner).push(run.clone());
        Ok(())
    }

    fn feed<'a>(&'a self, attempt: &Attempt) -> anyhow::Result<Box<dyn Feed + 'a>> {
        let feed = EmbeddedFeed {
            embedded: self,
            attempt: attempt.clone(),
            next: 0,
            sent: Sent::default(),
            under_way: VecDeque::new(),
        };
        Ok(Box::new(feed))
    }
}

struct EmbeddedFeed<'a> {
    embedded: &'a Embedded,
    attempt: Attempt,
    next: u64,
    sent: Sent,
    under_way: VecDeque<Publication<'a>>,
}

impl Feed for EmbeddedFeed<'_> {
    fn send(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        let Embedded { limits, redaction, .. } = self.embedded;
        let target = ingest::Target {
            run: self.attempt.run.clone(),
            first_sequence: i64::try_from(chunk.first)?,
            attempt: self.attempt.number,
        };
        self.next = chunk.first + chunk.count;
        let payload = ingest::decode(&chunk.bytes.into(), target, ReceivedAt::now(), *limits, redaction)?;
        self.sent.stored += payload.events.len() as u64;
        self.sent.dead_lettered += payload.rejected.len() as u64;
        self.publish(letters::records(&payload))?;
        let origin = Origin { path: "import".to_owned(), source: None, headers: Default::default() };
        let dead: Vec<_> = letters::of_rejected(&payload, &origin).into_iter().map(letters::record).collect();
        if !dead.is_empty() {
            self.embedded.runtime.block_on(self.embedded.dead_letters.publish(dead))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<Sent> {
        while self.wait()? {}
        let mut since = self.embedded.since.lock().unwrap_or_else(PoisonError::into_inner);
        let next = since.entry(self.attempt.clone()).or_default();
        *next = self.next.max(*next);
        Ok(std::mem::take(&mut self.sent))
    }
}

impl EmbeddedFeed<'_> {
    fn publish(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        while self.under_way.len() >= UNDER_WAY {
            self.wait()?;
        }
        self.under_way.push_back(self.embedded.publisher.publish(records));
        Ok(())
    }

    /// Waits for the oldest publication; false if there is none.
    fn wait(&mut self) -> anyhow::Result<bool> {
        let Some(oldest) = self.under_way.pop_front() else { return Ok(false) };
        self.embedded.runtime.block_on(oldest)?;
        Ok(true)
    }
}
