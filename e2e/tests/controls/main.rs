//! The judge itself: servers that break the promise in known ways are found out by the very agents and the ledger of
//! the other tests, and the same composition without the fault is not.
#![allow(clippy::unwrap_used)]

mod broken;
mod in_process;

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use e2e::agent::Agents;
use e2e::client::Client;
use e2e::ledger::Fault;
use e2e::random::Random;
use e2e::server::data_dir;
use e2e::wait;
use journal::Publisher;
use journal::local::{self, Local};
use prometheus::Registry;

use broken::{AnswersTooEarly, KnowsNoDuplicates, OrdersByArrival};
use in_process::{InProcess, Journal};

type Wrap = fn(Arc<dyn Publisher>, u64) -> Arc<dyn Publisher>;

/// The embedded journal, with what `wrap` makes of its publisher of events.
fn embedded(data: &Path, wrap: impl FnOnce(Arc<dyn Publisher>) -> Arc<dyn Publisher>) -> Journal {
    let registry = Registry::new();
    let journals = ["journal", "dlq"].map(|name| {
        let metrics = local::Metrics::register(&registry, name).unwrap();
        Local::open(&data.join(name), local::Options::default(), metrics).unwrap()
    });
    Journal {
        events: Box::new(journals[0].subscriber().unwrap()),
        ends: Box::new(journals[0].subscriber().unwrap()),
        publisher: wrap(Arc::new(journals[0].publisher())),
        dead_letters: Arc::new(journals[1].publisher()),
        held: Box::new(journals),
    }
}

/// What the judge says of a server with this publisher, after some kills under load.
fn judged(name: &str, wrap: Wrap) -> Vec<Fault> {
    const KILLS: u64 = 4;
    let data = data_dir();
    let mut random = Random::for_test(name);
    let mut agents = Agents::start(3, &mut random);
    for kill in 0..=KILLS {
        // Identities that no other life of the server gave.
        let mut server = InProcess::start(data.path(), embedded(data.path(), |publisher| wrap(publisher, kill << 48)));
        let client = Client::new(&server.url);
        agents.target.set(Some(client.clone()));
        sleep(Duration::from_millis(random.between(200, 500)));
        let least = 250 * (usize::try_from(kill).unwrap() + 1);
        wait::until("some load", || (agents.ledger.count().acknowledged > least).then_some(()));
        if kill == KILLS {
            agents.end();
            server.await_applied();
            let faults = agents.ledger.judge_all(&client, Duration::ZERO);
            server.kill();
            return faults.into_iter().map(|(_, fault)| fault).collect();
        }
        agents.target.set(None);
        server.kill();
    }
    unreachable!()
}

#[test]
fn without_a_fault_the_judge_is_content() {
    assert_eq!(judged("no fault", |publisher, _| publisher), []);
}

#[test]
fn an_answer_before_the_write_loses_events() {
    let faults = judged("early answers", |publisher, _| Arc::new(AnswersTooEarly::new(publisher)));
    assert!(faults.iter().any(|fault| matches!(fault, Fault::Lost(_))), "{:?}", &faults[..10.min(faults.len())]);
    // Of a lost one, a copy that came later may be stored, and at a later place.
    let is_loss = |fault: &Fault| matches!(fault, Fault::Lost(_) | Fault::LaterCopy(_) | Fault::OutOfOrder(_));
    assert!(faults.iter().all(is_loss), "{:?}", &faults[..10.min(faults.len())]);
}

#[test]
fn without_a_look_up_events_are_doubled() {
    let faults = judged("no duplicates known", |publisher, first| Arc::new(KnowsNoDuplicates::new(publisher, first)));
    assert!(faults.iter().any(|fault| matches!(fault, Fault::Double(_))), "{:?}", &faults[..10.min(faults.len())]);
    assert!(!faults.iter().any(|fault| matches!(fault, Fault::Lost(_) | Fault::Unknown(_))));
}

#[test]
fn an_order_of_arrival_is_found_out() {
    let faults = judged("order of arrival", |publisher, _| Arc::new(OrdersByArrival(publisher)));
    assert!(faults.iter().any(|fault| matches!(fault, Fault::OutOfOrder(_))), "{:?}", &faults[..10.min(faults.len())]);
}
