//! Any name that was taken in can be read back through every route.

use crate::support::{Server, application, lines};
use serde_json::json;

/// Every byte percent-encoded.
fn encode(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn names_of_any_text_round_trip_through_every_route() {
    let long = "n\u{fc}".repeat(333) + "/";
    let names = [
        "plain",
        "a/b",
        "/",
        "//",
        "a b",
        " ",
        "100%",
        "%2F",
        "%252F",
        "what?",
        "a#b",
        "a\nb\r\n",
        "it's \"quoted\"",
        "\\",
        "\u{1f525}\u{1f9e8}",
        "..",
        ".",
        "../..",
        "%",
        "a+b",
        "a&limit=1",
        "job;v=1",
        "\u{0}",
        "\u{2028}",
        "<script>",
        &long,
    ];
    let mut server = Server::start();
    let mut ids = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let run = names[names.len() - 1 - i];
        ids.push((*name, run, server.add(name, run, &application("local-1", 100 + i as i64, Some(7)))));
    }
    let mut sorted = names.map(ToOwned::to_owned);
    sorted.sort();
    assert_eq!(server.get("/job").json(), json!(sorted));
    for (i, (job, run, id)) in ids.iter().enumerate() {
        let (job_path, run_path) = (encode(job), encode(run));
        assert_eq!(server.get(&format!("/job/{job_path}")).json(), json!([run]), "{job:?}");
        let events = server.get(&format!("/job/{job_path}/{run_path}/events"));
        assert_eq!(events.text(), lines(&application("local-1", 100 + i as i64, Some(7))), "{job:?} {run:?}");
        let duration = server.get(&format!("/job/{job_path}/{run_path}/duration")).json();
        assert_eq!(
            (&duration["job_name"], &duration["run_id"], &duration["duration_ms"]),
            (&json!(job), &json!(run), &json!(7))
        );
        let runs = server.get(&format!("/v1/runs?job={job_path}")).json();
        assert_eq!(
            (&runs["runs"][0]["id"], &runs["runs"][0]["run_id"], &runs["next"]),
            (&json!(id), &json!(run), &json!(null))
        );
        let found = server.get(&format!("/v1/runs/{id}")).json();
        assert_eq!((&found["job_name"], &found["run_id"]), (&json!(job), &json!(run)));
        assert_eq!(server.get(&format!("/v1/runs/{id}/events")).text(), events.text());
        assert_eq!(server.get(&format!("/v1/runs/{id}/duration")).json(), duration);
    }
}

#[test]
fn a_client_that_sends_names_as_they_are_is_understood() {
    let mut server = Server::start();
    server.add("..", "a+b", &["{}"]);
    server.add("\u{fc}", "..", &["{}"]);
    assert_eq!(server.get("/job/../a+b/events").text(), "{}\n");
    assert_eq!(server.get("/job/\u{fc}/../events").text(), "{}\n");
    assert_eq!(server.get("/v1/runs?job=..").json()["runs"][0]["run_id"], "a+b");
}

#[test]
fn what_no_name_can_be_gets_an_answer_that_says_so() {
    let mut server = Server::start();
    server.add("etl", "r", &["{}"]);
    for path in ["/job/%FF", "/job/etl/%C3%28/events", "/job/%ED%A0%80/r/duration", "/v1/runs?job=%FF"] {
        let message = server.get(path).problem(400);
        assert!(message.contains("UTF-8"), "{path}: {message}");
    }
    for path in [format!("/job/{}", "x".repeat(5000)), format!("/job/etl/{}/events", "x".repeat(5000))] {
        assert!(server.get(&path).problem(404).len() < 500);
    }
    for path in ["/job/", "/v1/runs/", "/job/etl/r"] {
        assert!(server.get(path).problem(404).contains("GET /job/{job}/{run}/events"), "{path}");
    }
    for path in ["/job//r/events", "/job/etl//events", "/job///duration"] {
        server.get(path).problem(404);
    }
}

#[test]
fn jobs_and_runs_that_are_not_there_are_404() {
    let mut server = Server::start();
    server.add("etl", "r", &["{}"]);
    let other = server.add("other", "r", &["{}"]);
    let absent = event::RunName::new("etl", "s").unwrap().hash();
    for path in ["/job/et", "/job/etl2", "/job/r", "/v1/runs?job=et", "/v1/runs?job="] {
        assert!(server.get(path).problem(404).contains("no job"), "{path}");
    }
    for path in
        ["/job/etl/s/events", "/job/et/r/duration", "/job/other/s/events?limit=1", "/job/etl/s/events?format=eventlog"]
    {
        assert!(server.get(path).problem(404).contains("no run"), "{path}");
    }
    for path in [
        format!("/v1/runs/{absent}"),
        format!("/v1/runs/{absent}/events"),
        format!("/v1/runs/{other}A/duration"),
        "/v1/runs/..".to_owned(),
    ] {
        assert!(server.get(&path).problem(404).contains("no run with the id"), "{path}");
    }
    assert!(server.ask("DELETE", "/job/etl").problem(405).contains("takes GET"));
}
