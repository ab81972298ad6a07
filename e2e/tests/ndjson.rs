//! Events one a line, from what is no JVM.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::client::{Client, path, undisturbed};
use e2e::payload::gzip;
use e2e::random::Random;
use e2e::server::Site;
use e2e::wait;
use serde_json::{Value, json};

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn event(n: usize) -> String {
    format!("{{\"Event\":\"E\",\"n\":{n},\"text\":\"{}\"}}\n", "ü\u{2028}".repeat(n % 50))
}

fn state(client: &Client, job: &str, run: &str, query: &str) -> Value {
    let answer = client.get_applied(&format!("{}{query}", path(&["v1", "ingest", job, run])));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn post(client: &Client, job: &str, run: &str, query: &str, body: &[u8]) -> Value {
    let path = format!("{}{query}", path(&["v1", "ingest", job, run]));
    let answer = client.post(&path, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Where an answer's records are, as a parameter of reads.
fn wait_for(answer: &Value) -> String {
    format!("wait_for={}:{}", answer["journal"]["partition"], answer["journal"]["offset"])
}

/// Sends from where the server says until all is stored, or the server is away. Tells how far it is.
fn send(client: &Client, events: &[String], sent: &AtomicUsize, random: &mut Random) -> Option<()> {
    loop {
        let asked = client.try_get(&path(&["v1", "ingest", "job", "run"])).ok()?;
        let first = usize::try_from(asked.json()["next_sequence"].as_u64().unwrap()).unwrap();
        sent.store(first, Ordering::Relaxed);
        if first == events.len() {
            return Some(());
        }
        let end = events.len().min(first + usize::try_from(random.between(1, 200)).unwrap());
        let body = events[first..end].concat().into_bytes();
        let body = if random.percent(50) { gzip(&body) } else { body };
        let target = format!("{}?first_sequence={first}", path(&["v1", "ingest", "job", "run"]));
        let answer = client.try_post(&target, &[], &body).ok()?;
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        if answer.status == 200 && random.percent(80) {
            // Else it asks before that is applied, and sends it again.
            let _ = client.try_get(&format!("/v1/ingest/job/run?{}", wait_for(&answer.json())));
        }
    }
}

#[test]
fn a_client_that_is_cut_asks_where_to_go_on_and_nothing_is_lost_or_doubled() {
    const KILLS: usize = 8;
    let site = site();
    let mut random = Random::for_test("ndjson");
    let events: Vec<_> = (0..40_000).map(event).collect();
    let (mut kills, mut cut) = (0, 0);
    loop {
        let server = site.start(&[]);
        let client = server.client();
        let is_done = AtomicBool::new(false);
        let sent = AtomicUsize::new(0);
        let goal = events.len() * (kills + 1) / (KILLS + 2);
        let pause = Duration::from_millis(random.between(0, 30));
        std::thread::scope(|scope| {
            let (client, events, is_done, sent) = (&client, &events, &is_done, &sent);
            let mut random = Random::for_test(&format!("ndjson {kills}"));
            scope.spawn(move || is_done.store(send(client, events, sent, &mut random).is_some(), Ordering::Relaxed));
            if kills < KILLS {
                wait::until("a part of it", || (sent.load(Ordering::Relaxed) >= goal).then_some(()));
                std::thread::sleep(pause);
                server.kill();
            } else {
                wait::until("all of it", || is_done.load(Ordering::Relaxed).then_some(()));
                let found = state(client, "job", "run", "");
                assert_eq!(
                    json!([found["next_sequence"], found["events"], found["ingested"]]),
                    json!([40_000, 40_000, 40_000])
                );
                let served = client.events("job", "run").unwrap();
                assert!(served == events.concat().into_bytes(), "{} bytes", served.len());
                assert!(server.stop().success());
            }
        });
        cut += usize::from(!is_done.load(Ordering::Relaxed));
        if kills == KILLS {
            break;
        }
        kills += 1;
    }
    assert!(cut >= 3, "cut {cut} times only");
    assert_eq!(site.check()["events"], 40_000);
}

#[test]
fn a_hole_is_where_to_go_on_and_a_bad_line_leaves_one() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(event);
    post(&client, "j", "r", "?first_sequence=3", format!("{d}\n\nno event\n{e}").as_bytes());
    let answer = post(&client, "j", "r", "", format!("{a}\r\n{b}").as_bytes());
    let found = state(&client, "j", "r", &format!("?{}", wait_for(&answer)));
    assert_eq!(json!([found["next_sequence"], found["events"]]), json!([2, 4]), "{found}");
    let answer = post(&client, "j", "r", "?first_sequence=2", c.as_bytes());
    let found = state(&client, "j", "r", &format!("?{}", wait_for(&answer)));
    assert_eq!(json!([found["next_sequence"], found["events"]]), json!([4, 5]), "{found}");
    assert_eq!(client.get("/job/j/r/events").text(), [a, b, c, d, e].concat());
}

#[test]
fn attempts_lie_behind_each_other_whenever_they_come() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        let client = server.client();
        let lines = |attempt: usize| [event(10 * attempt), event(10 * attempt + 1)].concat();
        let mut last = Value::Null;
        for attempt in [2, 0, 1, 2, 0] {
            last = post(&client, "j", "r", &format!("?attempt={attempt}"), lines(attempt).as_bytes());
        }
        let found = state(&client, "j", "r", &format!("?attempt=1&{}", wait_for(&last)));
        assert_eq!(json!([found["next_sequence"], found["events"]]), json!([2, 6]), "{found}");
        assert_eq!(client.get("/job/j/r/events").text(), (0..3).map(lines).collect::<String>());
        let run = &client.get("/v1/runs?job=j").json()["runs"][0];
        assert_eq!(json!([run["gaps"], run["conflicts"], run["duplicates"]]), json!([0, 0, 4]), "{run}");
    });
}

