//! What is measured, and what is documented.

use crate::support::{Server, application};
use event::ReceivedAt;

#[test]
fn requests_scans_and_staleness_are_measured() {
    let mut server = Server::start();
    let events = application("local-1", 5, Some(1));
    server.add("etl", "r", &events);
    for path in [
        "/job",
        "/job/etl",
        "/job/etl/r/duration",
        "/job/etl/r/events",
        "/job/etl/r/events?limit=2",
        "/job/etl/s/events",
        "/nothing",
    ] {
        server.get(path);
    }
    let requests =
        |route, status| server.metric("emberlog_api_requests_total", &[("route", route), ("status", status)]);
    assert_eq!(requests("/job", "200"), 1.0);
    assert_eq!(requests("/job/{job}", "200"), 1.0);
    assert_eq!(requests("/job/{job}/{run}/duration", "200"), 1.0);
    assert_eq!(requests("/job/{job}/{run}/events", "200"), 2.0);
    assert_eq!(requests("/job/{job}/{run}/events", "404"), 1.0);
    assert_eq!(server.metric("emberlog_api_request_seconds", &[("route", "/job/{job}/{run}/events")]), 3.0);
    assert_eq!(server.metric("emberlog_api_events_total", &[]), 6.0);
    let bytes: usize = events.iter().chain(&events[..2]).map(|event| event.len() + 1).sum();
    assert_eq!(server.metric("emberlog_api_scan_bytes_total", &[]), bytes as f64);
    let seconds = server.metric("emberlog_api_scan_seconds_total", &[]);
    assert!(seconds > 0.0 && seconds < 1.0, "{seconds}");

    assert_eq!(server.metric("emberlog_api_partitions", &[]), 0.0);
    server.applied_through(ReceivedAt(ReceivedAt::now().0 - 90_000));
    let staleness = server.metric("emberlog_api_staleness_seconds", &[]);
    assert!((90.0..100.0).contains(&staleness), "{staleness}");
    assert_eq!(server.metric("emberlog_api_partitions", &[]), 1.0);
}

#[test]
fn the_document_describes_every_route_with_its_answers_and_errors() {
    let document = Server::start().get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let expected = [
        "/apps/{dmAppId}",
        "/job",
        "/job/{job}",
        "/job/{job}/{run}/duration",
        "/job/{job}/{run}/events",
        "/v1/ingest/{job}/{run}",
        "/v1/jobs",
        "/v1/runs",
        "/v1/runs/{id}",
        "/v1/runs/{id}/duration",
        "/v1/runs/{id}/events",
        "/v1/runs/{id}/samples",
    ];
    assert_eq!(paths.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    for (path, item) in paths {
        let operation = &item["get"];
        let responses = operation["responses"].as_object().unwrap();
        let leads_on = responses.contains_key("307");
        assert!(leads_on || responses["200"]["content"].is_object(), "{path}");
        assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{path}");
        for (status, response) in responses.iter().filter(|(status, _)| !["200", "307"].contains(&status.as_str())) {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{status} of {path}");
        }
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|it| it["name"] == name && it["in"] == "path"), "{name} of {path}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in
        ["Problem", "RunBody", "RunDuration", "Jobs", "Runs", "Status", "Outcome", "RunApplication", "MissingPart"]
    {
        assert!(schemas.contains_key(name), "{name}");
    }
    let text = document.to_string();
    let references = text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in references {
        assert!(schemas.contains_key(name), "{name} is referred to and not described");
    }
}
