//! What running it needs: metrics of each stage, and runs that are lost.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use e2e::client::path;
use e2e::payload::{Message, Payload, small_run};
use e2e::server::{Server, Site};
use e2e::wait;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// Values by name and labels, as Prometheus would read them from all processes.
fn metrics(server: &mut Server) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for client in server.metrics() {
        let answer = client.get("/metrics");
        assert_eq!(answer.status, 200);
        let text = answer.text();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            *values.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
        }
    }
    values
}

/// The sum over all labels.
fn sum(metrics: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of_name = |it: &&String| *it == name || it.starts_with(&format!("{name}{{"));
    let values: Vec<_> = metrics.iter().filter(|(it, _)| of_name(it)).map(|(_, value)| *value).collect();
    assert!(!values.is_empty(), "there is no metric {name}");
    values.iter().sum()
}

/// What only the embedded journal has.
const OWN_VALUES: [(&str, f64); 9] = [
    ("emberlog_journal_records_total{journal=\"events\"}", 206.0),
    ("emberlog_journal_end_offset{journal=\"events\"}", 206.0),
    ("emberlog_journal_start_offset{journal=\"events\"}", 0.0),
    ("emberlog_journal_in_flight_bytes{journal=\"events\"}", 0.0),
    ("emberlog_journal_failed_publications_total", 0.0),
    ("emberlog_journal_refused_publications_total", 0.0),
    ("emberlog_journal_truncated_tails_total", 0.0),
    ("emberlog_journal_failed", 0.0),
    ("emberlog_api_partitions", 1.0),
];

const OWN_MOVED: [&str; 6] = [
    "emberlog_journal_sync_seconds_count",
    "emberlog_journal_frames_total",
    "emberlog_journal_raw_bytes_total",
    "emberlog_journal_stored_bytes_total",
    "emberlog_journal_segments",
    "emberlog_journal_segment_bytes",
];

/// What only three processes on Kafka have.
const KAFKA_VALUES: [(&str, f64); 9] = [
    ("emberlog_api_partitions", 3.0),
    ("emberlog_journal_read_records_total", 206.0),
    ("emberlog_journal_in_flight_bytes", 0.0),
    ("emberlog_journal_waiting_bytes", 0.0),
    ("emberlog_journal_failed_publications_total", 0.0),
    ("emberlog_journal_refused_publications_total", 0.0),
    ("emberlog_journal_producer_rebuilds_total", 0.0),
    ("emberlog_journal_consumer_rebuilds_total", 0.0),
    ("emberlog_secondary_errors_total", 0.0),
];

const KAFKA_MOVED: [&str; 6] = [
    "emberlog_journal_records_total",
    "emberlog_journal_raw_bytes_total",
    "emberlog_journal_acknowledge_seconds_count",
    "emberlog_journal_read_bytes_total",
    "emberlog_secondary_catch_ups_total",
    "emberlog_secondary_generation",
];

/// What only a machine that stands still for seconds moves.
const TROUBLE: [&str; 4] = [
    "emberlog_collector_requests_total{status=\"503\"}",
    "emberlog_journal_failed_publications_total",
    "emberlog_journal_producer_rebuilds_total",
    "emberlog_journal_consumer_rebuilds_total",
];

#[test]
fn each_stage_is_measured() {
    const ATTEMPTS: usize = 5;
    let undisturbed = (1..=ATTEMPTS).any(|attempt| {
        let trouble = assert_measured();
        println!("attempt {attempt}: {trouble:?}");
        trouble.is_empty()
    });
    assert!(undisturbed, "something went wrong each time");
}

