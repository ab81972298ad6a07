//! The Delight agent: what it sent in a recorded run, and what its retries and its users make of it.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};

use e2e::client::{Client, path, undisturbed};
use e2e::delight::{bulk, events, metrics};
use e2e::process::said;
use e2e::recorded::{self, Request};
use e2e::server::Site;
use e2e::spark::{HistoryServer, assert_same_events};
use e2e::wait;
use serde_json::Value;

const JOB: &str = "spark-pi";
const RUN: &str = "spark-pi-02079b28-91ee-4c4e-ae84-65e316674a35";
const APP: &str = "local-1795228883737";
/// What Spark 3.5 redacts in its own log.
const AS_SPARK: [&str; 2] = ["--redact-pattern", "(?i)secret|password|token|access[.]?key"];

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn post(client: &Client, path: &str, body: &[u8]) -> Value {
    let headers = [("x-api-key", "test-token"), ("content-type", "text/plain; charset=ISO-8859-1")];
    let answer = client.post_with(path, &headers, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Sends all of a request and goes away: at once, or when the answer is there to be read.
fn lose_the_answer(client: &Client, request: &Request, is_answered: bool) {
    let mut stream = client.connect();
    let length = request.body.len();
    write!(stream, "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n", request.path).unwrap();
    stream.write_all(&request.body).unwrap();
    if is_answered {
        assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    }
}

fn run_of(client: &Client, app_id: &str) -> Option<Value> {
    let answer = client.get(&path(&["apps", app_id]));
    (answer.status == 200).then(|| answer.json())
}

/// The run once it has as many events.
fn run_with(client: &Client, app_id: &str, events: usize) -> Value {
    wait::until(&format!("{events} events of {app_id}"), || run_of(client, app_id).filter(|it| it["events"] == events))
}

fn served(client: &Client, job: &str, run: &str) -> Vec<String> {
    client.get(&path(&["job", job, run, "events"])).lines()
}

#[test]
fn what_the_agent_sent_is_served_once_and_in_order_though_answers_were_lost() {
    let site = site();
    let server = site.start(&AS_SPARK);
    let client = server.client();
    let requests = recorded::requests_of("delight");
    let sent: Vec<_> = requests.iter().flat_map(events).collect();
    assert_eq!((requests.len(), sent.len()), (9, 85));
    for (n, request) in requests.iter().enumerate() {
        lose_the_answer(&client, request, n % 2 == 0);
        post(&client, &request.path, &request.body);
    }
    requests.iter().for_each(|request| drop(post(&client, &request.path, &request.body)));
    let run = wait::until("all deliveries", || {
        run_of(&client, RUN).filter(|it| it["events"] == 85 && it["duplicates"].as_u64() >= Some(85))
    });
    assert_eq!((&run["job_name"], &run["run_id"], &run["status"]), (&JOB.into(), &RUN.into(), &"finished".into()));
    assert_eq!((&run["gaps"], &run["conflicts"], &run["complete"]), (&0.into(), &0.into(), &true.into()), "{run}");

    let log = String::from_utf8(recorded::event_log_of("delight")).unwrap();
    let environment = log.lines().find(|it| it.contains("EnvironmentUpdate")).unwrap();
    let served = served(&client, JOB, RUN);
    for (served, sent) in served.iter().zip(&sent) {
        assert_eq!(served, if sent.contains("EnvironmentUpdate") { environment } else { sent });
    }
    // Spark leaves one event out of its log, and writes one before the agent listens.
    let is_logged = |line: &&str| {
        !["BlockUpdated", "ResourceProfileAdded"].iter().any(|it| line.contains(&format!(r#""SparkListener{it}""#)))
    };
    let both = [&served.join("\n"), &log].map(|it| it.lines().filter(is_logged).map(str::to_owned).collect::<Vec<_>>());
    assert_same_events(&both[0], &both[1], JOB);

    let exported = client.get(&format!("{}?format=eventlog", path(&["job", JOB, RUN, "events"])));
    assert!(exported.header("content-disposition").unwrap().contains(APP));
    let logs = site.path().join("exported");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join(APP), &exported.body).unwrap();
    let described = HistoryServer::start("3.5", &logs, 1).describe(APP);
    let (application, jobs) = (&described[0].1, &described[1].1);
    assert_eq!(application["attempts"][0]["completed"], true, "{application}");
    let done = |it: &Value| (it["status"].clone(), it["numCompletedTasks"].clone());
    let jobs: Vec<_> = jobs.as_array().unwrap().iter().map(done).collect();
    assert_eq!(jobs, [("SUCCEEDED".into(), 12.into()), ("SUCCEEDED".into(), 20.into())]);
    drop(client);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(site.check()["events"], 85);
}

fn context(app: &str, start: i64) -> String {
    let end = start + 50;
    format!(
        "{{\"Event\":\"SparkListenerLogStart\",\"Spark Version\":\"3.5.9\"}}\n\
         {{\"Event\":\"SparkListenerApplicationStart\",\"App Name\":\"{app}\",\"App ID\":\"{app}\",\"Timestamp\":{start},\"User\":\"u\"}}\n\
         {{\"Event\":\"SparkListenerTaskEnd\",\"Stage ID\":0,\"at\":{start}}}\n\
         {{\"Event\":\"SparkListenerApplicationEnd\",\"Timestamp\":{end}}}\n"
    )
}

#[test]
fn several_contexts_in_one_stream_are_applications_of_one_run() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let [first, second] = [context("first", 1_795_000_000_000), context("second", 1_795_000_001_000)];
    post(&client, "/collector/bulk", &bulk("notebook", 8, &format!("{first}{second}")));
    let run = run_with(&client, "notebook", 8);
    let applications: Vec<_> = run["applications"].as_array().unwrap().iter().map(|it| it["app_id"].clone()).collect();
    assert_eq!(applications, ["first", "second"]);
    assert_eq!(
        (&run["status"], &run["complete"], &run["duration_ms"]),
        (&"finished".into(), &true.into(), &1050.into())
    );
    let events = path(&["job", "notebook", "notebook", "events"]);
    for (number, text) in [(1, first), (2, second)] {
        let answer = client.get(&format!("{events}?format=eventlog&application={number}"));
        assert_eq!(answer.text(), text);
    }
}

#[test]
fn an_id_that_is_used_for_two_nights_loses_nothing() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        let client = server.client();
        // Spark says the same first words every night: one of them is kept.
        let nights = [context("night 1", 1_795_000_000_000), context("night 2", 1_795_086_400_000)];
        for _ in 0..2 {
            for night in &nights {
                post(&client, "/collector/bulk", &bulk("nightly", 4, night));
            }
        }
        let run = wait::until("both nights twice", || run_of(&client, "nightly").filter(|it| it["duplicates"] == 9));
        assert_eq!((&run["events"], &run["conflicts"]), (&7.into(), &3.into()), "{run}");
        let served = served(&client, "nightly", "nightly");
        for line in nights.iter().flat_map(|it| it.lines()) {
            assert_eq!(served.iter().filter(|it| *it == line).count(), 1, "{line}");
        }
    });
}

