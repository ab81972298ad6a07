//! SIGKILL at random moments under load, of each process and of the broker, alone and together.

use std::thread::sleep;
use std::time::Duration;

use e2e::agent::Agents;
use e2e::parts::{Part, Parts};
use e2e::random::Random;
use e2e::server::data_dir;
use e2e::topic::Topic;
use e2e::wait;
use kafka_broker::Cluster;

/// How many random kills `make test` has time for; `make test_kafka_faults` asks for 50.
const KILLS: u64 = 12;

const BROKER: usize = 3;

fn kills() -> u64 {
    std::env::var("EMBERLOG_E2E_FAULTS").map_or(KILLS, |text| text.parse().unwrap())
}

/// The victims of one moment: mostly one of the four, sometimes more.
fn victims(random: &mut Random) -> Vec<usize> {
    let mut all = vec![0, 1, 2, BROKER];
    random.shuffle(&mut all);
    all.truncate(if random.percent(60) { 1 } else { usize::try_from(random.between(2, 4)).unwrap() });
    all
}

#[test]
fn kills_of_processes_and_broker_lose_nothing_double_nothing_and_move_nothing() {
    let _alone = crate::alone();
    let mut random = Random::for_test("kills of processes and broker");
    let mut cluster = Cluster::start(1);
    let (data, topic) = (data_dir(), Topic::on(&cluster, 3));
    let mut parts = Parts::started(&topic, data.path(), &[]);
    let mut agents = Agents::start(4, &mut random);
    let mut killed = [0; 4];
    let mut kill = 0;
    // On a slow machine it takes more of them until enough has happened in between.
    while kill < kills() || agents.ledger.count().acknowledged <= 3_000 {
        kill += 1;
        assert!(kill < 50 * kills(), "too little happens: {:?}", agents.ledger.count());
        agents.target.set(Some(parts.client()));
        sleep(Duration::from_millis(random.between(50, 1_200)));
        let victims = victims(&mut random);
        for victim in &victims {
            killed[*victim] += 1;
            match Part::ALL.get(*victim) {
                Some(part) => parts.kill(*part),
                None => cluster.kill(1),
            }
        }
        sleep(Duration::from_millis(random.between(0, 400)));
        for victim in &victims {
            match Part::ALL.get(*victim) {
                Some(part) => parts.spawn(*part),
                None => cluster.launch(1),
            }
        }
        if kill % 4 == 0 {
            cluster.await_ready();
            Part::ALL.iter().for_each(|part| parts.await_ready(*part));
            agents.target.set(Some(parts.client()));
            agents.ledger.assert_sound(&parts.client());
        }
    }
    cluster.await_ready();
    Part::ALL.iter().for_each(|part| parts.await_ready(*part));
    agents.target.set(Some(parts.client()));
    agents.end();
    agents.ledger.assert_sound(&parts.client());
    assert_eq!(parts.stop_all().code(), Some(0));
    let count = agents.ledger.count();
    println!("killed (collector, materializer, api, broker) {killed:?}, {count:?}");
    assert!(count.served > 3_000 && count.resent > 100, "too little happened: {count:?}");
    crate::assert_is_what_the_topic_holds(data.path(), &topic, &agents.ledger);
}

#[test]
fn with_three_brokers_a_killed_a_frozen_and_a_moved_leader_lose_nothing() {
    let _alone = crate::alone();
    let mut random = Random::for_test("three brokers");
    let mut cluster = Cluster::start(3);
    let (data, topic) = (data_dir(), Topic::on(&cluster, 3));
    let mut parts = Parts::started(&topic, data.path(), &[]);
    let mut agents = Agents::start(3, &mut random);
    agents.target.set(Some(parts.client()));
    let leader = |cluster: &Cluster| wait::until("a leader", || cluster.leader(&topic.name, 0));
    let load = |agents: &Agents| {
        let before = agents.ledger.count().acknowledged;
        wait::until("more load", || (agents.ledger.count().acknowledged > before + 1_000).then_some(()));
    };
    load(&agents);

    let killed = leader(&cluster);
    cluster.kill(killed);
    load(&agents);
    cluster.restart(killed);

    let frozen = leader(&cluster);
    cluster.freeze(frozen);
    sleep(Duration::from_secs(10));
    load(&agents);
    cluster.thaw(frozen);
    cluster.await_ready();

    for node in 1..=3 {
        wait::until("a moved leader", || {
            cluster.move_leader(&topic.name, 0, node);
            (leader(&cluster) == node).then_some(())
        });
        load(&agents);
    }
    agents.end();
    agents.ledger.assert_sound(&parts.client());
    assert_eq!(parts.stop_all().code(), Some(0));
    println!("{:?}", agents.ledger.count());
    crate::assert_is_what_the_topic_holds(data.path(), &topic, &agents.ledger);
}
