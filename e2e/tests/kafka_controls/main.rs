//! The judge on Kafka: without acknowledgements it finds losses, without the look-up of duplicates or without idempotence
//! doubles, and of the same composition with them nothing.
#![allow(clippy::unwrap_used)]

#[path = "../controls/in_process.rs"]
mod in_process;

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use e2e::agent::{Agents, Habits};
use e2e::client::Client;
use e2e::ledger::Fault;
use e2e::random::Random;
use e2e::server::data_dir;
use e2e::topic::Topic;
use e2e::wait;
use event::{Header, Identity};
use in_process::{InProcess, Journal};
use journal::kafka::{self, Properties, Settings};
use journal::{Entry, Error, Extent, Position, Subscriber};
use kafka_broker::Cluster;
use prometheus::Registry;

/// Gives each record an identity of its own, so that no look-up finds the copy before.
#[derive(Debug)]
struct KnowsNoDuplicates(Box<dyn Subscriber>);

impl Subscriber for KnowsNoDuplicates {
    fn extents(&mut self) -> Result<Vec<Extent>, Error> {
        self.0.extents()
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        self.0.seek(position)
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, Error> {
        let mut entries = self.0.next(max_wait)?;
        for entry in &mut entries {
            let mut header = Header::parse(&entry.record.header).unwrap();
            header.identity = header.identity.map(|_| Identity(entry.offset));
            let mut text = Vec::new();
            header.write(&mut text);
            entry.record.header = text.into();
        }
        Ok(entries)
    }
}

struct Setup {
    properties: Properties,
    looks_up: bool,
    /// Payloads sent again as if their 200 had not arrived, of a hundred.
    lost_answers: u64,
}

fn journal(topic: &Topic, setup: &Setup) -> Journal {
    let settings =
        |name: String, properties| Settings { brokers: topic.brokers.clone(), topic: name, properties, expires: false };
    let publisher = |settings: Settings| {
        let metrics = kafka::PublisherMetrics::register(&Registry::new(), &settings.topic).unwrap();
        Arc::new(kafka::Publisher::open(settings, &kafka::PublisherOptions::default(), metrics).unwrap())
    };
    let reading = settings(topic.name.clone(), Properties::default());
    let metrics = kafka::SubscriberMetrics::register(&Registry::new(), &topic.name).unwrap();
    let open =
        || kafka::Subscriber::open(reading.clone(), kafka::SubscriberOptions::default(), metrics.clone()).unwrap();
    let (events, ends) = (open(), Box::new(open()));
    let events: Box<dyn Subscriber> =
        if setup.looks_up { Box::new(events) } else { Box::new(KnowsNoDuplicates(Box::new(events))) };
    Journal {
        events,
        ends,
        publisher: publisher(settings(topic.name.clone(), setup.properties.clone())),
        dead_letters: publisher(settings(topic.dead_letters(), Properties::default())),
        held: Box::new(()),
    }
}

/// What the judge says after `fault` was done to the broker, some times under load.
fn judged(name: &str, setup: &Setup, fault: fn(&mut Cluster)) -> Vec<Fault> {
    let mut cluster = Cluster::start(1);
    let (data, topic) = (data_dir(), Topic::on(&cluster, 1));
    let mut random = Random::for_test(name);
    let habits = (0..3).map(|_| Habits { lost_answers: setup.lost_answers, ..Habits::any(&mut random) }).collect();
    let mut server = InProcess::start(data.path(), journal(&topic, setup));
    let client = Client::new(&server.url);
    let mut agents = Agents::with_habits(habits, &mut random);
    agents.target.set(Some(client.clone()));
    for round in 1..=3 {
        sleep(Duration::from_secs(1));
        wait::until("some load", || (agents.ledger.count().acknowledged > 300 * round).then_some(()));
        fault(&mut cluster);
    }
    sleep(Duration::from_secs(1));
    agents.end();
    let count = agents.ledger.count();
    server.await_applied();
    let faults = agents.ledger.judge_all(&client, Duration::ZERO);
    server.kill();
    let faults: Vec<_> = faults.into_iter().map(|(_, fault)| fault).collect();
    println!("{name}: {count:?}, {} faults, such as {:?}", faults.len(), faults.first());
    faults
}

/// Records that the broker has in its socket and has not read are gone.
fn kill_with_a_full_socket(cluster: &mut Cluster) {
    cluster.freeze(1);
    sleep(Duration::from_secs(1));
    cluster.kill(1);
    cluster.restart(1);
}

/// Longer than a request is waited for, not longer than an acknowledgement.
fn pause(cluster: &mut Cluster) {
    cluster.freeze(1);
    sleep(Duration::from_secs(2));
    cluster.thaw(1);
    sleep(Duration::from_secs(1));
}

fn usual() -> Setup {
    Setup { properties: Properties::default(), looks_up: true, lost_answers: 10 }
}

#[test]
fn without_acknowledgements_of_the_broker_events_are_lost_and_with_them_none() {
    assert_eq!(judged("acks=all", &usual(), kill_with_a_full_socket), []);
    let properties = Properties::default().weakened("enable.idempotence", "false").weakened("acks", "0");
    let faults = judged("acks=0", &Setup { properties, ..usual() }, kill_with_a_full_socket);
    assert!(faults.iter().any(|it| matches!(it, Fault::Lost(_))), "{:?}", &faults[..10.min(faults.len())]);
}

#[test]
fn without_the_look_up_events_are_doubled() {
    let faults = judged("no look-up", &Setup { looks_up: false, ..usual() }, pause);
    assert!(faults.iter().any(|it| matches!(it, Fault::Double(_))), "{:?}", &faults[..10.min(faults.len())]);
    assert!(!faults.iter().any(|it| matches!(it, Fault::Lost(_) | Fault::Unknown(_))));
}

/// The look-up hides what a producer sends twice, so it is off in both runs; agents send nothing again.
#[test]
fn without_idempotence_events_are_doubled_and_with_it_none() {
    let properties = Properties::parse(["socket.timeout.ms=1000"]).unwrap();
    let setup = Setup { properties, looks_up: false, lost_answers: 0 };
    assert_eq!(judged("idempotence", &setup, pause), []);
    let properties = setup.properties.weakened("enable.idempotence", "false");
    let faults = judged("no idempotence", &Setup { properties, ..setup }, pause);
    assert!(faults.iter().any(|it| matches!(it, Fault::Double(_))), "{:?}", &faults[..10.min(faults.len())]);
}