#[test]
fn a_retry_that_has_grown_and_changed_is_stored_once() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        let client = server.client();
        let task = |id: i64, finish: i64| {
            format!(
                "{{\"Event\":\"SparkListenerTaskStart\",\"Stage ID\":0,\"Stage Attempt ID\":0,\"Task Info\":{{\"Task ID\":{id},\"Launch Time\":5,\"Finish Time\":{finish}}}}}\n"
            )
        };
        let lines = |count: i64, finish: i64| (0..count).map(|id| task(id, finish)).collect::<String>();
        post(&client, "/collector/bulk", &bulk("app", 3, &lines(3, 0)));
        post(&client, "/collector/bulk", &bulk("app", 6, &lines(6, 7)));
        post(&client, "/collector/bulk", &bulk("app", 6, &lines(6, 9)[task(0, 9).len()..]));
        let run = wait::until("all of it", || run_of(&client, "app").filter(|it| it["duplicates"] == 8));
        assert_eq!((&run["events"], &run["conflicts"], &run["gaps"]), (&6.into(), &0.into(), &0.into()), "{run}");
        let expected = [lines(3, 0), lines(6, 7)[lines(3, 7).len()..].to_owned()].concat();
        assert_eq!(served(&client, "app", "app").join("\n") + "\n", expected);
    });
}

