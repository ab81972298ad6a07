//! Real Spark in, four queries out; and Spark's own History Server opens what comes out.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use e2e::client::{Client, lines, path};
use e2e::server::{self, Server};
use e2e::spark::{self, HistoryServer, applications, may_differ};
use e2e::wait;
use serde_json::Value;

/// Four applications at once are enough for two processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn every_example_on_spark_3_5_is_served_as_spark_logged_it() {
    examples_are_served_as_spark_logged_them("3.5");
}

#[test]
fn every_example_on_spark_4_is_served_as_spark_logged_it() {
    examples_are_served_as_spark_logged_them("4");
}

fn examples_are_served_as_spark_logged_them(version: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let data = server::data_dir();
    let (own, exported) = (data.path().join("own"), data.path().join("exported"));
    std::fs::create_dir(&exported).unwrap();
    let server = Server::start(&data.path().join("data"), &[]);
    let client = server.client();
    let ran =
        spark::run(version, &server.url, &own, &["--concurrent", "pi", "sql_shuffle_skew", "failing", "streaming"]);
    assert!(ran.succeeded, "{}", ran.output);
    let ids = applications(&own);
    assert_eq!(ids.len(), 4, "{ids:?}");

    let mut outcomes = Vec::new();
    for id in &ids {
        let log = std::fs::read(own.join(id)).unwrap();
        let job = job_name(&lines(&log));
        assert!(ran.output.contains(&format!("/{id}/events")), "{}", ran.output);
        assert_is_served(&client, &job, id, &log);
        let file = client.get(&format!("{}?format=eventlog", path(&["job", &job, id, "events"])));
        let name = file.header("content-disposition").unwrap().to_owned();
        assert!(name.contains(&format!("filename=\"{id}\"")), "{name}");
        std::fs::write(exported.join(id), &file.body).unwrap();
        let run = run_of(&client, &job, id);
        assert_eq!(run["complete"], true, "{run}");
        outcomes.push((job, run["outcome"].clone()));
    }
    let failed: Vec<_> = outcomes.iter().filter(|(_, it)| it == "failed").map(|(job, _)| job.as_str()).collect();
    assert_eq!(failed, ["failing"], "{outcomes:?}");

    let (ours, theirs) = (describe(version, &exported, &ids), describe(version, &own, &ids));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.0, theirs.0);
        assert_eq!(without_load_time(ours.1.clone()), without_load_time(theirs.1.clone()), "{}", ours.0);
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(server.stop().success());
}

#[test]
fn thirty_thousand_tasks_make_spark_drop_nothing() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let data = server::data_dir();
    let own = data.path().join("own");
    let server = Server::start(&data.path().join("data"), &[]);
    let ran = spark::run("4", &server.url, &own, &["many_tasks:30000"]);
    assert!(ran.succeeded, "{}", ran.output);
    assert!(!ran.output.contains("Dropping event"), "{}", ran.output);
    let ids = applications(&own);
    let log = std::fs::read(own.join(&ids[0])).unwrap();
    assert!(lines(&log).len() > 60_000, "{} events", lines(&log).len());
    assert_is_served(&server.client(), "many tasks", &ids[0], &log);
}

fn job_name(log: &[String]) -> String {
    let start = log.iter().find(|line| line.starts_with(r#"{"Event":"SparkListenerApplicationStart""#)).unwrap();
    serde_json::from_str::<Value>(start).unwrap()["App Name"].as_str().unwrap().to_owned()
}

/// The four queries, against Spark's own event log of the run.
fn assert_is_served(client: &Client, job: &str, id: &str, log: &[u8]) {
    let duration = wait::until("the run's end", || {
        let answer = client.get(&path(&["job", job, id, "duration"]));
        (answer.status == 200).then(|| answer.json()).filter(|it| it["final"] == true)
    });
    let jobs = client.get("/job").json();
    assert!(jobs.as_array().unwrap().contains(&job.into()), "{jobs}");
    assert_eq!(client.get(&path(&["job", job])).json(), serde_json::json!([id]));

    let (served, logged) = (client.get(&path(&["job", job, id, "events"])).lines(), lines(log));
    assert_eq!(served.len(), logged.len(), "{job}");
    for (place, (served, logged)) in served.iter().zip(&logged).enumerate() {
        let [ours, theirs]: [Value; 2] = [served, logged].map(|it| serde_json::from_str(it).unwrap());
        assert_eq!(ours["Event"], theirs["Event"], "{job}, event {place}");
        assert!(may_differ(&theirs) || served == logged, "{job}, event {place}:\n{served}\n{logged}");
    }

    let timestamp = |event: &str| {
        let prefix = format!(r#"{{"Event":"{event}""#);
        let line = logged.iter().find(|line| line.starts_with(&prefix)).unwrap();
        serde_json::from_str::<Value>(line).unwrap()["Timestamp"].as_i64().unwrap()
    };
    let expected = timestamp("SparkListenerApplicationEnd") - timestamp("SparkListenerApplicationStart");
    assert_eq!(duration["duration_ms"], expected, "{duration}");
    assert_eq!(duration["status"], "finished", "{duration}");
}

fn run_of(client: &Client, job: &str, id: &str) -> Value {
    let query = path(&[job]);
    let runs = client.get(&format!("/v1/runs?job={}", query.trim_start_matches('/'))).json();
    runs["runs"].as_array().unwrap().iter().find(|run| run["run_id"] == id).unwrap().clone()
}

fn describe(version: &str, logs: &Path, ids: &[String]) -> Vec<(String, Value)> {
    let server = HistoryServer::start(version, logs, ids.len());
    let described = ids
        .iter()
        .flat_map(|id| server.describe(id).into_iter().map(move |(part, value)| (format!("{id}{part}"), value)));
    described.collect()
}

/// Where a log lies and when it was last written are no facts of the run.
fn without_load_time(mut value: Value) -> Value {
    for attempt in value.get_mut("attempts").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(members) = attempt.as_object_mut() {
            members.retain(|name, _| !name.starts_with("lastUpdated") && !name.starts_with("logSource"));
        }
    }
    value
}
