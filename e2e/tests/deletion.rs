//! Deleting runs and jobs while they are sent, and runs that expire: gone from every answer, and after every rebuild.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use e2e::client::{Client, path};
use e2e::payload::{Message, Payload, small_run};
use e2e::process::said;
use e2e::server::{Server, Site};
use e2e::wait;
use serde_json::Value;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn text_of(payload: &Payload) -> Vec<u8> {
    payload.messages.iter().map(|it| format!("{}\n", it.content)).collect::<String>().into_bytes()
}

fn post(client: &Client, payload: &Payload) {
    let answer = client.post("/collect", &payload.to_gzip());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn assert_serves(client: &Client, payload: &Payload) {
    let (job, run) = (&payload.job_name, &payload.run_id);
    wait::until(run, || (client.events(job, run).unwrap() == text_of(payload)).then_some(()));
}

fn is_gone(client: &Client, job: &str, run: &str, id: &str) -> bool {
    let is_404 = |path: String| client.get(&path).status == 404;
    let listed = client.get(&path(&["job", job]));
    let is_listed = listed.status == 200 && listed.json().as_array().unwrap().contains(&run.into());
    !is_listed
        && is_404(format!("/v1/runs/{id}"))
        && is_404(format!("/v1/runs/{id}/events"))
        && is_404(path(&["job", job, run, "events"]))
        && is_404(path(&["job", job, run, "duration"]))
}

fn id_of(client: &Client, job: &str, run: &str) -> String {
    let listed = wait::until(run, || {
        let answer = client.get(&format!("/v1/runs?job={job}"));
        (answer.status == 200).then(|| answer.json())
    });
    let runs = listed["runs"].as_array().unwrap();
    runs.iter().find(|it| it["run_id"] == run).unwrap()["id"].as_str().unwrap().to_owned()
}

fn metric(server: &mut Server, name: &str) -> f64 {
    let value = |client: &Client| {
        let text = client.get("/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok())
    };
    server.metrics().iter().filter_map(value).sum()
}

/// A driver that sends the events of one run without an end.
struct Driver {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Payload>,
}

impl Driver {
    fn start(client: Client, job: &str, run: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, mut all) = (stop.clone(), Payload::new(job, run, vec![]));
        let start = small_run(job, run, 0).messages.swap_remove(0);
        let thread = std::thread::spawn(move || {
            let mut messages = vec![start];
            for i in 0.. {
                let at = 1_795_000_002_000 + i;
                let content = format!(r#"{{"Event":"SparkListenerUnpersistRDD","RDD ID":{i}}}"#);
                messages.push(Message::event(content, at));
                if messages.len() == 20 {
                    all.counters.message_counter += 20;
                    all.messages.extend(messages.iter().cloned());
                    let counters = all.counters.clone();
                    let sent = std::mem::take(&mut messages);
                    post(&client, &Payload { counters, messages: sent, ..all.clone() });
                    sleep(Duration::from_millis(5));
                    if told.load(Ordering::Relaxed) {
                        return all;
                    }
                }
            }
            unreachable!("the counter has an end")
        });
        Self { stop, thread }
    }

    /// All that was sent.
    fn end(self) -> Payload {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn rebuild(site: &Site, source: &str) {
    let output = site.rebuild(source, &[]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// The digest of a store that has never seen anything but these runs.
fn digest_of(runs: &[&Payload]) -> Value {
    let site = site();
    let server = site.start(&[]);
    for run in runs {
        post(&server.client(), run);
        assert_serves(&server.client(), run);
    }
    assert!(server.stop().success());
    site.check()["digest"].clone()
}

#[test]
fn a_run_deleted_while_it_is_sent_stays_deleted_and_others_stay_as_they_are() {
    let site = site();
    let mut server = site.start(&[]);
    let client = server.client();
    let kept: Vec<Payload> = (0..3).map(|i| small_run("kept", &format!("run {i}"), 50)).collect();
    let in_same_job = small_run("job", "another", 50);
    kept.iter().chain([&in_same_job]).for_each(|run| post(&client, run));

    let driver = Driver::start(client.clone(), "job", "deleted");
    wait::until("events", || client.events("job", "deleted").ok().filter(|it| it.len() > 5_000));
    let id = id_of(&client, "job", "deleted");
    let answer = client.delete(&format!("/v1/runs/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Within a second, on a machine that has nothing else to do.
    wait::until("the run to be gone", || is_gone(&client, "job", "deleted", &id).then_some(()));
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert!(is_gone(&client, "job", "deleted", &id));
    }
    wait::until("late events", || (metric(&mut server, "emberlog_materializer_dropped_total") > 100.0).then_some(()));
    driver.end();
    assert_eq!(metric(&mut server, "emberlog_materializer_deleted_runs_total"), 1.0);
    kept.iter().chain([&in_same_job]).for_each(|run| assert_serves(&client, run));

    let expected = digest_of(&kept.iter().chain([&in_same_job]).collect::<Vec<_>>());
    assert_eq!(site.check()["digest"], expected);
    for source in ["journal", "store"] {
        rebuild(&site, source);
        post(&client, &small_run("job", "deleted", 30));
        assert!(is_gone(&client, "job", "deleted", &id), "after a rebuild from the {source}");
        assert_eq!(site.check()["digest"], expected, "after a rebuild from the {source}");
    }
    // Deleting what is gone, or what never was, changes nothing.
    assert_eq!(client.delete(&format!("/v1/runs/{id}")).status, 200);
    assert_eq!(client.delete("/v1/jobs?job=unheard%20of").status, 200);
    assert!(server.stop().success());
    let server = site.start(&[]);
    assert!(is_gone(&server.client(), "job", "deleted", &id));
    assert_eq!(site.check()["digest"], expected);
}

#[test]
fn a_job_is_deleted_with_the_runs_it_has_and_takes_new_ones() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let kept = small_run("kept", "r", 20);
    let gone: Vec<Payload> = (0..8).map(|i| small_run("a/b ü", &format!("run {i}"), 20)).collect();
    for run in gone.iter().chain([&kept]) {
        post(&client, run);
        assert_serves(&client, run);
    }
    assert_eq!(client.delete("/v1/jobs?job=a%2Fb%20%C3%BC").status, 200);
    wait::until("the job to be gone", || (client.get("/job").json() == serde_json::json!(["kept"])).then_some(()));
    assert_eq!(client.get(&path(&["job", "a/b ü"])).status, 404);
    assert_eq!(site.check()["digest"], digest_of(&[&kept]));
    // Tonight's run of it.
    let new = small_run("a/b ü", "tonight", 20);
    [&new, &gone[0]].iter().for_each(|run| post(&client, run));
    assert_serves(&client, &new);
    assert_eq!(client.get(&path(&["job", "a/b ü"])).json(), serde_json::json!(["tonight"]));
    let expected = digest_of(&[&kept, &new]);
    for source in ["journal", "store"] {
        rebuild(&site, source);
        assert_eq!(site.check()["digest"], expected, "after a rebuild from the {source}");
    }
}

#[test]
fn a_run_that_is_reopened_holds_only_what_came_later() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    post(&client, &small_run("job", "r", 50));
    assert_serves(&client, &small_run("job", "r", 50));
    let id = id_of(&client, "job", "r");
    assert_eq!(client.delete(&format!("/v1/runs/{id}?reopen=true")).status, 200);
    let again = small_run("job", "r", 10);
    post(&client, &again);
    assert_serves(&client, &again);
    let expected = digest_of(&[&again]);
    for source in ["store", "journal"] {
        rebuild(&site, source);
        assert_eq!(site.check()["digest"], expected, "after a rebuild from the {source}");
    }
    assert_serves(&client, &again);
}

#[test]
fn runs_expire_under_load_and_one_that_goes_on_never_does() {
    const JOBS: [&str; 2] = ["nightly", "hourly"];
    let site = site();
    let flags = ["--retain-runs", "3", "--retain-interval", "200ms", "--lost-after", "1s"];
    let mut server = site.start(&flags);
    let client = server.client();
    // Older than all others, and never ended.
    let drivers = JOBS.map(|job| Driver::start(client.clone(), job, "goes on"));
    let ended = |job: &str, i: usize| {
        let mut run = small_run(job, &format!("run {i:02}"), 30);
        // Each begins after the one before.
        let later = i64::try_from(i).unwrap() * 1_000_000 + 1_000_000;
        let start = &mut run.messages[0];
        start.content = start.content.replace("1795000000000", &(1_795_000_000_000 + later).to_string());
        run
    };
    for i in 0..20 {
        JOBS.iter().for_each(|job| post(&client, &ended(job, i)));
        sleep(Duration::from_millis(100));
    }
    for job in JOBS {
        // The one that goes on stays beyond the three.
        let expected = serde_json::json!(["goes on", "run 17", "run 18", "run 19"]);
        wait::until("old runs to expire", || (client.get(&path(&["job", job])).json() == expected).then_some(()));
        (17..20).for_each(|i| assert_serves(&client, &ended(job, i)));
    }
    // They are counted when they are gone already.
    let expired = "emberlog_materializer_expired_runs_total";
    wait::until("the count of them", || (metric(&mut server, expired) >= 34.0).then_some(()));
    assert_eq!(metric(&mut server, expired), 34.0);
    for driver in drivers {
        let sent = driver.end();
        assert_serves(&client, &sent);
        let run = client.get(&path(&["job", &sent.job_name, "goes on", "duration"])).json();
        assert_eq!(run["final"], false, "{run}");
    }
    // What has expired does not come back: neither late, nor by a rebuild.
    post(&client, &ended("nightly", 0));
    let before = site.check();
    for source in ["journal", "store"] {
        rebuild(&site, source);
        let after = site.check();
        assert_eq!((&after["digest"], &after["runs"]), (&before["digest"], &8.into()), "from the {source}");
    }
}
