//! TLS, passwords and rights, on a real broker that wants them.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;

use journal::kafka::topics::{self, Created, Layout};
use journal::kafka::{Properties, PublisherOptions, Settings};
use journal::{Error, Subscriber as _};
use kafka_broker::{Cluster, PlainUser};
use support::*;

const PLAIN: PlainUser<'_> = PlainUser { name: "materializer", password: "of-the-materializer" };

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::secured(&[PLAIN]);
    cluster.add_scram_user("collector", "of-the-collector");
    cluster
});

fn secure(topic: &str, properties: &[&str]) -> Settings {
    let authority = format!("ssl.ca.location={}", CLUSTER.authority().display());
    let all = ["security.protocol=sasl_ssl", &authority].into_iter().chain(properties.iter().copied());
    let properties = Properties::parse(all).unwrap();
    Settings { brokers: CLUSTER.secure_bootstrap(), topic: topic.to_owned(), expires: false, properties }
}

fn collector(topic: &str) -> Settings {
    let user = ["sasl.mechanism=SCRAM-SHA-512", "sasl.username=collector", "sasl.password=of-the-collector"];
    secure(topic, &user)
}

fn materializer(topic: &str) -> Settings {
    secure(topic, &["sasl.mechanism=PLAIN", "sasl.username=materializer", "sasl.password=of-the-materializer"])
}

/// Waits until the brokers are unavailable for this reason: slow ones may be only silent at first.
fn assert_unavailable(settings: &Settings, says: &[&str]) {
    until(&format!("{says:?}"), || {
        let error = topics::check(settings).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let why = error.to_string();
        assert!(!why.contains("hunter2"), "{why}");
        says.iter().all(|it| why.to_lowercase().contains(it)).then_some(())
    });
}

#[test]
fn tls_passwords_and_the_documented_rights_are_all_it_needs() {
    let topic = fresh_name();
    let (collector, materializer) = (collector(&topic), materializer(&topic));
    CLUSTER.allow("collector", &format!("--operation Create --operation Describe --topic {topic}"));
    let layout = Layout { partitions: 2, replication_factor: 1, retention: None };
    assert_eq!(patiently(|| topics::create(&collector, &layout)), Created::New);
    let found = patiently(|| topics::check(&collector));
    assert!(found.warnings.iter().any(|it| it.contains("DescribeConfigs")), "{:?}", found.warnings);

    CLUSTER.allow("collector", &format!("--operation Write --operation DescribeConfigs --topic {topic}"));
    let rights = "--operation Read --operation Describe --operation DescribeConfigs";
    CLUSTER.allow("materializer", &format!("{rights} --topic {topic}"));
    CLUSTER.allow("materializer", "--operation Read --group emberlog-materializer");
    let (publisher, _) = publisher(&collector, &PublisherOptions::default());
    patiently(|| publish(&publisher, numbered("run", 0..100)));
    let (mut subscriber, metrics) = subscriber(&materializer, &watchful());
    from_start(&mut subscriber);
    assert_eq!(read(&mut subscriber, 100).len(), 100);
    let examined = metrics.audits.get();
    while metrics.audits.get() < examined + 2 {
        assert!(patiently(|| subscriber.next(SECOND / 10)).is_empty());
    }
    for settings in [collector, materializer] {
        let warnings = patiently(|| topics::check(&settings)).warnings.join("\n");
        assert!(!warnings.contains("DescribeConfigs"), "{warnings}");
    }
}

#[test]
fn a_wrong_password_or_authority_is_named_as_the_cause() {
    let wrong = ["sasl.mechanism=PLAIN", "sasl.username=materializer", "sasl.password=hunter2"];
    assert_unavailable(&secure("t", &wrong), &["sasl", "authentication failed"]);
    let scram = ["sasl.mechanism=SCRAM-SHA-512", "sasl.username=collector", "sasl.password=hunter2"];
    assert_unavailable(&secure("t", &scram), &["sasl", "authentication failed"]);

    // The system's authorities did not sign the broker's certificate.
    let properties = ["security.protocol=sasl_ssl", "sasl.mechanism=PLAIN", "sasl.username=x", "sasl.password=x"];
    let strange = Settings { properties: Properties::parse(properties).unwrap(), ..secure("t", &[]) };
    assert_unavailable(&strange, &["certificate", "ssl.ca.location"]);

    let open = Settings { properties: Properties::default(), ..secure("t", &[]) };
    assert_unavailable(&open, &["security.protocol"]);
}

#[test]
fn a_missing_right_is_named_and_waited_for() {
    let topic = fresh_name();
    create(&settings(&CLUSTER.bootstrap(), &topic), 1, 1);
    let collector = collector(&topic);
    assert_unavailable(&collector, &[&topic, "authorization failed", "lacks a right"]);

    CLUSTER.allow("collector", &format!("--operation Describe --operation DescribeConfigs --topic {topic}"));
    let (publisher, _) = publisher(&collector, &PublisherOptions::default());
    until("the refusal", || {
        let refused = publish(&publisher, numbered("run", 0..1)).unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
        refused.to_string().contains("no right to write").then_some(())
    });
    CLUSTER.allow("collector", &format!("--operation Write --topic {topic}"));
    patiently(|| publish(&publisher, numbered("run", 0..5)));

    let (mut subscriber, _) = subscriber(&collector, &watchful());
    from_start(&mut subscriber);
    for _ in 0..20 {
        assert!(patiently(|| subscriber.next(SECOND / 10)).is_empty());
    }
    CLUSTER.allow("collector", &format!("--operation Read --topic {topic}"));
    assert_eq!(read(&mut subscriber, 5).len(), 5);
}

#[test]
fn what_no_broker_is_needed_to_see_is_an_error_that_stays() {
    let user = ["sasl.username=x", "sasl.password=hunter2"];
    let mechanism = secure("t", &[&["sasl.mechanism=SCRAM-SHA-1024"], &user[..]].concat());
    let file = secure("t", &[&["sasl.mechanism=PLAIN", "ssl.ca.location=/nowhere/ca.pem"], &user[..]].concat());
    for (settings, what) in [(mechanism, "SCRAM-SHA-1024"), (file, "ssl.ca.location")] {
        let error = topics::check(&settings).unwrap_err();
        assert!(matches!(error, Error::Configuration(_)), "{error}");
        let why = error.to_string();
        assert!(why.contains(what) && !why.contains("hunter2"), "{why}");
    }
}
