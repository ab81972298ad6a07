//! What running it needs: health, metrics, the description of its routes, and clear errors at its start.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use e2e::client::Client;
use e2e::payload::{Message, Payload, small_run};
use e2e::server::{Server, command, data_dir};
use e2e::wait;

/// Values by name and labels, as Prometheus would read them.
fn metrics(client: &Client) -> BTreeMap<String, f64> {
    let answer = client.get("/metrics");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

/// The sum over all labels.
fn sum(metrics: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of_name = |it: &&String| *it == name || it.starts_with(&format!("{name}{{"));
    let values: Vec<_> = metrics.iter().filter(|(it, _)| of_name(it)).map(|(_, value)| *value).collect();
    assert!(!values.is_empty(), "there is no metric {name}");
    values.iter().sum()
}

#[test]
fn each_stage_is_measured() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let client = server.client();
    let mut payload = small_run("job \"name\"", "run", 100);
    payload.messages.push(Message::heartbeat(1));
    payload.messages.push(Message::event("no JSON", 1));
    for _ in 0..2 {
        assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
    }
    assert_eq!(client.post("/collect", b"refused").status, 400);
    wait::until("all to be applied", || {
        (sum(&metrics(&client), "emberlog_materializer_duplicates_total") >= 102.0).then_some(())
    });
    assert_eq!(client.events("job \"name\"", "run").unwrap().iter().filter(|b| **b == b'\n').count(), 102);
    // Lag is told once a second.
    let metrics = wait::until("no lag", || {
        let metrics = metrics(&client);
        let is_told = sum(&metrics, "emberlog_materializer_applied_through_seconds") > 0.0;
        (is_told && sum(&metrics, "emberlog_materializer_lag_records") == 0.0).then_some(metrics)
    });
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
        ("emberlog_journal_records_total{journal=\"events\"}", 206.0),
        ("emberlog_journal_end_offset{journal=\"events\"}", 206.0),
        ("emberlog_journal_start_offset{journal=\"events\"}", 0.0),
        ("emberlog_journal_in_flight_bytes{journal=\"events\"}", 0.0),
        ("emberlog_journal_failed_publications_total", 0.0),
        ("emberlog_journal_refused_publications_total", 0.0),
        ("emberlog_journal_truncated_tails_total", 0.0),
        ("emberlog_journal_failed", 0.0),
        ("emberlog_materializer_events_total", 102.0),
        ("emberlog_materializer_duplicates_total", 102.0),
        ("emberlog_materializer_conflicts_total", 0.0),
        ("emberlog_materializer_signs_of_life_total", 2.0),
        ("emberlog_materializer_quarantined_total", 0.0),
        ("emberlog_materializer_runs_total", 1.0),
        ("emberlog_materializer_retries_total", 0.0),
        ("emberlog_materializer_halted", 0.0),
        ("emberlog_api_events_total", 102.0),
        ("emberlog_api_partitions", 1.0),
        ("emberlog_api_streams_cut_total", 0.0),
        ("emberlog_rocksdb_background_errors", 0.0),
        ("emberlog_rocksdb_write_stopped", 0.0),
    ] {
        assert_eq!(sum(&metrics, name), value, "{name}");
    }
    for name in [
        "emberlog_collector_wire_bytes_total",
        "emberlog_collector_decoded_bytes_total",
        "emberlog_journal_sync_seconds_count",
        "emberlog_journal_frames_total",
        "emberlog_journal_raw_bytes_total",
        "emberlog_journal_stored_bytes_total",
        "emberlog_journal_segments",
        "emberlog_journal_segment_bytes",
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
}

#[test]
fn health_is_told_and_the_routes_are_described() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let client = server.client();
    for path in ["/health", "/health/ready"] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.json()["ready"].clone()), (200, true.into()), "{}", answer.text());
    }
    assert_eq!(client.get("/health/live").json(), serde_json::json!({"live": true}));
    let document = client.get("/openapi.json").json();
    let description = document["info"]["description"].as_str().unwrap();
    assert!(description.lines().next().unwrap().contains("not a Spark job"), "{description}");
    let paths = document["paths"].as_object().unwrap();
    let expected = [
        ("/collect", "post"),
        ("/collect/", "post"),
        ("/", "post"),
        ("/job", "get"),
        ("/job/{job}", "get"),
        ("/job/{job}/{run}/events", "get"),
        ("/job/{job}/{run}/duration", "get"),
        ("/v1/jobs", "get"),
        ("/v1/runs", "get"),
        ("/v1/runs/{id}", "get"),
        ("/v1/runs/{id}/events", "get"),
        ("/v1/runs/{id}/duration", "get"),
        ("/health", "get"),
        ("/health/live", "get"),
        ("/health/ready", "get"),
        ("/metrics", "get"),
    ];
    for (path, method) in expected {
        assert!(paths.get(path).is_some_and(|it| it.get(method).is_some()), "{method} {path} is not described");
    }
    assert_eq!(paths.len(), expected.len(), "{:?}", paths.keys());
    for path in paths.keys() {
        assert_ne!(client.raw_get(&path.replace(['{', '}'], "")).status, 500, "{path}");
    }
}

