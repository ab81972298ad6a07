//! Publishing and reading while brokers are away, frozen, lose what they acknowledged, or hold damaged files.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use journal::kafka::{Properties, Publisher, PublisherOptions, Settings, Subscriber, SubscriberOptions};
use journal::{Error, Position, Publisher as _, Subscriber as _};
use kafka_broker::{Cluster, Proxy};
use support::*;

/// One cluster at a time: each takes memory, and the times are of a machine that does little else.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The promise is five seconds; the rest is for a machine that has other things to do. What is not bounded takes as long
/// as the broker is away.
const IN_TIME: Duration = Duration::from_secs(20);

fn pair(settings: &Settings, options: &SubscriberOptions) -> (Publisher, Subscriber) {
    let publisher = publisher(settings, &PublisherOptions::default()).0;
    let mut subscriber = subscriber(settings, options).0;
    from_start(&mut subscriber);
    (publisher, subscriber)
}

/// What an agent does: numbered records one after the other, each again until it is acknowledged.
struct Agent {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    acknowledged: u32,
    failures: u32,
    longest: Duration,
    longest_gap: Duration,
}

impl Agent {
    fn start(publisher: Arc<Publisher>, key: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            let mut sent = Sent::default();
            let mut last = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let result = runtime.block_on(publisher.publish(vec![record(key, sent.acknowledged.to_string())]));
                sent.longest = sent.longest.max(began.elapsed());
                match result {
                    Ok(_) => {
                        sent.acknowledged += 1;
                        sent.longest_gap = sent.longest_gap.max(last.elapsed());
                        last = Instant::now();
                    }
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        sent.failures += 1;
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            sent
        });
        Self { stop, thread }
    }

    fn stop(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What is wrong with what came of an agent's records.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wrong {
    /// Acknowledged, and not there.
    missing: Vec<u32>,
    /// Only behind a later one.
    late: Vec<u32>,
    /// More copies than failed attempts account for.
    doubled: u32,
}

fn wrong(subscriber: &mut Subscriber, sent: &Sent) -> Wrong {
    let (mut next, mut copies) = (0, 0);
    let (mut missing, mut late) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut last = began;
    // All that was acknowledged, and a little longer, for copies behind it.
    let patience = |next| if next < sent.acknowledged { PATIENCE } else { 2 * SECOND };
    while last.elapsed() < patience(next) {
        let entries = subscriber.next(SECOND / 10).unwrap();
        for entry in entries.into_iter().filter(|it| it.record.key == "run") {
            last = Instant::now();
            let number: u32 = String::from_utf8_lossy(&entry.record.value).parse().unwrap();
            if let Some(at) = missing.iter().position(|it| *it == number) {
                late.push(missing.swap_remove(at));
            } else {
                copies += u32::from(number < next);
            }
            missing.extend(next..number);
            next = next.max(number + 1);
        }
    }
    missing.extend(next..sent.acknowledged);
    println!("the last came {:?} after the question", last.duration_since(began));
    Wrong { missing, late, doubled: copies.saturating_sub(sent.failures) }
}

/// All that was acknowledged is there, once and in order; what was not may be there once, and comes again before it goes on.
fn assert_complete(subscriber: &mut Subscriber, sent: &Sent) {
    assert_eq!(wrong(subscriber, sent), Wrong::default(), "{sent:?}");
}

/// The broker answers nothing for longer than the client waits for an answer, but not longer than for an acknowledgement:
/// the client sends again what the broker has received.
fn after_a_pause(settings: &Settings) -> (Sent, Wrong) {
    let cluster = Cluster::start(1);
    let settings = Settings { brokers: cluster.bootstrap(), ..settings.clone() };
    create(&settings, 1, 1);
    let (publisher, mut subscriber) = pair(&settings, &watchful());
    let agent = Agent::start(Arc::new(publisher), "run");
    for _ in 0..2 {
        std::thread::sleep(SECOND);
        cluster.freeze(1);
        std::thread::sleep(2 * SECOND);
        cluster.thaw(1);
    }
    std::thread::sleep(SECOND);
    let sent = agent.stop();
    let wrong = wrong(&mut subscriber, &sent);
    println!("{sent:?}: {wrong:?}");
    (sent, wrong)
}

#[test]
fn what_is_sent_again_is_stored_once_and_without_idempotence_it_would_not_be() {
    let _alone = alone();
    let properties = Properties::parse(["socket.timeout.ms=1000"]).unwrap();
    let settings = Settings { properties, ..settings("", "t") };
    // On a slow machine a pause may be too long for a record.
    let found = (0..5).map(|_| after_a_pause(&settings)).find(|(sent, _)| sent.failures == 0 && sent.longest > SECOND);
    let (_, found) = found.expect("nothing was sent again");
    assert_eq!(found, Wrong::default());
    let control = Settings { properties: settings.properties.weakened("enable.idempotence", "false"), ..settings };
    let (_, found) = after_a_pause(&control);
    assert!(found.doubled > 0, "the control run shows no double");
}

