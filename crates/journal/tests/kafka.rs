//! A topic of a real broker as a journal.

#![allow(clippy::unwrap_used)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use journal::contract::{Backend, CASES};
use journal::kafka::topics::{self, Created, Layout};
use journal::kafka::{Properties, PublisherMetrics, PublisherOptions, Settings, SubscriberMetrics, SubscriberOptions};
use journal::{Error, Position, Publisher, Subscriber, partition};
use kafka_broker::{Cluster, RawRecord};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use support::*;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::undisturbed);

fn external() -> Option<String> {
    std::env::var(kafka_broker::EXTERNAL).ok()
}

fn brokers() -> String {
    external().unwrap_or_else(|| CLUSTER.bootstrap())
}

/// For tests that administer the broker, which a user's own is spared.
fn own() -> Option<&'static Cluster> {
    external().is_none().then(|| &*CLUSTER)
}

/// Examines the topic often.
fn watchful_publisher() -> PublisherOptions {
    PublisherOptions { check_interval: SECOND, ..PublisherOptions::default() }
}

struct Topic(Settings);

impl Backend for Topic {
    fn open(&mut self) -> (Arc<dyn Publisher>, Box<dyn Subscriber>) {
        let publisher = publisher(&self.0, &PublisherOptions::default()).0;
        let subscriber = subscriber(&self.0, &SubscriberOptions::default()).0;
        (Arc::new(publisher), Box::new(subscriber))
    }

    fn partitions(&self) -> u32 {
        3
    }
}

