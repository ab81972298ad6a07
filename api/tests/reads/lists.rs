//! Lists: whole and sorted in the frozen routes, by pages in `/v1`.

use crate::support::{Server, application};
use serde_json::{Value, json};

#[test]
fn an_empty_store_has_no_jobs() {
    let server = Server::start();
    assert_eq!(server.get("/job").text(), "[]");
    assert_eq!(server.get("/v1/jobs").json(), json!({"jobs": [], "next": null}));
    assert_eq!(server.get("/job/etl").problem(404), "There is no job \"etl\". GET /job lists the jobs.");
}

#[test]
fn lists_longer_than_a_page_are_whole_and_in_order() {
    let mut server = Server::start();
    // Around the size of the pages in which they are read.
    for (job, count) in [("a", 1), ("b", 999), ("c", 1000), ("d", 1001), ("e", 2000), ("f", 2501)] {
        for i in (0..count).rev() {
            server.add(job, &format!("run \"{i}\""), &application("x", i * 10, None)[1..2]);
        }
        let answer = server.get(&format!("/job/{job}"));
        let expected: Vec<_> = (0..count).map(|i| format!("run \"{i}\"")).collect();
        assert_eq!((answer.json(), answer.complete), (json!(expected), true), "{job}");
    }
    assert_eq!(server.get("/job").json(), json!(["a", "b", "c", "d", "e", "f"]));
    for i in 0..2000 {
        server.add(&format!("g{i:04}"), "r", &["{}"]);
    }
    let jobs = server.get("/job").json();
    assert_eq!((jobs.as_array().unwrap().len(), &jobs[6], &jobs[2005]), (2006, &json!("g0000"), &json!("g1999")));
}

fn pages(server: &Server, path: &str, list: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = String::new();
    loop {
        let page = server.get(&format!("{path}{next}")).json();
        pages.push(page[list].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return pages,
        }
    }
}

#[test]
fn pages_hold_every_entry_once() {
    let mut server = Server::start();
    for i in 0..7 {
        // Two runs share each start, and a job is a prefix of another.
        server.add("etl", &format!("r{i}"), &application("x", 1000 - i / 2, None)[1..2]);
        server.add(&format!("etl{i}"), "r", &["{}"]);
    }
    let names = |pages: Vec<Vec<Value>>, field| -> Vec<Vec<String>> {
        pages.iter().map(|page| page.iter().map(|it| it[field].as_str().unwrap().to_owned()).collect()).collect()
    };
    let jobs = names(pages(&server, "/v1/jobs?limit=4", "jobs"), "job_name");
    assert_eq!(jobs, [["etl", "etl0", "etl1", "etl2"], ["etl3", "etl4", "etl5", "etl6"]]);
    let whole: Vec<String> = serde_json::from_value(server.get("/job/etl").json()).unwrap();
    for limit in [1, 2, 3, 7, 8] {
        let runs = names(pages(&server, &format!("/v1/runs?job=etl&limit={limit}"), "runs"), "run_id");
        assert_eq!(runs.len(), 7_usize.div_ceil(limit), "{limit}");
        assert_eq!(runs.concat(), whole, "{limit}");
    }
}

#[test]
fn bad_parameters_are_named() {
    let mut server = Server::start();
    let id = server.add("etl", "r", &["{}", "{}"]);
    let cursor = server.get(&format!("/v1/runs/{id}/events?limit=1")).headers["emberlog-next-cursor"].clone();
    for (path, part) in [
        ("/v1/jobs?limit=0", "from 1 to 1000"),
        ("/v1/jobs?limit=1001", "from 1 to 1000"),
        ("/v1/jobs?limit=many", "limit"),
        ("/v1/jobs?limt=1", "limt"),
        ("/v1/jobs?cursor=zzz", "cursor"),
        ("/v1/runs", "job"),
        ("/v1/runs?job=a&job=b", "job"),
        (&format!("/v1/runs?job=etl&cursor={cursor}"), "cursor"),
        (&format!("/v1/runs/{id}/events?limit=0"), "from 1 to 10000"),
        (&format!("/v1/runs/{id}/events?cursor=!"), "cursor"),
        (&format!("/v1/runs/{id}/events?format=parquet"), "eventlog"),
        (&format!("/v1/runs/{id}/events?application=0"), "counted from 1"),
        (&format!("/v1/runs/{id}/events?application=2"), "counted from 1"),
        (&format!("/v1/runs/{id}/events?skip=-1"), "skip is \"-1\"; it takes a number of lines."),
        ("/v1/runs", "The parameter job is missing; it takes the name of a job"),
        ("/v1/runs?job=a&job=b", "job is given more than once"),
        ("/v1/jobs?limit=many", "limit is \"many\"; it takes a number from 1 to 1000."),
        ("/v1/jobs?limt=1", "There is no parameter \"limt\" here; there is limit, cursor, wait_for."),
        ("/job?x=1", "no parameter \"x\""),
        ("/job/etl?x=1", "no parameter \"x\""),
        ("/job/etl/0/duration?x=1", "no parameter \"x\""),
        (&format!("/v1/runs/{id}?x"), "no parameter \"x\""),
        (&format!("/v1/runs/{id}/duration?x=1"), "no parameter \"x\""),
        (&format!("/v1/runs/{id}/samples?format=ndjson"), "no parameter \"format\""),
        ("/apps/a?x=1", "no parameter \"x\""),
        ("/v1/ingest/etl/0?x=1", "no parameter \"x\""),
    ] {
        let message = server.get(path).problem(400);
        assert!(message.contains(part), "{path}: {message}");
    }
}
