//! Bodies, requests and times that are not what they should be.

use e2e::client::{Answer, Client, path};
use e2e::payload::{Message, Payload, gzip, small_run};
use e2e::wait;

use super::{assert_goes_on, assert_refused, site};

fn post_gzip(client: &Client, body: &[u8]) -> Answer {
    client.post_with("/collect", &[("Content-Encoding", "gzip")], body)
}

#[test]
fn each_bad_body_has_its_answer() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let json = small_run("bad", "run", 2).to_json();
    let whole = gzip(&json);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = whole.clone();
        change(&mut body);
        body
    };
    let deep = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let length = whole.len();
    let wrong_crc = with(&|body| body[length - 8] ^= 1);
    let wrong_size = with(&|body| body[length - 1] ^= 1);
    let flipped = with(&|body| body[length / 2] ^= 0x55);
    let trailing = with(&|body| body.extend_from_slice(b"more"));
    let cases: [(&str, &[u8], u16, &str); 15] = [
        ("no body", b"", 400, "the body is empty"),
        ("no gzip", b"hello", 400, "not JSON"),
        ("not JSON", b"{\"job_name\":", 400, "not JSON"),
        ("binary", &[0xff; 100], 400, "not JSON"),
        ("two payloads", &[&json[..], &json].concat(), 400, "something follows"),
        ("an array", b"[]", 400, "must be a JSON object"),
        ("a number", b"5", 400, "must be a JSON object"),
        ("no members", b"{}", 400, "missing"),
        ("wrong CRC", &wrong_crc, 400, "gzip"),
        ("wrong size", &wrong_size, 400, "gzip"),
        ("a flipped bit", &flipped, 400, ""),
        ("trailing bytes", &trailing, 400, "gzip"),
        ("gzip of gzip", &gzip(&whole), 400, "not JSON"),
        ("100,000 levels", &deep(100_000), 400, "nested deeper"),
        ("100,000 levels, compressed", &gzip(&deep(100_000)), 400, "nested deeper"),
    ];
    for (what, body, status, says) in cases {
        assert_refused(what, &client.post("/collect", body), status, says);
    }
    assert_refused("gzip only said", &post_gzip(&client, &json), 400, "gzip");
    let answer = client.try_post("/collect", &[("Content-Encoding", "br")], &json).unwrap();
    assert_refused("brotli", &answer, 415, "br");
    assert_goes_on(&client, "after");
    assert_eq!(client.get("/job").json(), serde_json::json!(["good"]));
}

#[test]
fn a_gzip_body_that_is_cut_anywhere_stores_nothing() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let whole = small_run("cut", "run", 2).to_gzip();
    for length in 0..whole.len() {
        let answers = [client.post("/collect", &whole[..length]), post_gzip(&client, &whole[..length])];
        answers.iter().for_each(|answer| assert_refused(&format!("cut at {length}"), answer, 400, ""));
    }
    assert_goes_on(&client, "after");
    assert_eq!(client.get("/job").json(), serde_json::json!(["good"]));
    // The control: the whole body is fine.
    assert_eq!(client.post("/collect", &whole).status, 200);
}

#[test]
fn a_body_of_several_gzip_members_is_read_to_its_end() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let json = small_run("members", "run", 200).to_json();
    let members: Vec<u8> = json.chunks(json.len() / 5).flat_map(gzip).collect();
    let answer = client.post("/collect", &members);
    assert_eq!((answer.status, answer.json()["stored"].clone()), (200, 202.into()));
    wait::until("all events", || {
        let lines = client.events("members", "run").unwrap().iter().filter(|b| **b == b'\n').count();
        (lines == 202).then_some(())
    });
}

#[test]
fn unknown_routes_and_methods_say_what_there_is() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    for target in ["/nothing", "/jobs", "/job/a/b/c/d", "/collect/more", "/v1", "/api/v1/applications", "/favicon.ico"]
    {
        assert_refused(target, &client.get(target), 404, "GET /job;");
    }
    for (method, target, allowed) in [
        ("GET", "/collect", "POST"),
        ("PUT", "/collect", "POST"),
        ("DELETE", "/job", "GET"),
        ("POST", "/job/a/b/events", "GET"),
        ("PATCH", "/v1/runs", "GET"),
        ("POST", "/health", "GET"),
        ("BREW", "/metrics", "GET"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let side = if allowed == "POST" { client.clone() } else { client.of_reads() };
        let answer = side.raw(request.as_bytes()).unwrap();
        assert_refused(&format!("{method} {target}"), &answer, 405, allowed);
        assert!(
            answer.header("allow").is_some_and(|it| it.contains(allowed)),
            "{method} {target}: {:?}",
            answer.headers
        );
    }
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"hello\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n\r\n\r\n\0\r\n\r\n"]
    {
        // An answer or a closed connection: not an endless wait.
        if let Ok(answer) = client.raw(garbage) {
            assert_eq!(answer.status, 400);
        }
    }
    assert_goes_on(&client, "after");
}

/// Whatever `generated_at` and `Timestamp` hold, the event is stored, in order, and no figure is wrong.
#[test]
fn absurd_times_are_stored_in_order_and_make_no_duration() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let times = [i64::MAX, 0, i64::MIN, -1, 1, 1_795_000_000_000];
    let event = |time: &i64| Message::event(format!(r#"{{"Event":"E","n":"{time}"}}"#), *time);
    let payload = Payload::new("times", "all", times.iter().map(event).collect());
    assert_eq!(client.post("/collect", &payload.to_json()).json()["stored"], 6);
    let mut sorted = times;
    sorted.sort_unstable();
    let expected: String = sorted.iter().map(|time| format!("{}\n", event(time).content)).collect();
    wait::until("all events", || (client.events("times", "all").unwrap() == expected.as_bytes()).then_some(()));

    for (run, start, end) in [("backwards", 5, 4), ("beyond", i64::MIN, i64::MAX), ("far", -1, i64::MAX)] {
        let start = format!(r#"{{"Event":"SparkListenerApplicationStart","App Name":"n","Timestamp":{start}}}"#);
        let end = format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{end}}}"#);
        let payload = Payload::new("times", run, vec![Message::event(start, 1), Message::event(end, 2)]);
        assert_eq!(client.post("/collect", &payload.to_json()).status, 200);
        let duration = wait::until("the run's end", || {
            let duration = client.get(&path(&["job", "times", run, "duration"])).json();
            (duration["final"] == true).then_some(duration)
        });
        assert_eq!(
            (duration["duration_ms"].clone(), duration["invalid_times"].clone()),
            (().into(), true.into()),
            "{run}"
        );
    }
    let raw = |time: &str| {
        let messages =
            format!(r#"[{{"content":"{{\"Event\":\"E\"}}","generated_at":{time},"message_type":"spark-event"}}]"#);
        client.post("/collect", format!(r#"{{"job_name":"times","run_id":"no","messages":{messages}}}"#).as_bytes())
    };
    for time in ["null", "\"5\"", "1.5", "1e3", "9223372036854775808", "{}"] {
        let answer = raw(time);
        assert_eq!(
            (answer.status, answer.json()["dead_lettered"].clone()),
            (200, 1.into()),
            "{time}: {}",
            answer.text()
        );
    }
    assert_eq!(client.get(&path(&["job", "times", "no", "events"])).status, 404);
}