/// The broker is killed with records in its socket that it has not read.
fn after_a_kill(settings: &Settings) -> Wrong {
    let mut cluster = Cluster::start(1);
    let settings = Settings { brokers: cluster.bootstrap(), ..settings.clone() };
    create(&settings, 1, 1);
    let (publisher, mut subscriber) = pair(&settings, &watchful());
    let agent = Agent::start(Arc::new(publisher), "run");
    std::thread::sleep(SECOND);
    cluster.freeze(1);
    std::thread::sleep(SECOND);
    cluster.kill(1);
    cluster.restart(1);
    std::thread::sleep(4 * SECOND);
    let sent = agent.stop();
    let wrong = wrong(&mut subscriber, &sent);
    println!("{sent:?}: {wrong:?}");
    wrong
}

#[test]
fn what_is_acknowledged_outlives_the_broker_and_without_acknowledgements_it_would_not() {
    let _alone = alone();
    let settings = settings("", "t");
    assert_eq!(after_a_kill(&settings), Wrong::default());
    let weakened = settings.properties.weakened("enable.idempotence", "false").weakened("acks", "0");
    let found = after_a_kill(&Settings { properties: weakened, ..settings });
    assert!(!found.missing.is_empty(), "the control run shows no loss");
}

#[test]
fn while_the_broker_is_stopped_publishing_fails_in_time_and_both_ends_go_on_when_it_is_back() {
    let _alone = alone();
    let mut cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 3, 1);
    let (publisher, mut subscriber) = pair(&settings, &watchful());
    let publisher = Arc::new(publisher);
    let agent = Agent::start(publisher.clone(), "run");
    for graceful in [true, false] {
        std::thread::sleep(SECOND);
        if graceful {
            cluster.stop(1)
        } else {
            cluster.kill(1)
        }
        std::thread::sleep(8 * SECOND);
        let unknown = subscriber.extents().unwrap_err();
        assert!(unknown.is_retryable(), "{unknown}");
        cluster.restart(1);
        let back = Instant::now();
        patiently(|| publish(&publisher, numbered("other", 0..1)));
        assert!(back.elapsed() < IN_TIME, "publishing goes on after {:?}", back.elapsed());
    }
    let sent = agent.stop();
    assert!(sent.failures >= 2 && sent.longest < IN_TIME, "{sent:?}");
    assert_complete(&mut subscriber, &sent);
}

#[test]
fn while_the_broker_is_frozen_publishing_fails_in_time_and_both_ends_go_on_when_it_thaws() {
    let _alone = alone();
    let cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 3, 1);
    let options = PublisherOptions { max_bytes_in_flight: 1_000_000, ..PublisherOptions::default() };
    let (publisher, metrics) = publisher(&settings, &options);
    let mut subscriber = subscriber(&settings, &watchful()).0;
    from_start(&mut subscriber);
    let publisher = Arc::new(publisher);
    let agent = Agent::start(publisher.clone(), "run");
    std::thread::sleep(SECOND);
    cluster.freeze(1);
    let frozen = Instant::now();

    // The budget is held until the report, whoever has stopped waiting; over it the answer comes at once.
    let runtime = runtime();
    let large = vec![record("large", vec![b' '; 990_000])];
    let abandoned = runtime.block_on(async { tokio::time::timeout(SECOND, publisher.publish(large)).await });
    assert!(abandoned.is_err());
    let asked = Instant::now();
    let refused = runtime.block_on(publisher.publish(vec![record("large", vec![b' '; 500_000])]));
    assert!(matches!(refused, Err(Error::Overloaded)), "{refused:?}");
    assert!(asked.elapsed() < IN_TIME);
    assert!(metrics.in_flight_bytes.get() > 990_000 && metrics.refused_publications.get() > 0);
    std::thread::sleep(Duration::from_secs(30).saturating_sub(frozen.elapsed()));
    let held = metrics.in_flight_bytes.get();
    assert!(held < 10_000, "{held} bytes are held though all were reported");

    cluster.thaw(1);
    let back = Instant::now();
    patiently(|| publish(&publisher, vec![record("large", "x")]));
    let publishing = back.elapsed();
    let before = metrics.records.get();
    until("some more", || (metrics.records.get() > before + 30).then_some(()));
    let sent = agent.stop();
    println!("goes on {publishing:?} after the thaw; {sent:?}");
    assert!(publishing < IN_TIME, "{publishing:?}");
    assert!(sent.failures >= 4 && sent.longest < IN_TIME, "{sent:?}");
    assert_complete(&mut subscriber, &sent);
}