#[test]
fn what_could_not_be_read_is_kept_and_stored_when_it_is_mended() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        let client = server.client();
        let text = |n: i64| format!("{{\"Event\":\"E\",\"n\":{n}}}");
        let lines = |middle: &str| format!("{}\n{middle}\n{}\n", text(0), text(2));
        let whole = bulk("letters", 3, &lines("this is {no JSON"));
        assert_eq!(post(&client, "/collector/bulk", &whole)["dead_lettered"], 1);
        assert_eq!(post(&client, "/collector/bulk", &whole[..whole.len() - 2])["dead_lettered"], 1);
        run_with(&client, "letters", 2);
        let list = said(&site.dead_letters(&["list"]));
        assert!(list.contains("payload") && list.contains("line 2: "), "{list}");
        let mended = site.path().join("mended");
        for (id, bytes) in [("0", text(1).into_bytes()), ("1", bulk("letters", 3, &lines(&text(1))))] {
            std::fs::write(&mended, bytes).unwrap();
            let output = site.dead_letters(&["replay", "--url", &server.url, id, "--with", mended.to_str().unwrap()]);
            assert!(output.status.success() && said(&output).contains("1 stored, 0 still"), "{}", said(&output));
            run_with(&client, "letters", 3);
        }
        assert_eq!(served(&client, "letters", "letters"), [text(0), text(1), text(2)]);
    });
}

#[test]
fn samples_are_kept_with_the_run_and_go_with_it() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let sample = |at: i64| {
        format!("{{\"host\":\"driver\",\"kind\":\"memory\",\"timestamp\":{at},\"metrics\":{{\"heap\":{at}}}}}\n")
    };
    let [late, early] = [sample(30), sample(10) + &sample(20)];
    for lines in [&late, &early, &early] {
        post(&client, "/collector/metrics", &metrics("app", lines));
    }
    let run = wait::until("the samples", || run_of(&client, "app").filter(|it| it["samples"] == 3));
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(client.get(&format!("{path}/samples")).text(), early + &late);
    let digest = |site: &Site| site.check()["digest"].clone();
    drop(client);
    assert!(server.stop().success());
    let before = digest(&site);
    for source in ["store", "journal"] {
        let rebuilt = site.rebuild(source, &[]).output().unwrap();
        assert!(rebuilt.status.success(), "{}", said(&rebuilt));
        assert_eq!(digest(&site), before, "{source}");
    }
}

#[test]
fn an_application_that_nothing_came_of_is_not_found_and_the_answer_says_what_to_look_at() {
    let site = site();
    let server = site.start(&[]);
    let answer = server.client().get("/apps/none");
    assert_eq!(answer.status, 404);
    assert!(answer.message().contains("spark.delight.collector.url"), "{}", answer.text());
    // At the address that drivers know, too.
    let at_collector = Client::new(&server.url).get("/apps/none");
    assert_eq!((at_collector.status, at_collector.message()), (404, answer.message()));
}

#[test]
fn ids_may_be_anything() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    const UUID: &str = "02079b28-91ee-4c4e-ae84-65e316674a35";
    let long = "x".repeat(4096);
    for (id, job) in [
        (format!("a/b c-{UUID}"), "a/b c"),
        (format!("-----{UUID}"), "unnamed"),
        ("..".to_owned(), ".."),
        ("%2F\n\"'<é>".to_owned(), "%2F\n\"'<é>"),
        (long.clone(), long.as_str()),
    ] {
        post(&client, "/collector/heartbeat/", serde_json::json!({"dmAppId": id}).to_string().as_bytes());
        post(&client, "/collector//bulk", &bulk(&id, 1, "{\"Event\":\"E\"}\n"));
        let run = run_with(&client, &id, 1);
        assert_eq!((&run["job_name"], &run["run_id"]), (&job.into(), &id.as_str().into()));
        assert_eq!(served(&client, job, &id), [r#"{"Event":"E"}"#]);
    }
    // What names nothing is kept for a person to look at, and not sent again and again.
    for id in ["", &"x".repeat(4097)] {
        assert_eq!(post(&client, "/collector/bulk", &bulk(id, 1, "{\"Event\":\"E\"}\n"))["dead_lettered"], 1);
    }
}
