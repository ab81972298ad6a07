//! Reading what was just written.

use std::io::Read;
use std::time::{Duration, Instant};

use store::{Applied, Batch};

use crate::support::{Answer, Server, application};

fn apply_up_to(server: &mut Server, next_offset: u64) {
    let mut batch = Batch::default();
    batch.put_applied(3, &Applied { next_offset, ..Applied::default() }).unwrap();
    server.writer.commit(batch).unwrap();
}

#[test]
fn a_read_that_names_a_place_is_answered_when_it_is_applied_and_not_before() {
    let mut server = Server::with(api::Options { wait: Duration::from_secs(120), ..api::Options::default() });
    apply_up_to(&mut server, 41);
    let began = Instant::now();
    let mut waiting = server.send("GET", "/job/etl/r/duration?wait_for=3:41");
    let mut at_once = server.send("GET", "/job?wait_for=3:40");
    let read = |stream: &mut std::net::TcpStream| {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    };
    assert_eq!(read(&mut at_once).status, 200);
    std::thread::sleep(Duration::from_millis(300));
    server.add("etl", "r", &application("local-1", 1_571_838_228_003, Some(61_234)));
    apply_up_to(&mut server, 42);
    let answer = read(&mut waiting);
    assert_eq!(answer.status, 200, "it was answered before the run was there");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_place_that_is_not_applied_in_time_is_answered_503_and_nonsense_400() {
    let options = api::Options { wait: Duration::from_millis(200), ..api::Options::default() };
    let mut server = Server::with(options);
    apply_up_to(&mut server, 41);
    let late = server.get("/v1/jobs?wait_for=3:41");
    assert_eq!((late.status, late.headers["retry-after"].as_str()), (503, "1"));
    // A partition that nothing was ever applied of is not one that is applied.
    assert_eq!(server.get("/job?wait_for=4:0").status, 503);
    for nonsense in ["", "41", "3:x", "3:41:1"] {
        let answer = server.get(&format!("/job?wait_for={nonsense}"));
        assert_eq!(answer.status, 400, "{nonsense}");
        assert!(answer.json()["message"].as_str().unwrap().contains("PARTITION:OFFSET"));
    }
}

#[test]
fn every_route_says_that_it_can_wait() {
    let document = Server::start().get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 9, "{paths:?}");
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("/openapi")) {
        let parameters = item["get"]["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|it| it["name"] == "wait_for"), "{path}");
        assert!(item["get"]["responses"].get("400").is_some(), "{path}");
    }
}
