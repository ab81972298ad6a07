//! Publishers that break the promise in known ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use event::{Header, Identity};
use journal::{Position, Publication, Publisher, Record, local};

/// Answers before anything is written: what waits when it is dropped is lost.
#[derive(Debug)]
pub struct AnswersTooEarly {
    waiting: std::sync::mpsc::Sender<Vec<Record>>,
    is_alive: Arc<AtomicBool>,
}

impl AnswersTooEarly {
    pub fn new(publisher: Arc<dyn Publisher>) -> Self {
        let (waiting, queue) = std::sync::mpsc::channel::<Vec<Record>>();
        let is_alive = Arc::new(AtomicBool::new(true));
        let lives = is_alive.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for records in queue {
                std::thread::sleep(Duration::from_millis(10));
                if !lives.load(Ordering::Relaxed) {
                    return;
                }
                // It fails once the journal is closed, which nobody is told any more.
                let _ = runtime.block_on(publisher.publish(records));
            }
        });
        Self { waiting, is_alive }
    }
}

impl Publisher for AnswersTooEarly {
    fn publish(&self, records: Vec<Record>) -> Publication<'_> {
        self.waiting.send(records).unwrap();
        Box::pin(async { Ok(vec![Position { partition: local::PARTITION, offset: 0 }]) })
    }

    fn publish_to_all(&self, record: Record) -> Publication<'_> {
        self.publish(vec![record])
    }
}

impl Drop for AnswersTooEarly {
    fn drop(&mut self) {
        self.is_alive.store(false, Ordering::Relaxed);
    }
}

/// Gives each delivery an identity of its own, so that no look-up finds the copy before.
#[derive(Debug)]
pub struct KnowsNoDuplicates {
    publisher: Arc<dyn Publisher>,
    deliveries: AtomicU64,
}

impl KnowsNoDuplicates {
    pub fn new(publisher: Arc<dyn Publisher>, first: u64) -> Self {
        Self { publisher, deliveries: AtomicU64::new(first) }
    }
}

impl Publisher for KnowsNoDuplicates {
    fn publish(&self, mut records: Vec<Record>) -> Publication<'_> {
        for record in &mut records {
            let identity = Identity(self.deliveries.fetch_add(1, Ordering::Relaxed));
            change(record, |header| header.identity = header.identity.map(|_| identity));
        }
        self.publisher.publish(records)
    }

    fn publish_to_all(&self, record: Record) -> Publication<'_> {
        self.publisher.publish_to_all(record)
    }
}

/// Takes the time at which an event came in for the time at which it happened.
#[derive(Debug)]
pub struct OrdersByArrival(pub Arc<dyn Publisher>);

impl Publisher for OrdersByArrival {
    fn publish(&self, mut records: Vec<Record>) -> Publication<'_> {
        for record in &mut records {
            change(record, |header| {
                header.generated_at = header.generated_at.map(|_| event::GeneratedAt(-header.received_at.0));
            });
        }
        self.0.publish(records)
    }

    fn publish_to_all(&self, record: Record) -> Publication<'_> {
        self.0.publish_to_all(record)
    }
}

fn change(record: &mut Record, change: impl FnOnce(&mut Header)) {
    let mut header = Header::parse(&record.header).unwrap();
    change(&mut header);
    let mut text = Vec::new();
    header.write(&mut text);
    record.header = text.into();
}
