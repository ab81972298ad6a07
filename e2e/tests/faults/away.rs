//! A broker that is away: refusals in time, reads as before, and all goes on when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use e2e::agent::Agents;
use e2e::client::Client;
use e2e::delight::bulk;
use e2e::parts::{Part, Parts};
use e2e::payload::small_run;
use e2e::process::{command_of, said};
use e2e::random::Random;
use e2e::server::data_dir;
use e2e::topic::Topic;
use e2e::wait;
use kafka_broker::Cluster;

/// The promise is 5 s; the rest is for a machine that has other things to do. Without it, answers would come when the
/// broker thaws.
const IN_TIME: Duration = Duration::from_secs(25);
const FROZEN: Duration = Duration::from_secs(40);

/// Posts one payload after the other, the same again and again, and measures each answer.
struct Prober {
    path: &'static str,
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Prober {
    /// `path` and `body`: what is posted.
    fn start(client: Client, path: &'static str, body: Vec<u8>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (taken, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (told, counts) = (stop.clone(), [taken.clone(), refused.clone()]);
        let thread = spawn(move || {
            let mut refusals = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = client.post_once(path, &body);
                assert!([200, 503].contains(&answer.status), "{path}: {}", answer.text());
                let is_refused = answer.status == 503;
                if is_refused {
                    refusals.push(began.elapsed());
                    assert!(answer.header("retry-after").is_some());
                    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
                }
                counts[usize::from(is_refused)].fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20));
            }
            refusals
        });
        Self { path, stop, taken, refused, thread }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// How long each refusal took.
    fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Until each of them has had so many more of the answers that are counted.
fn await_more(what: &str, probers: &[Prober], count: fn(&Prober) -> usize, more: usize) {
    let before: Vec<_> = probers.iter().map(count).collect();
    wait::until(what, || probers.iter().zip(&before).all(|(it, before)| count(it) >= before + more).then_some(()));
}

#[test]
fn while_the_broker_is_stopped_killed_or_frozen_answers_are_in_time_and_then_all_goes_on() {
    let _alone = crate::alone();
    let mut random = Random::for_test("away");
    let mut cluster = Cluster::start(1);
    let (data, topic) = (data_dir(), Topic::on(&cluster, 3));
    let mut parts = Parts::started(&topic, data.path(), &[]);
    let client = parts.client();
    let mut agents = Agents::start(3, &mut random);
    agents.target.set(Some(client.clone()));
    for how in ["stopped", "killed", "frozen"] {
        let run = small_run("probe", "run", 3);
        let lines = String::from_utf8(e2e::case::lines(&run)).unwrap();
        let probers = [
            ("/collect", run.to_gzip()),
            ("/collector/bulk", bulk("probe", 5, &lines)),
            ("/collector/heartbeat", br#"{"dmAppId":"probe"}"#.to_vec()),
            ("/v1/ingest/probe/lines", lines.into_bytes()),
        ]
        .map(|(path, body)| Prober::start(client.clone(), path, body));
        await_more("what is taken in before", &probers, Prober::taken, 10);
        match how {
            "stopped" => cluster.stop(1),
            "killed" => cluster.kill(1),
            _ => cluster.freeze(1),
        }
        if how == "frozen" {
            sleep(FROZEN);
        }
        await_more("refusals", &probers, Prober::refused, 1);
        for part in Part::ALL {
            assert_eq!(parts.client_of(part).get("/health/live").status, 200, "{part:?} while {how}");
        }
        // Of what was applied, nothing is away.
        assert_eq!((client.get("/health/ready").status, client.get("/job").status), (200, 200), "while {how}");
        if how == "frozen" {
            cluster.thaw(1);
        } else {
            cluster.launch(1);
        }
        cluster.await_ready();
        let back = Instant::now();
        await_more("what is taken in again", &probers, Prober::taken, 10);
        let taken = back.elapsed();
        for prober in probers {
            let path = prober.path;
            let mut refusals = prober.end();
            refusals.sort();
            let (median, slowest) = (refusals[refusals.len() / 2], refusals[refusals.len() - 1]);
            println!("{how}, {path}: {} refused after {median:?}, at most {slowest:?}", refusals.len());
            assert!(slowest < IN_TIME, "{how}, {path}: the slowest after {slowest:?}");
        }
        println!("{how}: taken in again {taken:?} after the broker was");
        assert!(taken < Duration::from_secs(60), "{how}: it went on only {taken:?} after the broker");
        agents.ledger.assert_sound(&client);
        for part in Part::ALL {
            parts.await_ready(part);
        }
    }
    agents.end();
    agents.ledger.assert_sound(&client);
    assert_eq!(parts.stop_all().code(), Some(0));
    println!("{:?}", agents.ledger.count());
}

#[test]
fn parts_start_in_any_order_and_wait_for_the_brokers_that_come_last() {
    let mut cluster = Cluster::start(1);
    for first in 0..3 {
        cluster.kill(1);
        let (data, topic) = (data_dir(), Topic::named(&cluster.bootstrap()));
        let mut parts = Parts::new(&topic, data.path(), &[]);
        for i in 0..3 {
            let part = Part::ALL[(first + i) % 3];
            parts.start(part);
            sleep(Duration::from_millis(300));
            let readiness = parts.readiness(part);
            assert_eq!(parts.client_of(part).get("/health/live").status, 200, "{part:?}");
            // A store that is empty can be served.
            assert!(part == Part::Api || readiness.status == 503, "{part:?}: {}", readiness.text());
        }
        let client = parts.client();
        let began = Instant::now();
        let refused = client.post_once("/collect", &small_run("job", "run", 3).to_gzip());
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some() && began.elapsed() < IN_TIME, "{:?}", began.elapsed());
        let mut init =
            command_of("emberlog", &["init", "--partitions", "3", "--replication-factor", "1", "--patience", "5m"]);
        let init = spawn({
            init.args(topic.flags());
            move || init.output().unwrap()
        });
        sleep(Duration::from_secs(2));
        cluster.restart(1);
        let init = init.join().unwrap();
        assert!(init.status.success() && said(&init).contains("was created"), "{}", said(&init));
        Part::ALL.iter().for_each(|part| parts.await_ready(*part));
        let payload = small_run("job", "run", 3);
        assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
        wait::until("the run", || (client.events("job", "run").unwrap() == e2e::case::lines(&payload)).then_some(()));
        assert_eq!(parts.stop_all().code(), Some(0));
    }
}
