//! Durations and statuses.

use crate::support::{Server, application};
use event::ReceivedAt;
use serde_json::{Value, json};

fn fields(answer: &Value) -> Value {
    ["status", "duration_ms", "final", "invalid_times"].map(|name| answer[name].clone()).into_iter().collect()
}

#[test]
fn a_finished_run_lasted_from_its_start_to_its_end() {
    let mut server = Server::start();
    server.add("etl", "r", &application("local-1", 1_571_838_228_003, Some(61_234)));
    let expected = json!({"job_name": "etl", "run_id": "r", "status": "finished", "duration_ms": 61_234, "elapsed_ms": 61_234,
        "final": true, "started_at": 1_571_838_228_003_i64, "ended_at": 1_571_838_289_237_i64, "invalid_times": false});
    assert_eq!(server.get("/job/etl/r/duration").json(), expected);
}

#[test]
fn a_run_without_an_end_is_running_until_it_has_been_silent_for_too_long() {
    let mut server = Server::start();
    let now = ReceivedAt::now();
    let ago = |seconds: i64| ReceivedAt(now.0 - seconds * 1000);
    server.add_at("etl", "r", &application("local-1", ago(3600).0, None), ago(600));
    let duration = |server: &Server| server.get("/job/etl/r/duration").json();

    // An outage of the server: nobody knows what came since.
    server.applied_through(ago(600));
    let running = duration(&server);
    assert_eq!(fields(&running), json!(["running", null, false, false]));
    let elapsed = running["elapsed_ms"].as_i64().unwrap();
    assert!((3_600_000..3_660_000).contains(&elapsed), "{elapsed}");

    server.applied_through(ago(481));
    assert_eq!(duration(&server)["status"], "running");
    server.applied_through(ago(479));
    let lost = duration(&server);
    assert_eq!(fields(&lost), json!(["lost", null, false, false]));
    assert_eq!(lost["elapsed_ms"], 3_000_000);
}

#[test]
fn absurd_and_missing_times_give_null_and_a_flag_only_where_they_are_wrong() {
    let mut server = Server::start();
    for (run, start, took, expected) in [
        ("ends before it starts", 500, Some(-1), json!(["finished", null, true, true])),
        ("beyond 64 bits", i64::MIN, Some(-1), json!(["finished", null, true, true])),
        ("starts in the future", i64::MAX, None, json!(["running", null, false, true])),
        ("no time at all", 5, Some(0), json!(["finished", 0, true, false])),
    ] {
        let id = server.add("etl", run, &application("x", start, took));
        let answer = server.get(&format!("/v1/runs/{id}/duration")).json();
        assert_eq!(fields(&answer), expected, "{run}");
    }
    let id = server.add("etl", "no start", &application("x", 5, Some(1))[3..]);
    let answer = server.get(&format!("/v1/runs/{id}/duration")).json();
    assert_eq!((fields(&answer), &answer["elapsed_ms"]), (json!(["finished", null, true, false]), &json!(null)));
}

#[test]
fn a_run_says_how_it_ended_and_what_is_missing() {
    let mut server = Server::start();
    let mut events = application("local-1", 100, Some(50));
    events.extend(application("local-2", 200, None));
    events.push(r#"{"Event":"SparkListenerJobEnd","Job ID":0,"Job Result":{"Result":"JobFailed"}}"#.to_owned());
    events.push(r#"{"Event":"SparkListenerApplicationEnd","Timestamp":260,"ExitCode":1}"#.to_owned());
    let redacted = r#"{"token":"*********(redacted)","a":"b","password":"*********(redacted)"}"#;
    events.push(format!(r#"{{"Event":"SparkListenerJobStart","Job ID":1,"Properties":{redacted}}}"#));
    events.push(format!(r#"{{"Event":"SparkListenerTaskEnd","Other":{redacted}}}"#));
    let id = server.add("etl", "r", &events);
    let run = server.get(&format!("/v1/runs/{id}")).json();
    for (field, expected) in [
        ("outcome", json!("failed")),
        ("complete", json!(true)),
        ("duration_ms", json!(160)),
        ("events", json!(events.len())),
        ("bytes", json!(events.iter().map(String::len).sum::<usize>())),
        ("jobs_failed", json!(1)),
        ("redacted", json!(2)),
        ("gaps", json!(null)),
    ] {
        assert_eq!(run[field], expected, "{field} in {run}");
    }
    let second = json!({"app_id": "local-2", "attempt": null, "name": "x", "user": "u", "spark_version": "3.5.9",
        "started_at": 200, "ended_at": 260, "exit_code": 1});
    assert_eq!(run["applications"][1], second);

    let id = server.add("etl", "s", &events[3..4]);
    let run = server.get(&format!("/v1/runs/{id}")).json();
    assert_eq!(
        (&run["outcome"], &run["complete"], &run["missing"]),
        (&json!("succeeded"), &json!(false), &json!(["start"]))
    );
}
