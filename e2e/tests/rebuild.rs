//! New generations of the store: made while the old one is served, killed half way and finished, and never at the
//! price of history.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use e2e::agent::Agents;
use e2e::client::{Client, path};
use e2e::payload::small_run;
use e2e::process::said;
use e2e::random::Random;
use e2e::server::Site;
use e2e::wait;
use serde_json::Value;

const TASKS: i64 = 4_000;

/// 240,000 events, or as many runs as told: 250 are a million events.
fn runs() -> usize {
    std::env::var("EMBERLOG_E2E_REBUILD_RUNS").map_or(60, |it| it.parse().unwrap())
}

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn rebuild(site: &Site, source: &str) -> Child {
    let mut command = site.rebuild(source, &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The generation in the making: its number and whether it is ready.
fn next(data: &Path) -> Option<(u64, bool)> {
    let text = std::fs::read(data.join("store").join("NEXT")).ok()?;
    let next: Value = serde_json::from_slice(&text).unwrap();
    Some((next["generation"].as_u64()?, next["ready"].as_bool()?))
}

/// Kills a rebuild in the middle, and returns what it was making.
fn kill_half_way(site: &Site, source: &str, random: &mut Random) -> u64 {
    for _ in 0..10 {
        let mut child = rebuild(site, source);
        wait::until("the rebuild's beginning", || {
            let has_ended = child.try_wait().unwrap().is_some();
            (has_ended || next(site.path()).is_some()).then_some(())
        });
        sleep(Duration::from_millis(random.between(50, 250)));
        child.kill().unwrap();
        child.wait().unwrap();
        match next(site.path()) {
            Some((generation, false)) => return generation,
            // When only this test has stood still meanwhile.
            _ => _ = finish(site, source),
        }
    }
    panic!("the rebuild is over before it is killed: it needs more to do");
}

fn finish(site: &Site, source: &str) -> u64 {
    let output = rebuild(site, source).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let served = |line: &str| line.strip_prefix("generation ")?.strip_suffix(" is served")?.parse().ok();
    text.lines().find_map(served).unwrap_or_else(|| panic!("{text}"))
}

/// Reads finished runs all the time, and compares each byte.
struct Poller {
    stop: Arc<AtomicBool>,
    polls: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Poller {
    fn start(client: Client, runs: Vec<(String, Vec<u8>)>) -> Self {
        let (stop, polls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (stop.clone(), polls.clone());
        let thread = std::thread::spawn(move || {
            for (run, expected) in runs.iter().cycle() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let answer = client.get(&path(&["job", "fixed", run, "events"]));
                assert_eq!((answer.status, answer.body.len()), (200, expected.len()), "{run}");
                assert!(answer.body == *expected, "{run} has other bytes");
                let listed = client.get("/job/fixed").json();
                assert_eq!(listed.as_array().unwrap().len(), runs.len());
                let duration = client.get(&path(&["job", "fixed", run, "duration"])).json();
                assert_eq!(duration["duration_ms"], 10_000, "{duration}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, polls, thread }
    }

    fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Stores runs that stay as they are.
fn feed(client: &Client) -> Vec<(String, Vec<u8>)> {
    let feed_one = |i| {
        let run = format!("run {i}");
        let payload = small_run("fixed", &run, TASKS);
        assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
        let expected: String = payload.messages.iter().map(|it| format!("{}\n", it.content)).collect();
        (run, expected.into_bytes())
    };
    let runs: Vec<_> = (0..runs()).map(feed_one).collect();
    for (run, expected) in &runs {
        wait::until(run, || (client.events("fixed", run).unwrap().len() == expected.len()).then_some(()));
    }
    runs
}

#[test]
fn rebuilds_under_load_killed_half_way_end_with_one_digest_and_are_never_seen() {
    let site = site();
    let mut random = Random::for_test("rebuilds");
    let server = site.start(&[]);
    let client = server.client();
    let runs = feed(&client);
    let mut agents = Agents::start(2, &mut random);
    agents.target.set(Some(client.clone()));
    let poller = Poller::start(client.clone(), runs);
    // What was served once stays: a new generation is shown when it holds as much.
    let is_over = Arc::new(AtomicBool::new(false));
    let judge = std::thread::spawn({
        let (ledger, client, is_over) = (agents.ledger.clone(), client.clone(), is_over.clone());
        move || {
            while !is_over.load(Ordering::Relaxed) {
                ledger.assert_sound(&client);
            }
        }
    });

    let mut generation = 1;
    for source in ["journal", "store"] {
        let polls = poller.polls();
        let killed = kill_half_way(&site, source, &mut random);
        assert!(killed > generation, "{killed} after {generation}");
        generation = finish(&site, source);
        assert_eq!(generation, killed);
        assert!(poller.polls() > polls, "nobody read meanwhile");
    }
    let polls = poller.polls();
    wait::until("reads of the last generation", || (poller.polls() > polls + 20).then_some(()));
    poller.end();
    is_over.store(true, Ordering::Relaxed);
    judge.join().unwrap();
    agents.end();
    agents.ledger.assert_sound(&client);
    println!("{polls} polls, {:?}", agents.ledger.count());

    let served = site.check();
    assert_eq!(served["generation"], generation);
    assert_eq!(server.stop().code(), Some(0));
    for source in ["journal", "store"] {
        generation += 1;
        assert_eq!(finish(&site, source), generation);
        let rebuilt = site.check();
        assert_eq!((&rebuilt["generation"], &rebuilt["digest"]), (&generation.into(), &served["digest"]), "{source}");
    }
    let server = site.start(&[]);
    agents.ledger.assert_sound(&server.client());
}

/// The one that takes a new generation over can be killed as well.
#[test]
fn a_server_killed_during_a_rebuild_serves_one_whole_generation() {
    let site = site();
    let mut random = Random::for_test("servers killed during rebuilds");
    let server = site.start(&[]);
    let runs = feed(&server.client());
    let digest = site.check()["digest"].clone();
    let mut server = Some(server);
    for round in 0..4 {
        let source = ["journal", "store"][round % 2];
        let child = rebuild(&site, source);
        sleep(Duration::from_millis(random.between(0, 2_500)));
        server.take().unwrap().kill();
        let restarted = site.start(&[]);
        for (run, expected) in runs.iter().step_by(7) {
            assert!(restarted.client().events("fixed", run).unwrap() == *expected, "{run} in round {round}");
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(site.check()["digest"], digest, "round {round}");
        server = Some(restarted);
    }
}

#[test]
fn a_check_under_load_is_sound_each_time() {
    let site = site();
    let mut random = Random::for_test("checks under load");
    // Small memtables: files come and go while they are checked.
    let server = site.start(&["--memtable", "1MiB"]);
    let mut agents = Agents::start(3, &mut random);
    agents.target.set(Some(server.client()));
    let mut events = 0;
    for _ in 0..15 {
        let now = site.check()["events"].as_u64().unwrap();
        assert!(now >= events, "{now} events after {events}");
        events = now;
    }
    agents.end();
    agents.ledger.assert_sound(&server.client());
    assert_eq!(site.check()["events"], agents.ledger.count().served);
}

#[test]
fn a_rebuild_goes_on_with_its_source_or_begins_anew() {
    let site = site();
    let mut random = Random::for_test("another source");
    let server = site.start(&[]);
    feed(&server.client());
    assert_eq!(server.stop().code(), Some(0));
    let before = site.check();
    kill_half_way(&site, "journal", &mut random);
    let generation = site.check()["generation"].clone();
    let other = site.rebuild("store", &[]).output().unwrap();
    assert!(!other.status.success() && said(&other).contains("--restart"), "{}", said(&other));
    // Half a generation is nothing that a server serves.
    let server = site.start(&[]);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(site.check()["generation"], generation);
    let restarted = site.rebuild("store", &["--restart"]).output().unwrap();
    assert!(restarted.status.success(), "{}", said(&restarted));
    assert_eq!(site.check()["digest"], before["digest"]);
}
