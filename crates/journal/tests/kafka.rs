//! A topic of a real broker as a journal.

#![allow(clippy::unwrap_used)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use journal::contract::{Backend, CASES};
use journal::kafka::topics::{self, Created, Layout};
use journal::kafka::{PublisherOptions, Settings};
use journal::{Error, Position, Publisher, Subscriber, partition};
use kafka_broker::{Cluster, RawRecord};
use support::*;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(1));

fn brokers() -> String {
    std::env::var(kafka_broker::EXTERNAL).unwrap_or_else(|_| CLUSTER.bootstrap())
}

fn options() -> PublisherOptions {
    PublisherOptions { check_interval: SECOND, ..PublisherOptions::default() }
}

struct Topic(Settings);

impl Backend for Topic {
    fn open(&mut self) -> (Arc<dyn Publisher>, Box<dyn Subscriber>) {
        let publisher = publisher(&self.0, &PublisherOptions::default()).0;
        let subscriber = subscriber(&self.0, &journal::kafka::SubscriberOptions::default()).0;
        (Arc::new(publisher), Box::new(subscriber))
    }

    fn partitions(&self) -> u32 {
        3
    }
}

#[test]
fn a_topic_holds_the_contract_of_journals() {
    let only = std::env::var("CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(&only)) {
        let mut backend = Topic(topic(&brokers(), 3, 1));
        let began = std::time::Instant::now();
        if catch_unwind(AssertUnwindSafe(|| case(&mut backend))).is_err() {
            failed.push(name);
        }
        println!("{name}: {:?}", began.elapsed());
    }
    assert!(failed.is_empty(), "{failed:?}");
}
