//! What a real Spark sent, in every way in which it can come: each event once, in order.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use e2e::client::{Client, path, undisturbed};
use e2e::payload::{Message, Payload};
use e2e::random::Random;
use e2e::server::Site;
use e2e::{recorded, wait};
use serde_json::Value;

const JOB: &str = "spark-pi";
const RUN: &str = "local-1795229682121";
/// What Spark 3.5 redacts in its own log: the server must make the same of what the listener got.
const AS_SPARK: [&str; 2] = ["--redact-pattern", "(?i)secret|password|token|access[.]?key"];
const ENVIRONMENT: &str = r#"{"Event":"SparkListenerEnvironmentUpdate""#;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// The events of the recorded run, read without any code of the product: by time, and then as they were sent, with
/// what Spark itself wrote where it redacts.
fn expected() -> Vec<String> {
    let payloads: Vec<_> = recorded::requests().iter().map(recorded::Request::payload).collect();
    in_order(&payloads)
}

/// By (`generated_at`, sequence): the sort is stable, and the payloads come in the order of their sequences.
fn in_order(payloads: &[Payload]) -> Vec<String> {
    let log = String::from_utf8(recorded::event_log()).unwrap();
    let environment = log.lines().find(|it| it.starts_with(ENVIRONMENT)).unwrap();
    let mut events = Vec::new();
    for payload in payloads {
        let all = payload.messages.iter().enumerate();
        events.extend(all.filter(|(_, it)| it.is_event()).map(|(i, it)| {
            let place = (it.generated_at, payload.sequence(i));
            (place, if it.content.starts_with(ENVIRONMENT) { environment } else { &it.content }.to_owned())
        }));
    }
    events.sort_by_key(|(place, _)| *place);
    events.into_iter().map(|(_, content)| content).collect()
}

fn served(client: &Client, job: &str, run: &str, query: &str) -> Vec<String> {
    let answer = client.get(&format!("{}{query}", path(&["job", job, run, "events"])));
    if answer.status == 404 { Vec::new() } else { answer.lines() }
}

/// Waits until a run serves as many events as it should, and compares them all.
fn assert_serves(client: &Client, job: &str, run: &str, expected: &[String]) {
    let lines = wait::until("the recorded events", || {
        let lines = served(client, job, run, "");
        (lines.len() >= expected.len()).then_some(lines)
    });
    assert_eq!(lines.len(), expected.len());
    for (i, (line, expected)) in lines.iter().zip(expected).enumerate() {
        assert_eq!(line, expected, "event {i} of {job:?}");
    }
}

/// The run's figures once all that was sent is applied: `deliveries` events, duplicates among them.
fn run_when_applied(client: &Client, job: &str, deliveries: u64) -> Value {
    wait::until("all deliveries to be applied", || {
        let runs = client.get(&format!("/v1/runs?job={}", &path(&[job])[1..])).json();
        let run = runs["runs"][0].clone();
        let applied = run["events"].as_u64()? + run["duplicates"].as_u64()?;
        (applied >= deliveries).then_some(run)
    })
}

fn post(client: &Client, request: &recorded::Request) -> Value {
    let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = client.post_with(&request.path, &headers, &request.body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn what_spark_sent_is_served_once_and_in_order_however_often_it_comes() {
    let site = site();
    let server = site.start(&AS_SPARK);
    let client = server.client();
    let (requests, expected) = (recorded::requests(), expected());
    assert_eq!((requests.len(), expected.len()), (7, 166));

    let answers: Vec<_> = requests.iter().map(|request| post(&client, request)).collect();
    let sum = |member: &str| answers.iter().map(|answer| answer[member].as_u64().unwrap()).sum::<u64>();
    assert_eq!([sum("stored"), sum("dead_lettered"), sum("heartbeats")], [166, 0, 3]);
    assert_serves(&client, JOB, RUN, &expected);

    requests.iter().for_each(|request| drop(post(&client, request)));
    let mut random = Random::for_test("shuffled");
    let mut shuffled = requests.clone();
    for _ in 0..5 {
        random.shuffle(&mut shuffled);
        shuffled.iter().for_each(|request| drop(post(&client, request)));
    }
    let run = run_when_applied(&client, JOB, 7 * 166);
    // More if an answer was late, and what was stored all the same was sent again.
    assert!(run["events"] == 166 && run["duplicates"].as_u64() >= Some(6 * 166), "{run}");
    assert_serves(&client, JOB, RUN, &expected);

    assert_eq!(client.get("/job").json(), serde_json::json!([JOB]));
    assert_eq!(client.get(&path(&["job", JOB])).json(), serde_json::json!([RUN]));
    drop(client);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(site.check()["events"], 166);
}

#[test]
fn a_run_that_comes_shuffled_from_the_first_is_in_order() {
    let site = site();
    let server = site.start(&AS_SPARK);
    let (client, expected) = (server.client(), expected());
    let mut random = Random::for_test("shuffled from the first");
    for round in 0..10 {
        let mut requests = recorded::requests();
        random.shuffle(&mut requests);
        for request in requests {
            let payload = Payload { run_id: format!("{round}"), ..request.payload() };
            assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
        }
        assert_serves(&client, JOB, &round.to_string(), &expected);
        let duration = client.get(&path(&["job", JOB, &round.to_string(), "duration"])).json();
        assert_eq!(duration["status"], "finished", "{duration}");
    }
}

/// Whether heartbeats have a place in the counters is not known. Counted, they leave gaps between the events'
/// sequences; not counted, neighbouring payloads overlap. Neither makes events equal, or moves them.
#[test]
fn heartbeats_counted_or_not_change_nothing() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&AS_SPARK);
        let client = server.client();
        for counted in [true, false] {
            let job = format!("counted: {counted}");
            let payloads = recount(counted, &job);
            for _ in 0..2 {
                for payload in &payloads {
                    assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
                }
            }
            assert_serves(&client, &job, RUN, &in_order(&payloads));
            let run = run_when_applied(&client, &job, 2 * 166);
            assert_eq!((run["events"].clone(), run["duplicates"].clone()), (166.into(), 166.into()), "{run}");
        }
        // One agent cannot do both, but a run's events stay the same if it did.
        for payload in recount(false, "counted: true") {
            assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
        }
        let run = run_when_applied(&client, "counted: true", 3 * 166);
        assert_eq!(run["events"], 166, "{run}");
        assert_serves(&client, "counted: true", RUN, &expected());
    });
}