#[test]
fn a_topic_holds_the_contract_of_journals() {
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let holds = || undisturbed(|| case(&mut Topic(topic(&brokers(), 3, 1))));
        if catch_unwind(AssertUnwindSafe(holds)).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn keys_go_where_the_java_client_puts_them() {
    let Some(cluster) = own() else { return };
    let settings = topic(&brokers(), 7, 1);
    let keys: Vec<String> = (0..200).map(|n| format!("[\"job {n}\",\"run {}\"]", n * 31)).collect();
    let lines: String = keys.iter().map(|key| format!("{key}\tx\n")).collect();
    cluster.produce_by_java(&settings.topic, &lines);
    let (mut subscriber, _) = subscriber(&settings, &trusting());
    from_start(&mut subscriber);
    let entries = read(&mut subscriber, keys.len());
    assert_eq!(entries.len(), keys.len());
    for entry in entries {
        assert_eq!(entry.partition, partition::of_key(&entry.record.key, 7), "{:?}", entry.record.key);
    }
}

#[test]
fn records_of_any_other_producer_are_read_as_they_are() {
    undisturbed(|| {
        let Some(cluster) = own() else { return };
        let settings = topic(&brokers(), 1, 1);
        let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
        let foreign = [
            RawRecord::default(),
            RawRecord { key: Some(vec![0xff, 0]), value: Some(vec![]), headers: vec![] },
            RawRecord { headers: vec![header(b"other", Some(b"x"))], ..RawRecord::default() },
            RawRecord { headers: vec![header(b"emberlog", None)], ..RawRecord::default() },
            // The name of a header is text by Kafka's protocol, but nobody checks it.
            RawRecord { headers: vec![header(b"\xff\xfe", Some(b"x"))], ..RawRecord::default() },
            RawRecord {
                key: Some(b"run".to_vec()),
                value: Some(b"{}".to_vec()),
                headers: vec![header(b"emberlog", Some(b"1")), header(b"emberlog", Some(b"2")), header(b"z", None)],
            },
        ];
        cluster.produce_raw(&settings.topic, 0, &foreign);
        let (publisher, _) = publisher(&settings, &PublisherOptions::default());
        patiently(|| publish(&publisher, numbered("run", 0..1)));
        let (mut subscriber, _) = subscriber(&settings, &trusting());
        from_start(&mut subscriber);
        let entries = read(&mut subscriber, 7);
        let parts = |at: usize| {
            let record = &entries[at].record;
            (&record.key[..], &record.header[..], &record.value[..])
        };
        let nothing: (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        assert_eq!([parts(0), parts(2), parts(3), parts(4)], [nothing; 4]);
        assert_eq!(parts(1), (&[0xff, 0][..], &b""[..], &b""[..]));
        assert_eq!(parts(5), (&b"run"[..], &b"2"[..], &b"{}"[..]));
        assert_eq!(parts(6), (&b"run"[..], &b"1 header"[..], &b"0"[..]));
        assert_eq!(entries.iter().map(|it| it.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn init_creates_a_topic_that_the_check_likes_and_leaves_one_that_exists() {
    let settings = settings(&brokers(), &fresh_name());
    until("what is missing", || {
        let missing = topics::check(&settings).unwrap_err();
        (missing.is_retryable() && missing.to_string().contains("emberlog init")).then_some(())
    });

    if own().is_some() {
        let refused = refusal(|| topics::create(&settings, &Layout::default()));
        assert!(refused.to_string().contains("--replication-factor 1"), "{refused}");
    }
    let layout = Layout { partitions: 5, replication_factor: 1, retention: None };
    assert_eq!(patiently(|| topics::create(&settings, &layout)), Created::New);
    let found = patiently(|| topics::check(&settings));
    assert_eq!((found.partitions, found.replication_factor, found.max_message_bytes), (5, 1, 16_000_000));
    let [warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
    assert!(warning.contains("1 of 1 replicas"), "{warning}");

    let layout = Layout { partitions: 6, ..layout };
    assert_eq!(patiently(|| topics::create(&settings, &layout)), Created::Existed);
    assert_eq!(patiently(|| topics::check(&settings)).partitions, 5);
}

#[test]
fn a_topic_that_breaks_the_promise_is_refused_with_the_command_that_mends_it() {
    let Some(cluster) = own() else { return };
    for (key, value, mended) in [
        ("cleanup.policy", "compact", "delete"),
        ("cleanup.policy", "compact,delete", "delete"),
        ("message.timestamp.type", "CreateTime", "LogAppendTime"),
        ("unclean.leader.election.enable", "true", "false"),
        ("min.insync.replicas", "2", "1"),
    ] {
        let settings = settings(&brokers(), &fresh_name());
        let with =
            if key == "message.timestamp.type" { vec![] } else { vec![("message.timestamp.type", "LogAppendTime")] };
        cluster.create_topic(&settings.topic, 1, &[&with[..], &[(key, value)]].concat());
        let refusals = [
            refusal(|| topics::check(&settings)),
            refusal(|| open_publisher(&settings)),
            refusal(|| open_subscriber(&settings)),
        ];
        for error in refusals {
            let text = error.to_string();
            let advice = format!("--entity-name {} --add-config {key}={mended}", settings.topic);
            assert!(text.contains(value) && text.contains(&advice), "{text}");
        }
        cluster.alter_topic(&settings.topic, key, mended);
        patiently_refused(|| topics::check(&settings));
    }
}

#[test]
fn a_topic_with_smaller_limits_is_taken_with_a_warning_and_sets_the_limit_of_events() {
    undisturbed(|| {
        let Some(cluster) = own() else { return };
        let settings = settings(&brokers(), &fresh_name());
        let configs = [
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", "1000000"),
            ("retention.ms", "86400000"),
        ];
        cluster.create_topic(&settings.topic, 1, &configs);
        let warnings = patiently(|| topics::check(&settings)).warnings.join("\n");
        assert!(
            warnings.contains("max.message.bytes=1000000") && warnings.contains("retention.ms=86400000"),
            "{warnings}"
        );
        let (publisher, metrics) = publisher(&settings, &watchful_publisher());
        let noise = noise(1_100_000);
        let refused = publish(&publisher, vec![record("run", noise.clone())]).unwrap_err();
        let Error::RecordTooLarge { limit, .. } = refused else { panic!("{refused}") };
        patiently(|| publish(&publisher, vec![record("run", noise[..limit - 11].to_vec())]));
        assert_eq!(metrics.records.get(), 1);
        assert_eq!(metrics.in_flight_bytes.get(), 0);
    });
}

#[test]
fn a_limit_lowered_or_raised_while_running_is_followed() {
    let Some(cluster) = own() else { return };
    let settings = topic(&brokers(), 1, 1);
    let (publisher, _) = publisher(&settings, &PublisherOptions::default());
    let large = || vec![record("run", noise(900_000))];
    patiently(|| publish(&publisher, large()));
    cluster.alter_topic(&settings.topic, "max.message.bytes", "100000");
    let mut failures = Vec::new();
    let limit = until("the limit", || match publish(&publisher, large()) {
        Err(Error::RecordTooLarge { limit, .. }) => Some(limit),
        result => {
            failures.extend(result.err());
            None
        }
    });
    assert!(limit < 100_000);
    patiently(|| publish(&publisher, numbered("run", 0..1)));
    assert!(failures.iter().all(Error::is_retryable), "{failures:?}");
}

#[test]
fn compaction_switched_on_while_running_stops_both_ends_until_it_is_off() {
    undisturbed(|| {
        let Some(cluster) = own() else { return };
        let settings = topic(&brokers(), 1, 1);
        let (publisher, _) = publisher(&settings, &watchful_publisher());
        let (mut subscriber, _) = subscriber(&settings, &watchful());
        from_start(&mut subscriber);
        patiently(|| publish(&publisher, numbered("run", 0..3)));
        assert_eq!(read(&mut subscriber, 3).len(), 3);
        cluster.alter_topic(&settings.topic, "cleanup.policy", "compact");
        let (_, halted) = until_halt(&mut subscriber);
        assert!(matches!(&halted, Error::Configuration(why) if why.contains("cleanup.policy=compact")), "{halted}");
        until("a refusal", || {
            publish(&publisher, numbered("run", 3..4)).is_err_and(|it| it.to_string().contains("compact")).then_some(())
        });
        cluster.alter_topic(&settings.topic, "cleanup.policy", "delete");
        patiently(|| publish(&publisher, numbered("run", 4..5)));
    });
}

#[test]
fn records_deleted_below_the_offset_are_noticed() {
    undisturbed(|| {
        let Some(cluster) = own() else { return };
        let settings = topic(&brokers(), 1, 1);
        let (publisher, _) = publisher(&settings, &PublisherOptions::default());
        let (mut subscriber, _) = subscriber(&settings, &watchful());
        patiently(|| publish(&publisher, numbered("run", 0..100)));
        subscriber.seek(Position { partition: 0, offset: 10 }).unwrap();
        assert_eq!(read(&mut subscriber, 90)[0].offset, 10);
        cluster.delete_records(&settings.topic, 0, 50);
        subscriber.seek(Position { partition: 0, offset: 10 }).unwrap();
        let (entries, halted) = until_halt(&mut subscriber);
        assert!(entries.is_empty(), "{:?}", values(&entries));
        let Error::OutOfRange { partition, wanted, start, end } = halted else { panic!("{halted}") };
        assert_eq!((partition, wanted, start, end), (0, 10, 50, 100));
        // The way out: it goes on where there is something.
        subscriber.seek(Position { partition: 0, offset: 50 }).unwrap();
        assert_eq!(read(&mut subscriber, 50)[0].offset, 50);
    });
}

#[test]
fn a_grown_topic_is_noticed() {
    let Some(cluster) = own() else { return };
    let settings = topic(&brokers(), 2, 1);
    let (mut subscriber, _) = subscriber(&settings, &watchful());
    from_start(&mut subscriber);
    cluster.grow_topic(&settings.topic, 3);
    let (_, halted) = until_halt(&mut subscriber);
    assert!(matches!(halted, Error::Repartitioned { found: 3, expected: 2 }), "{halted}");
}

#[test]
fn nothing_of_a_topic_made_anew_is_handed_out_as_if_it_were_the_old_one() {
    undisturbed(|| {
        let Some(cluster) = own() else { return };
        let settings = topic(&brokers(), 2, 1);
        let (old, _) = publisher(&settings, &PublisherOptions::default());
        // It never looks by itself, and fetches again only when the new topic holds more than the old one did.
        let properties = Properties::parse(["fetch.error.backoff.ms=10000"]).unwrap();
        let (mut subscriber, _) = subscriber(&Settings { properties, ..settings.clone() }, &trusting());
        from_start(&mut subscriber);
        patiently(|| publish(&old, numbered("run", 0..50)));
        assert_eq!(read(&mut subscriber, 50).len(), 50);
        drop(old);
        cluster.delete_topic(&settings.topic);
        patiently_absent(&settings);
        create(&settings, 2, 1);
        let (new, _) = publisher(&settings, &PublisherOptions::default());
        let other: Vec<_> = (0..200).map(|n| record("run", format!("other {n}"))).collect();
        patiently(|| publish(&new, other.clone()));
        let (entries, halted) = until_halt(&mut subscriber);
        assert!(entries.is_empty(), "{:?}", values(&entries));
        assert!(matches!(halted, Error::Rewritten { offset: 49, .. }), "{halted}");
    });
}

#[test]
fn records_that_expire_after_they_were_read_are_no_halt() {
    undisturbed(|| {
        let Some(cluster) = own() else { return };
        let settings = topic(&brokers(), 1, 1);
        let (publisher, _) = publisher(&settings, &PublisherOptions::default());
        let (mut subscriber, metrics) = subscriber(&settings, &watchful());
        patiently(|| publish(&publisher, numbered("run", 0..10)));
        from_start(&mut subscriber);
        read(&mut subscriber, 10);
        let examined = metrics.audits.get();
        while metrics.audits.get() < examined + 3 {
            assert!(patiently(|| subscriber.next(SECOND / 10)).is_empty());
        }
        // What was read is gone, and with it the way to compare: that is retention, and no halt.
        cluster.delete_records(&settings.topic, 0, 10);
        let examined = metrics.audits.get();
        while metrics.audits.get() < examined + 3 {
            assert!(patiently(|| subscriber.next(SECOND / 10)).is_empty());
        }
        patiently(|| publish(&publisher, numbered("run", 10..20)));
        assert_eq!(read(&mut subscriber, 10)[0].offset, 10);
    });
}

#[test]
fn a_consumer_that_stands_still_is_replaced() {
    let created = topic(&brokers(), 1, 1);
    // Whenever something waits to be taken, it fetches nothing for five minutes.
    let properties = Properties::parse(["fetch.queue.backoff.ms=300000", "queued.min.messages=1"]).unwrap();
    // Each new one stands still too, as soon as it has read a part, and the patience with it doubles: short ones sum up to little.
    let options = SubscriberOptions { watch_interval: SECOND / 5, ..trusting() };
    let (mut subscriber, metrics) = subscriber(&Settings { properties, ..created.clone() }, &options);
    from_start(&mut subscriber);
    let (publisher, _) = publisher(&created, &PublisherOptions::default());
    // It does not stand still where all was taken before it has asked itself whether to fetch more.
    let rebuilt = (0..50).any(|n| {
        patiently(|| publish(&publisher, numbered("run", n * 100..n * 100 + 100)));
        read(&mut subscriber, 100);
        metrics.consumer_rebuilds.get() > 0
    });
    assert!(rebuilt);
}

#[test]
fn committed_offsets_are_shown_to_lag_tools() {
    let Some(cluster) = own() else { return };
    let settings = topic(&brokers(), 1, 1);
    let (mut subscriber, _) = subscriber(&settings, &trusting());
    from_start(&mut subscriber);
    subscriber.committer().commit(0, 7);
    let shown = until("the lag", || {
        let args = ["--describe", "--group", "emberlog-materializer"];
        let text = cluster.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &args);
        text.lines().find(|it| it.contains(&settings.topic)).map(str::to_owned)
    });
    assert_eq!(shown.split_whitespace().nth(3), Some("7"), "{shown}");
}

#[test]
fn records_of_aborted_transactions_are_not_read_and_gaps_halt_nothing() {
    let settings = topic(&brokers(), 1, 1);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("transactional.id", &settings.topic);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    for (text, is_committed) in [("0", true), ("1", false), ("2", true)] {
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to(&settings.topic).partition(0).key("run").payload(text);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
        if is_committed {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let (mut subscriber, metrics) = subscriber(&settings, &watchful());
    from_start(&mut subscriber);
    let entries = read(&mut subscriber, 2);
    assert_eq!(values(&entries), ["0", "2"]);
    assert_eq!((entries[0].offset, entries[1].offset), (0, 4));
    // The log ends with a marker that is never handed out: that is no partition that stands still for ever.
    for _ in 0..80 {
        assert!(patiently(|| subscriber.next(SECOND / 10)).is_empty());
    }
    assert!(metrics.consumer_rebuilds.get() <= 5, "{} consumers", metrics.consumer_rebuilds.get());
    let (publisher, _) = publisher(&settings, &PublisherOptions::default());
    patiently(|| publish(&publisher, numbered("run", 3..4)));
    assert_eq!(values(&read(&mut subscriber, 1)), ["3"]);
}

#[test]
fn both_ends_can_be_had_before_the_topic_and_say_what_they_wait_for() {
    let settings = settings(&brokers(), &fresh_name());
    let (publisher, mut subscriber) = deferred(&settings);
    let committer = subscriber.committer();
    committer.commit(0, 1);
    let runtime = runtime();
    let publish = |n| runtime.block_on(publisher.publish(numbered("run", n..n + 1)));
    until("what it waits for", || {
        let refused = publish(0).unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
        refused.to_string().contains("emberlog init").then_some(())
    });
    // They do not wait for the topic, which will not be there before they have answered.
    for refused in [subscriber.extents().map(drop), subscriber.next(SECOND / 10).map(drop)] {
        let refused = refused.unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
    }

    create(&settings, 2, 1);
    runtime.block_on(async { tokio::time::timeout(PATIENCE, publisher.opened(|_| ())).await }).unwrap().unwrap();
    patiently(|| publish(0));
    assert_eq!(patiently(|| subscriber.extents()).len(), 2);
    for partition in 0..2 {
        subscriber.seek(Position { partition, offset: 0 }).unwrap();
    }
    assert_eq!(values(&read(&mut subscriber, 1)), ["0"]);
}

#[test]
fn what_waiting_will_not_mend_is_told_to_a_process_that_starts() {
    let Some(cluster) = own() else { return };
    let settings = settings(&brokers(), &fresh_name());
    cluster.create_topic(&settings.topic, 1, &[("cleanup.policy", "compact")]);
    let (publisher, mut subscriber) = deferred(&settings);
    let told = runtime().block_on(async { tokio::time::timeout(PATIENCE, publisher.opened(|_| ())).await }).unwrap();
    let told = told.unwrap_err();
    assert!(!told.is_retryable() && told.to_string().contains("cleanup.policy=delete"), "{told}");
    refusal(|| subscriber.extents());
    assert!(matches!(subscriber.next(SECOND), Err(Error::Configuration(_))));
}

fn open_publisher(settings: &Settings) -> Result<(), Error> {
    let metrics = PublisherMetrics::register(&prometheus::Registry::new(), "t").unwrap();
    journal::kafka::Publisher::open(settings.clone(), &PublisherOptions::default(), metrics).map(drop)
}

fn open_subscriber(settings: &Settings) -> Result<(), Error> {
    let metrics = SubscriberMetrics::register(&prometheus::Registry::new(), "t").unwrap();
    journal::kafka::Subscriber::open(settings.clone(), SubscriberOptions::default(), metrics).map(drop)
}

/// Why it will never succeed.
fn refusal<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Error {
    until("the refusal", || attempt().err().filter(|it| !it.is_retryable()))
}

/// Until the brokers have the new configuration.
fn patiently_refused<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    until("the new configuration", || attempt().ok())
}

fn patiently_absent(settings: &Settings) {
    until("the end of the topic", || {
        topics::check(settings).is_err_and(|it| it.to_string().contains("init")).then_some(())
    });
}
