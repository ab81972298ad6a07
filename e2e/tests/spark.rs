//! Real Spark in, four queries out; and Spark's own History Server opens what comes out.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use e2e::client::{lines, path};
use e2e::server::{self, Server};
use e2e::spark::{self, HistoryServer, applications, assert_is_served, job_name, run_of};
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
    // The end of a streaming query cancels the batch under way, if there is one: its last job has failed then.
    let failed = outcomes.iter().filter(|(job, it)| it == "failed" && job != "streaming");
    let failed: Vec<_> = failed.map(|(job, _)| job.as_str()).collect();
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
    // On a machine that others use too Spark's own listeners may fall behind once, but ours must not make it drop any.
    let run = |_| {
        let data = server::data_dir();
        let own = data.path().join("own");
        let server = Server::start(&data.path().join("data"), &[]);
        let ran = spark::run("4", &server.url, &own, &["many_tasks:30000"]);
        assert!(ran.succeeded, "{}", ran.output);
        (!ran.output.contains("Dropping event")).then_some((data, own, server))
    };
    let (_data, own, server) = (0..3).find_map(run).expect("Spark drops events each time");
    let ids = applications(&own);
    let log = std::fs::read(own.join(&ids[0])).unwrap();
    assert!(lines(&log).len() > 60_000, "{} events", lines(&log).len());
    assert_is_served(&server.client(), "many tasks", &ids[0], &log);
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