#[test]
fn a_consumer_whose_connections_have_gone_silent_is_replaced() {
    let _alone = alone();
    let proxy = Proxy::bind();
    let _cluster = Cluster::behind(&proxy);
    let created = topic(&proxy.address().to_string(), 1, 1);
    // Left alone, librdkafka would wait for answers as long as it may; and a question in vain would be no reason to hang up.
    let properties = Properties::parse(["socket.timeout.ms=300000", "socket.max.fails=0"]).unwrap();
    let patient = Settings { properties, ..created.clone() };
    let (mut subscriber, metrics) = subscriber(&patient, &watchful());
    from_start(&mut subscriber);
    publish(&publisher(&created, &PublisherOptions::default()).0, numbered("run", 0..5)).unwrap();
    assert_eq!(read(&mut subscriber, 5).len(), 5);
    proxy.silence();
    publish(&publisher(&created, &PublisherOptions::default()).0, numbered("run", 5..10)).unwrap();
    let silent = Instant::now();
    assert_eq!(values(&read(&mut subscriber, 5)), ["5", "6", "7", "8", "9"]);
    println!("goes on after {:?}", silent.elapsed());
    assert_eq!(metrics.consumer_rebuilds.get(), 1);
}

#[test]
fn both_ends_can_be_had_before_the_broker_and_go_on_when_it_comes() {
    let _alone = alone();
    let mut cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 1, 1);
    cluster.stop(1);
    let (publisher, mut subscriber) = deferred(&settings);
    let runtime = runtime();
    let publish = |n| runtime.block_on(publisher.publish(numbered("run", n..n + 1)));
    until("what both wait for", || {
        let refused = publish(0).unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
        assert!(subscriber.extents().unwrap_err().is_retryable());
        refused.to_string().contains("Connection refused").then_some(())
    });
    cluster.restart(1);
    let back = Instant::now();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, publisher.opened(|_| ())).await }).unwrap().unwrap();
    patiently(|| publish(0));
    patiently(|| subscriber.seek(Position { partition: 0, offset: 0 }));
    assert_eq!(values(&read(&mut subscriber, 1)), ["0"]);
    println!("goes on after {:?}", back.elapsed());
    assert!(back.elapsed() < PATIENCE / 2, "{:?}", back.elapsed());
}

#[test]
fn a_stop_takes_less_than_three_seconds_whatever_the_broker_does() {
    let _alone = alone();
    let mut cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 3, 1);
    for is_frozen in [true, false] {
        let (publisher, mut subscriber) = pair(&settings, &watchful());
        publish(&publisher, numbered("run", 0..1)).unwrap();
        let waiting = deferred(&settings);
        if is_frozen {
            cluster.freeze(1)
        } else {
            cluster.kill(1)
        }
        // Examinations of the topic have begun, and a publication of which nobody wants to hear any more.
        std::thread::sleep(2 * SECOND);
        let abandoned = publisher.publish(numbered("run", 1..2));
        assert!(runtime().block_on(async { tokio::time::timeout(SECOND / 10, abandoned).await }).is_err());
        let asked = Instant::now();
        assert!(subscriber.extents().is_err_and(|it| it.is_retryable()));
        let question = asked.elapsed();
        let stopped = Instant::now();
        drop(waiting);
        let deferred = stopped.elapsed();
        drop(subscriber);
        let reading = stopped.elapsed();
        drop(publisher);
        println!("a question takes {question:?}; the stop {deferred:?}, {reading:?}, {:?}", stopped.elapsed());
        assert!(question < IN_TIME && stopped.elapsed() < IN_TIME);
        if is_frozen { cluster.thaw(1) } else { cluster.restart(1) }
    }
}

#[test]
fn with_three_brokers_a_killed_a_frozen_and_a_moved_leader_cost_seconds_and_no_record() {
    let _alone = alone();
    let mut cluster = Cluster::start(3);
    let settings = topic(&cluster.bootstrap(), 1, 3);
    let (publisher, mut subscriber) = pair(&settings, &watchful());
    let agent = Agent::start(Arc::new(publisher), "run");
    std::thread::sleep(SECOND);

    let leader = cluster.leader(&settings.topic, 0).unwrap();
    cluster.kill(leader);
    std::thread::sleep(6 * SECOND);
    cluster.restart(leader);

    let leader = cluster.leader(&settings.topic, 0).unwrap();
    cluster.freeze(leader);
    std::thread::sleep(10 * SECOND);
    cluster.thaw(leader);
    cluster.await_ready();

    for node in 1..=3 {
        cluster.move_leader(&settings.topic, 0, node);
    }

    // One of three is not enough to acknowledge anything.
    let leader = cluster.leader(&settings.topic, 0).unwrap();
    let others: Vec<_> = (1..=3).filter(|it| *it != leader).collect();
    others.iter().for_each(|it| cluster.freeze(*it));
    std::thread::sleep(6 * SECOND);
    others.iter().for_each(|it| cluster.thaw(*it));
    cluster.await_ready();
    std::thread::sleep(3 * SECOND);
    let sent = agent.stop();
    println!("{sent:?}");
    assert!(sent.failures > 0, "two brokers of three were away, and nothing failed");
    assert!(sent.longest < IN_TIME && sent.longest_gap < 60 * SECOND, "{sent:?}");
    assert_complete(&mut subscriber, &sent);
}