/// With no look at the figures, but at what has disturbed them, if anything has.
fn assert_measured() -> Vec<&'static str> {
    let site = site();
    let mut server = site.start(&[]);
    let client = server.client();
    let mut payload = small_run("job \"name\"", "run", 100);
    payload.messages.push(Message::heartbeat(1));
    payload.messages.push(Message::event("no JSON", 1));
    let mut last = serde_json::Value::Null;
    for _ in 0..2 {
        let answer = client.post("/collect", &payload.to_gzip());
        assert_eq!(answer.status, 200);
        last = answer.json()["journal"].clone();
    }
    assert_eq!(client.post("/collect", b"refused").status, 400);
    let events = path(&["job", "job \"name\"", "run", "events"]);
    let events = client.get_applied(&format!("{events}?wait_for={}:{}", last["partition"], last["offset"]));
    assert_eq!((events.status, events.lines().len()), (200, 102));
    // Lag is told once a second.
    let metrics = wait::until("no lag", || {
        let metrics = metrics(&mut server);
        let is_told = sum(&metrics, "emberlog_materializer_applied_through_seconds") > 0.0;
        (is_told && sum(&metrics, "emberlog_materializer_lag_records") == 0.0).then_some(metrics)
    });
    let trouble: Vec<_> = TROUBLE.into_iter().filter(|it| metrics.get(*it).is_some_and(|it| *it > 0.0)).collect();
    if !trouble.is_empty() {
        return trouble;
    }
    for (name, value) in [
        ("emberlog_collector_requests_total", 3.0),
        ("emberlog_collector_requests_total{status=\"200\"}", 2.0),
        ("emberlog_collector_events_total", 204.0),
        ("emberlog_collector_heartbeats_total", 2.0),
        ("emberlog_collector_dead_letters_total{reason=\"not_json\"}", 2.0),
        ("emberlog_collector_refusals_total{reason=\"not_json\"}", 1.0),
        ("emberlog_collector_in_flight_bytes", 0.0),
        ("emberlog_collector_decode_seconds_count", 3.0),
        ("emberlog_collector_publish_seconds_count", 2.0),
        ("emberlog_materializer_events_total", 102.0),
        ("emberlog_materializer_duplicates_total", 102.0),
        ("emberlog_materializer_conflicts_total", 0.0),
        ("emberlog_materializer_signs_of_life_total", 2.0),
        ("emberlog_materializer_quarantined_total", 0.0),
        ("emberlog_materializer_runs_total", 1.0),
        ("emberlog_materializer_retries_total", 0.0),
        ("emberlog_materializer_halted", 0.0),
        ("emberlog_api_events_total", 102.0),
        ("emberlog_api_streams_cut_total", 0.0),
        ("emberlog_rocksdb_background_errors", 0.0),
        ("emberlog_rocksdb_write_stopped", 0.0),
    ] {
        assert_eq!(sum(&metrics, name), value, "{name}");
    }
    let (values, moved) =
        if site.is_on_kafka() { (&KAFKA_VALUES[..], &KAFKA_MOVED[..]) } else { (&OWN_VALUES[..], &OWN_MOVED[..]) };
    for (name, value) in values {
        assert_eq!(sum(&metrics, name), *value, "{name}");
    }
    for name in moved {
        assert!(sum(&metrics, name) > 0.0, "{name} did not move");
    }
    for name in [
        "emberlog_collector_wire_bytes_total",
        "emberlog_collector_decoded_bytes_total",
        "emberlog_materializer_batch_seconds_count",
        "emberlog_materializer_event_bytes_total",
        "emberlog_materializer_applied_through_seconds",
        "emberlog_api_requests_total",
        "emberlog_api_request_seconds_count",
        "emberlog_api_scan_seconds_total",
        "emberlog_api_scan_bytes_total",
        "emberlog_rocksdb_memtable_bytes",
        "emberlog_rocksdb_written_bytes_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(sum(&metrics, name) > 0.0, "{name} did not move");
    }
    assert!(sum(&metrics, "emberlog_api_staleness_seconds") < 30.0);
    let named: Vec<_> = metrics.keys().filter(|it| it.contains("name\\\"") || it.contains("\"run\"")).collect();
    assert_eq!(named, Vec::<&String>::new(), "names of jobs and runs are no labels");
    trouble
}

#[test]
fn a_run_without_a_sign_of_life_is_lost_and_comes_back_with_one() {
    let site = site();
    let server = site.start(&["--lost-after", "4s"]);
    let client = server.client();
    let mut payload = small_run("job", "run", 3);
    payload.messages.pop();
    assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
    let duration = || client.get("/job/job/run/duration").json();
    // One sign is enough, but what stands still for seconds sees it only when it is old.
    let mut signs = 0;
    let mut lives_by_a_sign = || {
        signs += 1;
        let heartbeat = Payload::new("job", "run", vec![Message::heartbeat(signs)]);
        assert_eq!(client.post("/collect", &heartbeat.to_gzip()).status, 200);
        let is_running = || (duration()["status"] == "running").then_some(());
        (0..200).find_map(|_| {
            wait::pause();
            is_running()
        })
    };
    wait::until("a running run", &mut lives_by_a_sign);
    let lost = wait::until("a lost run", || Some(duration()).filter(|it| it["status"] == "lost"));
    assert_eq!((lost["final"].clone(), lost["duration_ms"].clone()), (false.into(), ().into()));
    wait::until("a run that came back", lives_by_a_sign);
}
