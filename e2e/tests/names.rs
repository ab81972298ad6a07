//! Job names and run ids are any text: each comes back through every route, and none is taken for another.
#![allow(clippy::unwrap_used)]

use e2e::client::{Client, path};
use e2e::payload::{Message, Payload, small_run};
use e2e::server::Site;
use e2e::wait;
use serde_json::{Value, json};

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn names() -> Vec<String> {
    let texts = [
        "plain",
        "a/b",
        "a%2Fb",
        "/",
        "//",
        " ",
        " leading and trailing ",
        "%",
        "%25",
        "100%",
        "?",
        "what?limit=1",
        "#",
        "a#b",
        "line\nbreak",
        "\r\n",
        "tab\t",
        "\u{0}",
        "\u{7f}",
        "quote\"s 'and' `ticks`",
        "back\\slash",
        "<script>alert(1)</script>",
        "{job}",
        "[\"a\",\"b\"]",
        "null",
        ".",
        "..",
        "...",
        "../../etc/passwd",
        "a+b c",
        "a&b=c;d",
        "*:!$'()@,~",
        "events",
        "duration",
        "été",
        "e\u{301}te\u{301}",
        "日本語",
        "\u{2028}",
        "\u{feff}bom",
        "😀",
        "👩‍👩‍👧‍👦",
        "\u{10ffff}",
        "PLAIN",
    ];
    let mut names: Vec<_> = texts.map(str::to_owned).into();
    names.extend(["x".repeat(1_000), "😀".repeat(1_000), "/".repeat(1_000), "y".repeat(4_096)]);
    names
}

/// The one event of a run, which tells its names.
fn event(job: &str, run: &str) -> String {
    json!({"Event": "SparkListenerApplicationStart", "App Name": job, "App ID": run, "Timestamp": 1}).to_string()
}

fn post(client: &Client, job: &str, run: &str) {
    let payload = Payload::new(job, run, vec![Message::event(event(job, run), 5)]);
    let answer = client.post("/collect", &payload.to_gzip());
    assert_eq!(answer.status, 200, "{job:?} {run:?}: {}", answer.text());
}

fn query(text: &str) -> String {
    path(&[text])[1..].to_owned()
}

fn assert_round_trips(client: &Client, job: &str, run: &str) {
    let names = (Value::from(job), Value::from(run));
    let line = format!("{}\n", event(job, run)).into_bytes();
    for suffix in ["", "?format=eventlog", "?limit=5"] {
        let answer = client.get(&format!("{}{suffix}", path(&["job", job, run, "events"])));
        assert_eq!((answer.status, &answer.body), (200, &line), "{names:?} {suffix}");
    }
    let duration = client.get(&path(&["job", job, run, "duration"])).json();
    assert_eq!((duration["job_name"].clone(), duration["run_id"].clone()), names);
    let runs = client.get(&path(&["job", job]));
    assert!(runs.json().as_array().unwrap().contains(&names.1), "{names:?} {}", runs.text());

    let listed = client.get(&format!("/v1/runs?limit=1000&job={}", query(job))).json();
    let listed = listed["runs"].as_array().unwrap().iter().find(|it| it["run_id"] == names.1).unwrap().clone();
    assert_eq!(listed["job_name"], names.0);
    let id = listed["id"].as_str().unwrap();
    assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id} needs no encoding");
    let of_id = client.get(&format!("/v1/runs/{id}")).json();
    assert_eq!((of_id["job_name"].clone(), of_id["run_id"].clone()), names);
    assert_eq!(client.get(&format!("/v1/runs/{id}/events")).body, line);
    let mut of_id = client.get(&format!("/v1/runs/{id}/duration")).json();
    // It goes on while the run does.
    of_id["elapsed_ms"] = duration["elapsed_ms"].clone();
    assert_eq!(of_id, duration);
}

#[test]
fn every_name_round_trips_through_every_route() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let names = names();
    for name in &names {
        post(&client, name, "run");
        post(&client, "job", name);
        post(&client, name, name);
    }
    wait::until("all runs to be served", || {
        let runs = |job: &str| client.get(&path(&["job", job])).json();
        let last = runs(names.last().unwrap());
        (last.as_array()?.len() == 2 && runs("job").as_array()?.len() == names.len()).then_some(())
    });
    let mut jobs = [&names[..], &["job".to_owned()]].concat();
    jobs.sort_unstable();
    assert_eq!(client.get("/job").json(), json!(jobs));
    assert_eq!(paged(&client, "/v1/jobs?limit=7", "jobs", "job_name"), jobs);
    let mut runs = names.clone();
    runs.sort_unstable();
    let mut listed = paged(&client, "/v1/runs?job=job&limit=7", "runs", "run_id");
    listed.sort_unstable();
    assert_eq!(listed, runs);
    for name in &names {
        assert_round_trips(&client, name, "run");
        assert_round_trips(&client, "job", name);
        assert_round_trips(&client, name, name);
    }
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(site.check()["runs"], 3 * names.len());
}