/// The recorded payloads with heartbeats at the start, in the middle and at the end, and one payload of them only.
fn recount(counted: bool, job: &str) -> Vec<Payload> {
    let mut total = 0;
    let mut payloads: Vec<_> = recorded::requests().iter().map(recorded::Request::payload).collect();
    payloads.push(Payload::new(JOB, RUN, vec![]));
    for payload in &mut payloads {
        payload.job_name = job.to_owned();
        payload.messages.retain(Message::is_event);
        let at = payload.messages.first().map_or(0, |it| it.generated_at);
        for i in [payload.messages.len(), payload.messages.len() / 2, 0] {
            payload.messages.insert(i, Message::heartbeat(at));
        }
        total += payload.messages.iter().filter(|it| counted || it.is_event()).count();
        payload.counters.message_counter = i64::try_from(total).unwrap();
    }
    payloads
}

#[test]
fn the_duration_is_what_the_events_of_the_application_say() {
    let site = site();
    let server = site.start(&AS_SPARK);
    let client = server.client();
    let requests = recorded::requests();
    let timestamp = |name: &str| {
        let prefix = format!(r#"{{"Event":"SparkListenerApplication{name}""#);
        let event = expected().into_iter().find(|event| event.starts_with(&prefix)).unwrap();
        serde_json::from_str::<Value>(&event).unwrap()["Timestamp"].as_i64().unwrap()
    };
    let (start, end) = (timestamp("Start"), timestamp("End"));
    let duration = |run: &str| client.get(&path(&["job", JOB, run, "duration"])).json();

    let (last, before) = requests.split_last().unwrap();
    before.iter().for_each(|request| drop(post(&client, request)));
    let count = before.iter().flat_map(|it| it.payload().messages).filter(Message::is_event).count();
    wait::until("all but the end", || (served(&client, JOB, RUN, "").len() == count).then_some(()));
    let running = duration(RUN);
    assert_eq!(running["status"], "running", "{running}");
    assert_eq!((running["duration_ms"].clone(), running["final"].clone()), (Value::Null, false.into()));
    assert!(running["elapsed_ms"].as_i64().is_some_and(|elapsed| elapsed >= 0) || running["invalid_times"] == true);

    post(&client, last);
    assert_serves(&client, JOB, RUN, &expected());
    let finished = duration(RUN);
    assert_eq!(finished["duration_ms"], end - start, "{finished}");
    assert_eq!(finished["elapsed_ms"], end - start);
    assert_eq!((finished["status"].clone(), finished["final"].clone()), ("finished".into(), true.into()));
    assert_eq!((finished["job_name"].clone(), finished["run_id"].clone()), (JOB.into(), RUN.into()));
    let id = client.get(&format!("/v1/runs?job={JOB}")).json()["runs"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("/v1/runs/{id}/duration")).json(), finished);
}

#[test]
fn the_exported_event_log_is_the_one_that_spark_wrote() {
    let site = site();
    let server = site.start(&AS_SPARK);
    let client = server.client();
    recorded::requests().iter().for_each(|request| drop(post(&client, request)));
    assert_serves(&client, JOB, RUN, &expected());

    let answer = client.get(&format!("{}?format=eventlog", path(&["job", JOB, RUN, "events"])));
    assert_eq!(answer.status, 200);
    let disposition = answer.header("content-disposition").unwrap();
    assert!(disposition.contains(&format!("filename=\"{RUN}\"")), "{disposition}");
    let lines = answer.lines();
    assert_eq!(lines, expected());
    assert!(lines.iter().any(|line| line.starts_with(r#"{"Event":"SparkListenerApplicationStart""#)));

    let mut exported: HashMap<&str, usize> = HashMap::new();
    lines.iter().for_each(|line| *exported.entry(line).or_default() += 1);
    let log = String::from_utf8(recorded::event_log()).unwrap();
    // What Spark changes after it was posted differs in bytes, and one event comes before listeners.
    let other = ["TaskStart", "StageSubmitted", "ResourceProfileAdded"];
    let differs = |line: &str| other.iter().any(|it| line.starts_with(&format!(r#"{{"Event":"SparkListener{it}""#)));
    let missing: Vec<_> = log.lines().filter(|line| !differs(line) && !exported.contains_key(line)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
