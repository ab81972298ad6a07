//! The routes over a secondary: what is answered while there is no store, and how old what is served is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{ReceivedAt, RunName};
use prometheus::Registry;
use store::generation::Generations;
use store::secondary::{Metrics, Options};
use store::{Applied, Batch, Run, RunNumber, Secondary, Writer};

use crate::support::{Front, key};

const ROUTES: [&str; 7] = [
    "/job",
    "/job/etl",
    "/job/etl/r/events",
    "/job/etl/r/events?limit=2",
    "/job/etl/r/duration",
    "/v1/jobs",
    "/v1/runs?job=etl",
];

fn start(dir: &Path) -> (Secondary, Front) {
    let registry = Arc::new(Registry::new());
    let metrics = Metrics::new(&registry).unwrap();
    // A machine that stands still in the middle of a catch-up makes no reader give up.
    let options = Options { patience: Duration::from_secs(120), ..Options::new(dir.join("store"), dir.join("api")) };
    let secondary = Secondary::start(options, metrics, |_| {}).unwrap();
    let front = Front::over(secondary.reader(), api::Options::default(), registry);
    (secondary, front)
}

fn writer(dir: &Path) -> Writer {
    let generations = Generations::open(&dir.join("store")).unwrap();
    Writer::open(&generations.path(generations.current_or_first().unwrap()), &store::Options::default()).unwrap()
}

/// A run of one event, and that all is applied through a time.
fn commit(writer: &mut Writer, through: ReceivedAt) {
    let name = RunName::new("etl", "r").unwrap();
    let mut run = Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt::now());
    let mut batch = Batch::default();
    batch.put_event(run.number, key(0), b"{}");
    store::fold(&mut run, key(0), b"{}");
    batch.put_run(&run, None).unwrap();
    batch.put_applied(0, &Applied { next_offset: 1, through, ..Applied::default() }).unwrap();
    writer.commit(batch).unwrap();
}

fn wait_for(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !until() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn without_a_store_every_read_is_asked_to_come_back_and_then_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (_secondary, front) = start(dir.path());
    let id = RunName::new("etl", "r").unwrap().hash();
    let by_id = ["", "/events", "/duration"].map(|of| format!("/v1/runs/{id}{of}"));
    for route in ROUTES.into_iter().chain(by_id.iter().map(String::as_str)) {
        let answer = front.get(route);
        assert!(answer.problem(503).contains("cannot be read yet"), "{route}");
        assert_eq!(answer.headers["retry-after"], "1", "{route}");
    }
    assert_eq!(front.metric("emberlog_api_staleness_seconds", &[]), 0.0);
    let mut writer = writer(dir.path());
    commit(&mut writer, ReceivedAt::now());
    wait_for("nothing is served", || front.get("/job").status == 200 && front.get("/job").text() == r#"["etl"]"#);
    assert_eq!(front.get("/job/etl/r/events").lines(), ["{}"]);
}

#[test]
fn staleness_is_the_age_of_what_is_served_and_grows_when_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (secondary, front) = start(dir.path());
    let mut writer = writer(dir.path());
    let staleness = || front.metric("emberlog_api_staleness_seconds", &[]);
    commit(&mut writer, ReceivedAt(ReceivedAt::now().0 - 90_000));
    wait_for("staleness is not seen", || (90.0..600.0).contains(&staleness()));
    commit(&mut writer, ReceivedAt::now());
    wait_for("staleness does not fall", || staleness() < 60.0);
    drop(writer);
    let before = staleness();
    std::thread::sleep(Duration::from_millis(300));
    assert!(staleness() >= before + 0.3);
    wait_for("an idle store is not followed", || front.metric("emberlog_secondary_view_age_seconds", &[]) < 0.3);
    drop(secondary);
    assert_eq!(front.get("/job").status, 200, "readers outlive the secondary");
}