#[test]
fn names_may_be_anything() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let long = "x".repeat(4096);
    for name in ["..", ".", " ", "a/b", "%2F", "a?b#c&d=e", "\n\u{2028}\0", "\"'<>\\", "日本語", "+", &long] {
        let answer = post(&client, name, name, "?first_sequence=0", event(1).as_bytes());
        let found = state(&client, name, name, &format!("?{}", wait_for(&answer)));
        assert_eq!(json!([found["job_name"], found["run_id"], found["next_sequence"]]), json!([name, name, 1]));
        assert_eq!(client.events(name, name).unwrap(), event(1).into_bytes());
    }
    let jobs = client.get("/job").json();
    assert_eq!(jobs.as_array().unwrap().len(), 11, "{jobs}");
}

#[test]
fn the_example_in_python_sends_a_file_and_goes_on_where_it_stopped() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let file = site.path().join("events.ndjson");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/send_lines.py");
    for count in [1500, 1500, 2700] {
        let events: Vec<_> = (0..count).map(event).collect();
        std::fs::write(&file, events.concat()).unwrap();
        let output =
            Command::new("python3").arg(&example).args([&server.url, "job", "a run/1"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", e2e::process::said(&output));
        wait::until("the events", || {
            (client.events("job", "a run/1").unwrap() == events.concat().into_bytes()).then_some(())
        });
    }
    // A file that ends with what is no event: it is told, and no reason to fail when it is sent again.
    std::fs::write(&file, (0..2700).map(event).chain(["no event\n".to_owned()]).collect::<String>()).unwrap();
    for _ in 0..2 {
        let output =
            Command::new("python3").arg(&example).args([&server.url, "job", "a run/1"]).arg(&file).output().unwrap();
        let text = e2e::process::said(&output);
        assert!(output.status.success() && text.contains("stored: 0, dead_lettered: 1"), "{text}");
    }
    assert_eq!(client.post("/v1/ingest/job/none", b"no event\n").status, 400);
    let run = &client.get("/v1/runs?job=job").json()["runs"][0];
    assert_eq!((&run["events"], &run["duplicates"]), (&2700.into(), &0.into()), "{run}");
}
