//! Kills at random moments under load: what was acknowledged is served once, in order, and nothing else.
#![allow(clippy::unwrap_used)]

use std::thread::sleep;
use std::time::Duration;

use e2e::agent::Agents;
use e2e::process::said;
use e2e::random::Random;
use e2e::server::Site;
use e2e::wait;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn moment(random: &mut Random, first: u64, last: u64) -> Duration {
    Duration::from_millis(random.between(first, last))
}

#[test]
fn kills_lose_nothing_double_nothing_and_move_nothing() {
    let site = site();
    // Three processes take longer to start; tests/faults has more of them.
    let kills = if site.is_on_kafka() { 15 } else { 50 };
    let mut random = Random::for_test("kills");
    let mut agents = Agents::start(4, &mut random);
    let mut kill = 0;
    // On a slow machine it takes more of them until enough has happened in between.
    while kill < kills || agents.ledger.count().acknowledged <= 10_000 {
        kill += 1;
        assert!(kill < 50 * kills, "too little happens: {:?}", agents.ledger.count());
        // Some while it starts and recovers, most in the middle of its work.
        if random.percent(15) {
            let server = site.spawn(&[]);
            sleep(moment(&mut random, 0, 250));
            server.kill();
            continue;
        }
        let server = site.start(&[]);
        agents.target.set(Some(server.client()));
        sleep(moment(&mut random, 20, 900));
        if kill % 5 == 0 {
            agents.ledger.assert_sound(&server.client());
        }
        server.kill();
        agents.target.set(None);
        if kill % 10 == 0 {
            site.check();
        }
    }
    let server = site.start(&[]);
    agents.target.set(Some(server.client()));
    agents.end();
    agents.ledger.assert_sound(&server.client());
    assert_eq!(server.stop().code(), Some(0));

    let (count, before) = (agents.ledger.count(), site.check());
    println!("{count:?}");
    assert_eq!((count.sent, count.acknowledged), (count.served, count.served));
    assert_eq!(
        (before["events"].as_u64(), before["runs"].as_u64()),
        (Some(count.served as u64), Some(count.runs as u64))
    );
    assert!(count.served > 10_000 && count.resent > 500, "too little happened: {count:?}");

    // A store that lived through all that is the one that the journal makes at one go.
    let rebuilt = site.rebuild("journal", &[]).output().unwrap();
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    assert_eq!(site.check()["digest"], before["digest"]);
}

#[test]
fn a_term_under_load_ends_with_0_and_loses_nothing() {
    let site = site();
    let mut random = Random::for_test("terms");
    let mut agents = Agents::start(4, &mut random);
    for _ in 0..5 {
        let server = site.start(&[]);
        agents.target.set(Some(server.client()));
        sleep(moment(&mut random, 50, 800));
        assert_eq!(server.stop().code(), Some(0));
        agents.target.set(None);
    }
    let server = site.start(&[]);
    agents.target.set(Some(server.client()));
    wait::until("enough load", || (agents.ledger.count().acknowledged > 2_000).then_some(()));
    agents.end();
    agents.ledger.assert_sound(&server.client());
}