#[test]
fn a_log_that_was_cut_back_is_noticed_and_the_producer_is_made_anew() {
    let _alone = alone();
    let mut cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 1, 1);
    let (publisher, metrics) = publisher(&settings, &PublisherOptions::default());
    let mut subscriber = subscriber(&settings, &trusting()).0;
    from_start(&mut subscriber);
    for n in 0..20 {
        publish(&publisher, numbered("run", n * 5..n * 5 + 5)).unwrap();
    }
    assert_eq!(read(&mut subscriber, 100).len(), 100);
    cluster.kill(1);
    cluster.cut_back(&settings.topic);
    cluster.restart(1);
    let (entries, halted) = until_halt(&mut subscriber);
    assert!(entries.is_empty(), "{:?}", values(&entries));
    let Error::OutOfRange { wanted: 100, end, .. } = halted else { panic!("{halted}") };
    assert!(end < 100);

    // The broker misses records that this producer was told are there: it must not go on as it was.
    patiently(|| publish(&publisher, numbered("run", 100..105)));
    assert_eq!(metrics.producer_rebuilds.get(), 1);
    publish(&publisher, numbered("run", 105..110)).unwrap();
    assert_eq!(metrics.in_flight_bytes.get(), 0);
}

#[test]
fn a_log_that_was_cut_back_and_has_grown_beyond_is_noticed_before_anything_of_it_is_handed_out() {
    let _alone = alone();
    let mut cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 1, 1);
    let (mut subscriber, before) = {
        let (publisher, mut subscriber) = pair(&settings, &trusting());
        for n in 0..20 {
            publish(&publisher, numbered("run", n * 5..n * 5 + 5)).unwrap();
        }
        let before = read(&mut subscriber, 100).len();
        (subscriber, before)
    };
    assert_eq!(before, 100);
    cluster.kill(1);
    cluster.cut_back(&settings.topic);
    cluster.restart(1);
    let (other, _) = publisher(&settings, &PublisherOptions::default());
    publish(&other, (0..300).map(|n| record("run", format!("other {n}"))).collect()).unwrap();
    let (entries, halted) = until_halt(&mut subscriber);
    assert!(entries.is_empty(), "{:?}", values(&entries));
    assert!(matches!(halted, Error::Rewritten { .. } | Error::OutOfRange { .. }), "{halted}");
}

#[test]
fn a_damaged_record_stops_the_reading_and_is_not_skipped() {
    let _alone = alone();
    let mut cluster = Cluster::start(1);
    let settings = topic(&cluster.bootstrap(), 1, 1);
    let (publisher, _) = publisher(&settings, &PublisherOptions::default());
    let noise = noise(200_000);
    for records in noise.chunks(2_000).map(|it| record("run", it.to_vec())).collect::<Vec<_>>().chunks(5) {
        publish(&publisher, records.to_vec()).unwrap();
    }
    cluster.stop(1);
    let log = log_file(&cluster, &settings.topic);
    let middle = fs::metadata(&log).unwrap().len() / 2;
    let file = OpenOptions::new().read(true).write(true).open(&log).unwrap();
    // A record batch's header has 61 bytes; its first 21, offset, length, epoch, magic and checksum, have no checksum.
    const RECORDS: u64 = 61;
    let mut batch = 0;
    while batch < middle {
        let mut length = [0; 4];
        file.read_exact_at(&mut length, batch + 8).unwrap();
        batch += 12 + u64::from(u32::from_be_bytes(length));
    }
    let mut first = [0; 8];
    file.read_exact_at(&mut first, batch).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, batch + RECORDS).unwrap();
    file.write_all_at(&[!byte[0]], batch + RECORDS).unwrap();
    cluster.restart(1);
    let mut subscriber = subscriber(&settings, &trusting()).0;
    from_start(&mut subscriber);
    let (entries, halted) = until_halt(&mut subscriber);
    assert!(matches!(&halted, Error::Damaged(_)), "{halted}");
    let first = usize::try_from(u64::from_be_bytes(first)).unwrap();
    assert!(first > 0 && entries.len() == first, "{} records came of {first}", entries.len());
    assert!(entries.iter().zip(noise.chunks(2_000)).all(|(entry, value)| entry.record.value == value));
}

fn log_file(cluster: &Cluster, topic: &str) -> PathBuf {
    cluster.partition_dir(1, topic, 0).join("00000000000000000000.log")
}
