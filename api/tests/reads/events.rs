//! Events: whole streams, pages, and event logs.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::support::{Answer, Server, application, lines};

fn many(count: usize) -> Vec<String> {
    let task = |i| format!(r#"{{"Event":"SparkListenerTaskEnd","Task ID":{i},"Metrics":"{}"}}"#, "m".repeat(i % 3000));
    (0..count).map(task).collect()
}

#[test]
fn a_stream_holds_every_event_verbatim_in_order_and_ends_properly() {
    let mut server = Server::start();
    server.add("before", "r", &many(10));
    // Larger than a chunk, than all chunks of a stream, and than a turn of a scan.
    for count in [0, 1, 5000, 60_000] {
        let events = many(count);
        server.add("etl", &format!("{count}"), &events);
        let answer = server.get(&format!("/job/etl/{count}/events"));
        assert_eq!(
            (answer.status, answer.headers["content-type"].as_str(), answer.complete),
            (200, "application/x-ndjson", true)
        );
        assert!(answer.text() == lines(&events), "{count}: {} bytes", answer.body.len());
    }
    server.add("etl", "zz", &many(10));
}

#[test]
fn an_event_of_15_mb_and_a_deep_plan_are_served() {
    let mut server = Server::start();
    let deep = format!(r#"{{"Event":"X","plan":{}{}}}"#, r#"{"children":["#.repeat(2000), "]}".repeat(2000));
    let events = [deep, format!(r#"{{"Event":"X","plan":"{}"}}"#, "p".repeat(15 << 20)), "{}".to_owned()];
    let id = server.add("etl", "r", &events);
    assert!(server.get("/job/etl/r/events").text() == lines(&events));
    let page = server.get(&format!("/v1/runs/{id}/events?limit=10"));
    assert!(page.text() == lines(&events[..2]), "a page ends behind 8 MiB");
    assert!(page.headers.contains_key("emberlog-next-cursor"));
}

fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?;
    let path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    assert!(path.contains(&format!("cursor={}", answer.headers["emberlog-next-cursor"])), "{link}");
    Some(path)
}

#[test]
fn pages_follow_each_other_by_link_without_a_gap_or_a_repetition() {
    let mut server = Server::start();
    let events = many(25);
    let id = server.add("r\u{fc}n", "r", &events);
    for limit in [1, 5, 24, 25, 26] {
        let mut answer = server.get(&format!("/job/r%C3%BCn/r/events?limit={limit}"));
        let mut read = answer.text().to_owned();
        let mut count = 1;
        while let Some(path) = next(&answer) {
            answer = server.get(&path);
            read.push_str(answer.text());
            count += 1;
            assert!(count <= 25, "the pages have no end");
        }
        assert_eq!((read, count), (lines(&events), 25_usize.div_ceil(limit)), "{limit}");
    }
    let page = server.get(&format!("/v1/runs/{id}/events?limit=10"));
    let cursor = &page.headers["emberlog-next-cursor"];
    assert_eq!(server.get(&format!("/v1/runs/{id}/events?cursor={cursor}")).text(), lines(&events[10..]));
    assert_eq!(server.get(&format!("/v1/runs/{id}/events?skip=23")).text(), lines(&events[23..]));
    assert_eq!(
        server.get(&format!("/v1/runs/{id}/events?cursor={cursor}&skip=3&limit=2")).text(),
        lines(&events[13..15])
    );
    assert_eq!(server.get(&format!("/v1/runs/{id}/events?skip=1000")).text(), "");
}

#[test]
fn head_gives_the_head_of_a_get() {
    let mut server = Server::start();
    let id = server.add("etl", "r", &application("local-1", 5, Some(1)));
    for path in [
        "/job/etl/r/events",
        "/job/etl/r/events?format=eventlog",
        &format!("/v1/runs/{id}/events?limit=2"),
        "/job",
        "/job/etl/r/duration",
        &format!("/v1/runs/{id}/samples"),
    ] {
        let (head, get) = (server.ask("HEAD", path), server.get(path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for name in [
            "content-type",
            "content-length",
            "x-content-type-options",
            "content-disposition",
            "link",
            "emberlog-next-cursor",
        ] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{name} of {path}");
        }
    }
    assert_eq!(server.ask("HEAD", "/job/etl/s/events").status, 404);
}

#[test]
fn an_event_log_holds_one_application_under_a_name_that_spark_lists() {
    let mut server = Server::start();
    let (first, second) = (application("local-1", 5, Some(1)), application("app/2\"\n.zstd", 9, Some(1)));
    server.add("etl", "one", &first);
    let answer = server.get("/job/etl/one/events?format=eventlog");
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"local-1\"");
    assert_eq!(answer.text(), lines(&first));

    let json_escaped: Vec<_> = second.iter().map(|it| it.replace("2\"\n", "2\\\"\\n")).collect();
    let both = [&first[..], &json_escaped].concat();
    let id = server.add("etl", "two", &both);
    let message = server.get("/job/etl/two/events?format=eventlog").problem(400);
    assert!(message.contains("2 applications") && message.contains("application=1 (local-1)"), "{message}");
    for (n, events, name) in [(1, &first, "local-1"), (2, &json_escaped, "app-2---zstd")] {
        let answer = server.get(&format!("/v1/runs/{id}/events?format=eventlog&application={n}"));
        assert_eq!(answer.text(), lines(events), "{n}");
        assert_eq!(answer.headers["content-disposition"], format!("attachment; filename=\"{name}\""));
        let page = server.get(&format!("/v1/runs/{id}/events?format=eventlog&application={n}&limit=3"));
        assert_eq!((page.lines().len(), server.get(&next(&page).unwrap()).text()), (3, &*lines(&events[3..])));
    }
    assert_eq!(server.get("/job/etl/two/events").text(), lines(&both));
}

/// Events that fill every buffer between the server and a client that does not read.
fn add_large(server: &mut Server) -> Vec<String> {
    let events: Vec<_> =
        (0..300).map(|i| format!(r#"{{"Event":"X","i":{i},"d":"{}"}}"#, "x".repeat(256 << 10))).collect();
    server.add("etl", "r", &events);
    events
}

#[test]
fn a_slow_client_gets_everything_and_holds_up_nobody() {
    let mut server = Server::start();
    let events = add_large(&mut server);
    // More than there are threads that scan.
    let slow: Vec<_> = (0..20).map(|_| server.send("GET", "/job/etl/r/events")).collect();
    std::thread::sleep(Duration::from_millis(1500));
    let from = Instant::now();
    assert!(server.get("/job/etl/r/events").text() == lines(&events));
    assert!(from.elapsed() < Duration::from_secs(100), "{:?}", from.elapsed());
    for mut stream in slow.into_iter().take(2) {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = Answer::parse(&answer);
        assert!(answer.complete && answer.text() == lines(&events));
    }
}

#[test]
fn a_stream_over_its_time_is_cut_so_that_the_client_sees_it_and_can_go_on() {
    let mut server = Server::with(api::Options { stream_time: Duration::from_millis(700), ..api::Options::default() });
    let events = add_large(&mut server);
    let mut stream = server.send("GET", "/job/etl/r/events");
    std::thread::sleep(Duration::from_millis(1500));
    let mut bytes = Vec::new();
    // A reset is as good a sign as an end without the last chunk.
    let _ = stream.read_to_end(&mut bytes);
    assert!(!bytes.ends_with(b"\r\n0\r\n\r\n") && !bytes.is_empty());
    assert_eq!(server.metric("emberlog_api_streams_cut_total", &[("reason", "time")]), 1.0);
    // As many lines as came whole; on a slow machine it is cut more than once.
    let (mut got, mut is_complete, from) = (String::new(), false, Instant::now());
    while !is_complete {
        assert!(from.elapsed() < Duration::from_secs(180), "it never comes to its end");
        let mut bytes = Vec::new();
        let mut stream = server.send("GET", &format!("/job/etl/r/events?skip={}", got.lines().count()));
        let _ = stream.read_to_end(&mut bytes);
        if bytes.is_empty() {
            continue;
        }
        let rest = Answer::parse(&bytes);
        let whole = rest.text().rfind('\n').map_or(0, |end| end + 1);
        got += &rest.text()[..whole];
        is_complete = rest.complete;
    }
    assert!(got == lines(&events));
}

#[test]
fn more_streams_than_allowed_are_asked_to_come_back() {
    let mut server = Server::with(api::Options { streams: 1, ..api::Options::default() });
    let events = add_large(&mut server);
    let mut first = server.send("GET", "/job/etl/r/events");
    let mut head = [0; 12];
    first.read_exact(&mut head).unwrap();
    let refused = server.get("/job/etl/r/events");
    assert!(refused.problem(503).contains("try again"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(server.get("/job/etl/r/duration").status, 200);
    // By now the stream waits for its client.
    std::thread::sleep(Duration::from_millis(300));
    drop(first);
    let from = Instant::now();
    let is_cut = || server.metric("emberlog_api_streams_cut_total", &[("reason", "client")]) == 1.0;
    while (server.get("/job/etl/r/events?skip=299").status == 503 || !is_cut())
        && from.elapsed() < Duration::from_secs(180)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.get("/job/etl/r/events?skip=299").text() == lines(&events[299..]));
    assert_eq!(server.metric("emberlog_api_streams_cut_total", &[("reason", "client")]), 1.0);
}

#[test]
fn a_client_that_takes_next_to_nothing_loses_its_place_and_pages_need_none() {
    // On a machine that stands still meanwhile it has lost its place before it is looked at, or the other is as slow.
    assert!((0..10).any(|_| loses_its_place()));
}

fn loses_its_place() -> bool {
    let mut server = Server::with(api::Options {
        streams: 1,
        stream_rate: 1 << 20,
        stream_patience: Duration::from_secs(1),
        ..api::Options::default()
    });
    let events = add_large(&mut server);
    let mut slow = server.send("GET", "/job/etl/r/events");
    let mut head = [0; 12];
    slow.read_exact(&mut head).unwrap();
    let refused = server.get("/job/etl/r/events");
    if refused.status == 200 {
        return false;
    }
    refused.problem(503);
    assert_eq!(server.get("/job/etl/r/events?limit=2").text(), lines(&events[..2]));
    let from = Instant::now();
    let cuts = || server.metric("emberlog_api_streams_cut_total", &[("reason", "slow")]);
    while cuts() == 0.0 {
        assert!(from.elapsed() < Duration::from_secs(120), "it is not cut");
        // It goes on taking some.
        if slow.read_exact(&mut vec![0; 2 << 10]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let others = server.get("/job/etl/r/events");
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"));
    cuts() == 1.0 && others.complete && others.text() == lines(&events)
}

#[test]
fn events_that_come_during_a_stream_do_not_break_its_order() {
    let mut server = Server::start();
    let events = add_large(&mut server);
    let mut stream = server.send("GET", "/job/etl/r/events");
    std::thread::sleep(Duration::from_millis(500));
    let hash = event::RunName::new("etl", "r").unwrap().hash();
    let run = server.writer.reader().run(hash).unwrap().unwrap();
    let mut batch = store::Batch::default();
    batch.put_event(run.number, crate::support::key(300), b"{\"late\":true}");
    server.writer.commit(batch).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = Answer::parse(&answer);
    assert!(answer.complete && answer.text().starts_with(&lines(&events)));
    assert_eq!(server.get("/job/etl/r/events?skip=300").text(), "{\"late\":true}\n");
}
