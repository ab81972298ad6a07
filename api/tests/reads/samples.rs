//! Samples, and the address that the Delight agent prints.

use event::{EventKey, Identity, ReceivedAt, RunName, Sequence, delight};
use store::{Batch, Run, RunNumber};

use crate::support::Server;

const APP: &str = "a b-02079b28-91ee-4c4e-ae84-65e316674a35";

fn sample(i: i64) -> String {
    format!(r#"{{"timestamp":{i},"metrics":{{"heap":{}}}}}"#, i * 7)
}

fn add(server: &mut Server, count: i64) -> RunName {
    let name = delight::run_of(APP).unwrap();
    let mut run = Run::new(&name, RunNumber { partition: 0, number: 9 }, 0, ReceivedAt::now());
    let mut batch = Batch::default();
    for i in (0..count).rev() {
        let key = EventKey { order: i, sequence: Sequence(0), identity: Identity(1) };
        run.samples.fold(key, sample(i).as_bytes());
        batch.put_sample(run.number, key, sample(i).as_bytes());
    }
    let key = EventKey { order: 0, sequence: Sequence(0), identity: Identity(1) };
    store::fold(&mut run, key, br#"{"Event":"E"}"#);
    batch.put_event(run.number, key, br#"{"Event":"E"}"#);
    batch.put_run(&run, None).unwrap();
    server.writer.commit(batch).unwrap();
    name
}

#[test]
fn samples_are_served_by_time_whole_and_in_pages_and_are_no_events() {
    let mut server = Server::start();
    let id = add(&mut server, 1000).hash();
    let path = format!("/v1/runs/{id}/samples");
    let answer = server.get(&path);
    let expected: String = (0..1000).map(|i| format!("{}\n", sample(i))).collect();
    assert_eq!((answer.status, answer.text()), (200, expected.as_str()));
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(server.get(&format!("{path}?skip=998")).text().lines().count(), 2);

    let (mut next, mut paged) = (format!("{path}?limit=300"), String::new());
    loop {
        let page = server.get(&next);
        paged.push_str(page.text());
        let Some(link) = page.header("link") else { break };
        assert!(page.header("emberlog-next-cursor").is_some());
        next = link[1..link.find('>').unwrap()].to_owned();
    }
    assert_eq!(paged, expected);
    assert_eq!(server.get(&format!("/v1/runs/{id}/events")).text(), "{\"Event\":\"E\"}\n");
    let run = server.get(&format!("/v1/runs/{id}")).json();
    assert_eq!((&run["samples"], &run["events"]), (&1000.into(), &1.into()));
    assert_eq!(server.get(&format!("{path}?limit=0")).status, 400);
    let event_cursor =
        server.get(&format!("/v1/runs/{id}/events?limit=1")).header("emberlog-next-cursor").map(str::to_owned);
    assert_eq!(event_cursor, None);
}

#[test]
fn a_run_without_samples_has_none_and_one_that_is_not_there_is_not_found() {
    let mut server = Server::start();
    let id = server.add("j", "r", &[r#"{"Event":"E"}"#]);
    let answer = server.get(&format!("/v1/runs/{id}/samples"));
    assert_eq!((answer.status, answer.text()), (200, ""));
    let other = RunName::new("j", "s").unwrap().hash();
    assert_eq!(server.get(&format!("/v1/runs/{other}/samples")).status, 404);
}

#[test]
fn the_address_that_the_agent_prints_leads_to_the_run() {
    let mut server = Server::start();
    let id = add(&mut server, 1).hash();
    let answer = server.get("/apps/a%20b-02079b28-91ee-4c4e-ae84-65e316674a35");
    assert_eq!((answer.status, answer.header("location")), (307, Some(format!("/v1/runs/{id}").as_str())));
    for unknown in ["a", "..%2f..%2f", "%20", &"x".repeat(5000)] {
        let answer = server.get(&format!("/apps/{unknown}"));
        assert_eq!(answer.status, 404, "{unknown}");
        assert!(answer.json()["message"].as_str().unwrap().contains("spark.delight.collector.url"), "{answer:?}");
    }
}