fn paged(client: &Client, first: &str, list: &str, member: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{first}{cursor}")).json();
        let entries = page[list].as_array().unwrap();
        assert!((1..=7).contains(&entries.len()), "{page}");
        found.extend(entries.iter().map(|it| it[member].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Proper clients rewrite such paths before they send them: others must get what they ask for.
#[test]
fn dots_in_a_path_are_names_like_others() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let pairs = [("..", ".."), (".", "."), ("..", "r"), ("j", ".."), ("j", "."), ("...", "....")];
    for (job, run) in pairs {
        post(&client, job, run);
    }
    wait::until("the last run", || (!client.events("...", "....").unwrap().is_empty()).then_some(()));
    for (job, run) in pairs {
        let answer = client.raw_get(&format!("/job/{job}/{run}/events"));
        assert_eq!((answer.status, answer.text()), (200, format!("{}\n", event(job, run))), "{job} {run}");
        let answer = client.raw_get(&format!("/job/{job}/{run}/duration"));
        assert_eq!((answer.status, answer.json()["run_id"].clone()), (200, run.into()));
        assert_eq!(client.raw_get(&format!("/job/{job}")).status, 200, "{job}");
    }
    assert_eq!(client.raw_get("/job/../../etc/passwd").status, 404);
    assert_eq!(client.raw_get("/v1/runs/../events").status, 404);
}

#[test]
fn paths_that_are_no_names_are_told_so() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    post(&client, "job", "run");
    wait::until("the run", || (!client.events("job", "run").unwrap().is_empty()).then_some(()));
    for (target, status) in [
        ("/job/%FF", 400),
        ("/job/job/%C3%28/events", 400),
        ("/v1/runs?job=%FF", 400),
        ("/v1/runs", 400),
        ("/v1/runs?job=job&what=1", 400),
        ("/v1/runs?job=job&cursor=zzz", 400),
        ("/v1/jobs?limit=0", 400),
        ("/v1/jobs?limit=x", 400),
        ("/job/none", 404),
        ("/job/job/none/events", 404),
        ("/job/job/none/duration", 404),
        ("/job/none/run/events", 404),
        ("/v1/runs?job=none", 404),
        ("/v1/runs?job=", 404),
        ("/v1/runs/none", 404),
        ("/v1/runs/AAAAAAAAAAAAAAAAAAAAAA/events", 404),
        ("/job//run/events", 404),
        ("/job/job//events", 404),
    ] {
        let answer = client.raw_get(target);
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{target}");
        assert!(!answer.message().is_empty(), "{target}");
    }
}

#[test]
fn names_that_are_no_names_are_refused_at_the_door() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let good = serde_json::to_value(small_run("job", "run", 1)).unwrap();
    for member in ["job_name", "run_id"] {
        for (bad, says) in [
            (Value::Null, "must be a text"),
            (json!(""), "is empty"),
            (json!(5), "must be a text"),
            (json!(true), "must be a text"),
            (json!(["a"]), "must be a text"),
            (json!({}), "must be a text"),
            (json!("x".repeat(4_097)), "4097 bytes; the limit is 4096"),
        ] {
            let mut payload = good.clone();
            payload[member] = bad;
            let answer = client.post("/collect", payload.to_string().as_bytes());
            assert_eq!(answer.status, 400, "{payload}");
            let message = answer.message();
            assert!(message.contains(member) && message.contains(says), "{message}");
        }
        let mut payload = good.clone();
        payload.as_object_mut().unwrap().remove(member);
        let answer = client.post("/collect", payload.to_string().as_bytes());
        assert_eq!((answer.status, answer.message().contains(&format!("{member} is missing"))), (400, true));
    }
    let half = r#"{"job_name":"\ud800","run_id":"r","messages":[]}"#;
    assert_eq!(client.post("/collect", half.as_bytes()).status, 400);
    assert_eq!(client.get("/job").json(), json!([]));
}
