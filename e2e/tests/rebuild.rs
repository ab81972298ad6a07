//! New generations of the store: made while the old one is served, killed half way and finished, and never at the
//! price of history.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use e2e::agent::Agents;
use e2e::client::{Client, path};
use e2e::payload::{Message, Payload, small_run};
use e2e::random::Random;
use e2e::server::{Server, check, command, data_dir, said, tool};
use e2e::wait;
use serde_json::Value;

const RUNS: usize = 60;
const TASKS: i64 = 4_000;

fn rebuild(data: &Path, source: &str) -> Child {
    let mut command = command(&["rebuild", "--from", source, "--patience", "2m", "--data-dir"]);
    command.arg(data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The generation in the making: its number and whether it is ready.
fn next(data: &Path) -> Option<(u64, bool)> {
    let text = std::fs::read(data.join("store").join("NEXT")).ok()?;
    let next: Value = serde_json::from_slice(&text).unwrap();
    Some((next["generation"].as_u64()?, next["ready"].as_bool()?))
}

/// Kills a rebuild in the middle, and returns what it was making.
fn kill_half_way(data: &Path, source: &str, random: &mut Random) -> u64 {
    let mut child = rebuild(data, source);
    wait::until("the rebuild's beginning", || next(data));
    sleep(Duration::from_millis(random.between(50, 250)));
    child.kill().unwrap();
    child.wait().unwrap();
    let (generation, is_ready) = next(data).unwrap();
    assert!(!is_ready, "the rebuild was over before it was killed: it needs more to do");
    generation
}

fn finish(data: &Path, source: &str) -> u64 {
    let output = rebuild(data, source).wait_with_output().unwrap();
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
    let runs: Vec<_> = (0..RUNS).map(feed_one).collect();
    for (run, expected) in &runs {
        wait::until(run, || (client.events("fixed", run).unwrap().len() == expected.len()).then_some(()));
    }
    runs
}

#[test]
fn rebuilds_under_load_killed_half_way_end_with_one_digest_and_are_never_seen() {
    let data = data_dir();
    let mut random = Random::for_test("rebuilds");
    let server = Server::start(data.path(), &[]);
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

    let killed = kill_half_way(data.path(), "journal", &mut random);
    assert_eq!((killed, finish(data.path(), "journal")), (2, 2));
    let killed = kill_half_way(data.path(), "store", &mut random);
    assert_eq!((killed, finish(data.path(), "store")), (3, 3));
    let polls = poller.polls();
    wait::until("reads of the last generation", || (poller.polls() > polls + 20).then_some(()));
    poller.end();
    is_over.store(true, Ordering::Relaxed);
    judge.join().unwrap();
    agents.end();
    agents.ledger.assert_sound(&client);
    println!("{polls} polls, {:?}", agents.ledger.count());
    assert!(polls > 20, "only {polls} polls");

    let served = check(data.path());
    assert_eq!(served["generation"], 3);
    assert_eq!(server.stop().code(), Some(0));
    for (generation, source) in [(4, "journal"), (5, "store")] {
        assert_eq!(finish(data.path(), source), generation);
        let rebuilt = check(data.path());
        assert_eq!((&rebuilt["generation"], &rebuilt["digest"]), (&generation.into(), &served["digest"]), "{source}");
    }
    let server = Server::start(data.path(), &[]);
    agents.ledger.assert_sound(&server.client());
}

/// The one that takes a new generation over can be killed as well.
#[test]
fn a_server_killed_during_a_rebuild_serves_one_whole_generation() {
    let data = data_dir();
    let mut random = Random::for_test("servers killed during rebuilds");
    let server = Server::start(data.path(), &[]);
    let runs = feed(&server.client());
    let digest = check(data.path())["digest"].clone();
    let mut server = Some(server);
    for round in 0..4 {
        let source = ["journal", "store"][round % 2];
        let child = rebuild(data.path(), source);
        sleep(Duration::from_millis(random.between(0, 2_500)));
        server.take().unwrap().kill();
        let restarted = Server::start(data.path(), &[]);
        for (run, expected) in runs.iter().step_by(7) {
            assert!(restarted.client().events("fixed", run).unwrap() == *expected, "{run} in round {round}");
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(check(data.path())["digest"], digest, "round {round}");
        server = Some(restarted);
    }
}

#[test]
fn a_check_under_load_is_sound_each_time() {
    let data = data_dir();
    let mut random = Random::for_test("checks under load");
    // Small memtables: files come and go while they are checked.
    let server = Server::start(data.path(), &["--memtable", "1MiB"]);
    let mut agents = Agents::start(3, &mut random);
    agents.target.set(Some(server.client()));
    let mut events = 0;
    for _ in 0..15 {
        let now = check(data.path())["events"].as_u64().unwrap();
        assert!(now >= events, "{now} events after {events}");
        events = now;
    }
    agents.end();
    agents.ledger.assert_sound(&server.client());
    assert_eq!(check(data.path())["events"], agents.ledger.count().served);
}

/// Text that does not compress, so that few events fill a segment of the journal.
fn noise(random: &mut Random, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        let mut number = random.number();
        for _ in 0..10 {
            text.push(char::from(LETTERS[usize::try_from(number % 64).unwrap()]));
            number /= 64;
        }
    }
    text
}

/// The offset at which the journal begins, by the name of its oldest segment.
fn journal_start(data: &Path) -> u64 {
    let files = std::fs::read_dir(data.join("journal")).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.split('.').next()?.parse().ok()).min().unwrap()
}

#[test]
fn what_the_journal_no_longer_holds_is_lost_by_no_rebuild() {
    const RUNS: u64 = 18;
    let data = data_dir();
    let mut random = Random::for_test("retention");
    let server = Server::start(data.path(), &["--journal-retention-size", "1MiB"]);
    let client = server.client();
    for i in 0..RUNS {
        let event = format!(r#"{{"Event":"E","n":{i},"text":"{}"}}"#, noise(&mut random, 12_000_000));
        let payload = Payload::new("large", &format!("run {i:02}"), vec![Message::event(event, 1)]);
        assert_eq!(client.post("/collect", &payload.to_json()).status, 200);
    }
    // A segment may go once the store that applied it is synced: every minute.
    let deadline = Instant::now() + Duration::from_secs(180);
    while journal_start(data.path()) == 0 {
        assert!(Instant::now() < deadline, "no segment was removed");
        sleep(Duration::from_millis(200));
    }
    let whole = check(data.path());
    assert_eq!(whole["runs"], RUNS);
    assert_eq!(server.stop().code(), Some(0));
    // One record a run: the offset of the first one held is the number of those that are gone.
    let gone = journal_start(data.path());
    assert!((1..RUNS).contains(&gone), "{gone}");

    let refused = tool(data.path(), &["rebuild", "--from", "journal"]);
    assert!(!refused.status.success());
    let text = said(&refused);
    for part in [&format!("{gone} runs would vanish or lose events"), "rebuild from the store", "--accept-loss"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(check(data.path())["digest"], whole["digest"]);

    // What was refused has begun nothing that the other way would have to give up.
    finish(data.path(), "store");
    let kept = check(data.path());
    assert_eq!((&kept["digest"], &kept["runs"]), (&whole["digest"], &whole["runs"]));

    let accepted = tool(data.path(), &["rebuild", "--from", "journal", "--accept-loss", "--drop-old"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    assert_eq!(check(data.path())["runs"], RUNS - gone);
    let server = Server::start(data.path(), &[]);
    let listed = server.client().get("/job/large").json();
    let expected: Vec<_> = (gone..RUNS).map(|i| format!("run {i:02}")).collect();
    assert_eq!(listed, serde_json::json!(expected));
}

#[test]
fn a_rebuild_goes_on_with_its_source_or_begins_anew() {
    let data = data_dir();
    let mut random = Random::for_test("another source");
    let server = Server::start(data.path(), &[]);
    feed(&server.client());
    assert_eq!(server.stop().code(), Some(0));
    let before = check(data.path());
    kill_half_way(data.path(), "journal", &mut random);
    let other = tool(data.path(), &["rebuild", "--from", "store"]);
    assert!(!other.status.success() && said(&other).contains("--restart"), "{}", said(&other));
    // Half a generation is nothing that a server serves.
    let server = Server::start(data.path(), &[]);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(check(data.path())["generation"], 1);
    let restarted = tool(data.path(), &["rebuild", "--from", "store", "--restart"]);
    assert!(restarted.status.success(), "{}", said(&restarted));
    assert_eq!(check(data.path())["digest"], before["digest"]);
}