#[test]
fn health_and_metrics_move_to_their_own_port() {
    let data = data_dir();
    let server = Server::start(data.path(), &["--admin-listen", "127.0.0.1:0"]);
    let (client, admin) = (server.client(), Client::new(server.admin_url.as_ref().unwrap()));
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!((client.get(path).status, admin.get(path).status), (404, 200), "{path}");
    }
    assert_eq!((client.get("/job").status, admin.get("/job").status), (200, 404));
    assert_eq!(admin.post("/collect", b"x").status, 404);
    assert!(admin.get("/openapi.json").json()["paths"].get("/metrics").is_some());
    assert!(client.get("/openapi.json").json()["paths"].get("/metrics").is_none());
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn the_welcome_says_where_it_listens_where_data_lie_and_what_to_submit() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    assert_ne!(port, "0");
    let data = data.path().canonicalize().unwrap();
    let welcome = wait::until("the whole welcome", || {
        let welcome = server.stdout();
        welcome.contains("YOUR_APPLICATION").then_some(welcome)
    });
    for part in [
        &server.url,
        data.to_str().unwrap(),
        "spark-submit --jars",
        "spark.extraListeners=io.emberlog.EmberlogListener",
        &format!("spark.emberlog.url={}", server.url),
    ] {
        assert!(welcome.contains(part), "{part} is not in {welcome}");
    }
}

#[test]
fn a_port_in_use_is_said_with_the_flag_to_change_it() {
    let data = [data_dir(), data_dir()];
    let server = Server::start(data[0].path(), &[]);
    let address = server.client().address().to_owned();
    for (flag, other) in [("--listen", "--admin-listen"), ("--admin-listen", "--listen")] {
        let mut second = command(&["serve", flag, &address, other, "127.0.0.1:0", "--data-dir"]);
        let output = second.arg(data[1].path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        let said = error.lines().last().unwrap();
        assert!(said.contains(&address) && said.contains("in use") && said.contains(&format!("`{flag} ")), "{said}");
    }
    assert_eq!(server.client().get("/health").status, 200);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let client = server.client();
    assert_eq!(client.post("/collect", &small_run("job", "one", 3).to_gzip()).status, 200);
    let (status, error) = Server::spawn(data.path(), &[]).ended();
    assert_eq!(status.code(), Some(1), "{error}");
    let said = error.lines().last().unwrap();
    assert!(said.contains(data.path().to_str().unwrap()), "{said}");
    assert!(said.contains("in use by") || said.contains("another process"), "{said}");
    // The first one does not notice.
    assert_eq!(client.post("/collect", &small_run("job", "two", 3).to_gzip()).status, 200);
    for run in ["one", "two"] {
        wait::until("the run", || (client.events("job", run).unwrap().len() > 500).then_some(()));
    }
}

#[test]
fn flags_that_do_not_exist_or_make_no_sense_are_told() {
    let data = data_dir();
    for (arguments, says) in [
        (&["--lissten", "127.0.0.1:0"][..], "--lissten"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--lost-after", "soon"], "--lost-after"),
        (&["--max-body", "lots"], "--max-body"),
        (&["rebuild"], "--from"),
        (&["rebuild", "--from", "memory"], "--from"),
        (&["check", "--data-dir", "/does/not/exist"], "/does/not/exist"),
    ] {
        let output = command(arguments).current_dir(data.path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(says), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "an error leaves nothing behind");
}

#[test]
fn a_run_without_a_sign_of_life_is_lost_and_comes_back_with_one() {
    let data = data_dir();
    let server = Server::start(data.path(), &["--lost-after", "2s"]);
    let client = server.client();
    let mut payload = small_run("job", "run", 3);
    payload.messages.pop();
    assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
    let wait_for = |status: &str| {
        wait::until(status, || {
            let duration = client.get("/job/job/run/duration").json();
            (duration["status"] == status).then_some(duration)
        })
    };
    wait_for("running");
    let lost = wait_for("lost");
    assert_eq!((lost["final"].clone(), lost["duration_ms"].clone()), (false.into(), ().into()));
    let heartbeat = Payload::new("job", "run", vec![Message::heartbeat(1)]);
    assert_eq!(client.post("/collect", &heartbeat.to_gzip()).status, 200);
    wait_for("running");
}
