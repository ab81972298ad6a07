//! Topics of a real broker, and their ends.

#![allow(dead_code)] // Each test binary uses a part.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::contract::failed_attempts;
use journal::kafka::topics::{self, Layout};
use journal::kafka::{
    DeferredPublisher, DeferredSubscriber, Properties, Publisher, PublisherMetrics, PublisherOptions, Settings,
    Subscriber, SubscriberMetrics, SubscriberOptions,
};
use journal::{Entry, Error, Position, Publisher as _, Record, Subscriber as _};
use prometheus::Registry;
use tokio::runtime::{Builder, Runtime};

pub const SECOND: Duration = Duration::from_secs(1);

/// More than anything here takes on a machine that others use too.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub fn runtime() -> Runtime {
    static LOG: Once = Once::new();
    LOG.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
    });
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn settings(brokers: &str, topic: &str) -> Settings {
    Settings { brokers: brokers.to_owned(), topic: topic.to_owned(), expires: false, properties: Properties::default() }
}

/// A new topic as `emberlog init` makes it.
pub fn topic(brokers: &str, partitions: u32, replication_factor: u16) -> Settings {
    let settings = settings(brokers, &fresh_name());
    create(&settings, partitions, replication_factor);
    settings
}

pub fn create(settings: &Settings, partitions: u32, replication_factor: u16) {
    let layout = Layout { partitions, replication_factor, retention: None };
    patiently(|| topics::create(settings, &layout));
    // The brokers learn of it one after the other.
    patiently(|| topics::check(settings));
}

thread_local! {
    static FAILED: Cell<u32> = const { Cell::new(0) };
}

/// Runs a test whose offsets are right if everything is published once; again if an attempt has failed on this thread
/// because a broker was silent.
pub fn undisturbed(test: impl Fn()) {
    const ATTEMPTS: u32 = 5;
    let failed = || FAILED.get() + failed_attempts();
    for attempt in 1..=ATTEMPTS {
        let before = failed();
        let Err(failure) = catch_unwind(AssertUnwindSafe(&test)) else { return };
        if attempt == ATTEMPTS || failed() == before {
            resume_unwind(failure);
        }
        println!("attempt {attempt} was disturbed");
    }
}

pub fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(it) => return it,
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                FAILED.set(FAILED.get() + 1);
                std::thread::sleep(SECOND / 10);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(SECOND / 10);
    }
}

pub fn publisher(settings: &Settings, options: &PublisherOptions) -> (Publisher, PublisherMetrics) {
    let metrics = PublisherMetrics::register(&Registry::new(), &settings.topic).unwrap();
    (patiently(|| Publisher::open(settings.clone(), options, metrics.clone())), metrics)
}

pub fn subscriber(settings: &Settings, options: &SubscriberOptions) -> (Subscriber, SubscriberMetrics) {
    let metrics = SubscriberMetrics::register(&Registry::new(), &settings.topic).unwrap();
    (patiently(|| Subscriber::open(settings.clone(), options.clone(), metrics.clone())), metrics)
}

/// Both ends, as a process has them that starts.
pub fn deferred(settings: &Settings) -> (DeferredPublisher, DeferredSubscriber) {
    let registry = Registry::new();
    let metrics = PublisherMetrics::register(&registry, &settings.topic).unwrap();
    let publisher = DeferredPublisher::start(settings.clone(), PublisherOptions::default(), metrics).unwrap();
    let metrics = SubscriberMetrics::register(&registry, &settings.topic).unwrap();
    let subscriber = DeferredSubscriber::start(settings.clone(), SubscriberOptions::default(), metrics).unwrap();
    (publisher, subscriber)
}

/// Looks and examines often.
pub fn watchful() -> SubscriberOptions {
    SubscriberOptions { watch_interval: SECOND, audit_interval: SECOND, ..SubscriberOptions::default() }
}

/// Examines only when something happens.
pub fn trusting() -> SubscriberOptions {
    SubscriberOptions { watch_interval: 3600 * SECOND, audit_interval: 3600 * SECOND, ..SubscriberOptions::default() }
}

pub fn from_start(subscriber: &mut Subscriber) {
    for extent in patiently(|| subscriber.extents()) {
        subscriber.seek(Position { partition: extent.partition, offset: extent.start }).unwrap();
    }
}

pub fn record(key: &str, value: impl Into<Bytes>) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), header: Bytes::from_static(b"1 header"), value: value.into() }
}

pub fn numbered(key: &str, numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(|n| record(key, n.to_string())).collect()
}

pub fn publish(publisher: &Publisher, records: Vec<Record>) -> Result<Vec<Position>, Error> {
    runtime().block_on(publisher.publish(records))
}

pub fn read(subscriber: &mut dyn journal::Subscriber, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while entries.len() < count {
        assert!(Instant::now() < deadline, "only {} of {count} records came", entries.len());
        entries.extend(patiently(|| subscriber.next(SECOND / 10)));
    }
    entries
}

/// What comes until reading stops, and why it stops.
pub fn until_halt(subscriber: &mut Subscriber) -> (Vec<Entry>, Error) {
    let mut entries = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match subscriber.next(SECOND / 10) {
            Ok(more) => entries.extend(more),
            // What may pass is no halt.
            Err(error) if error.is_retryable() => std::thread::sleep(SECOND / 10),
            Err(error) => return (entries, error),
        }
        assert!(Instant::now() < deadline, "reading goes on; {} records came", entries.len());
    }
}

pub fn values(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|it| String::from_utf8_lossy(&it.record.value).into_owned()).collect()
}

/// Not to be compressed.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}
