//! What no agent should send, and what bad luck sends: each has its clear answer, and the server goes on.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::client::{Answer, Client, path};
use e2e::payload::{Message, Payload, gzip, small_run};
use e2e::server::Site;
use e2e::wait;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// One payload works, and soon.
fn assert_goes_on(client: &Client, run: &str) {
    let payload = small_run("good", run, 3);
    let answer = client.post("/collect", &payload.to_gzip());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected: String = payload.messages.iter().map(|it| format!("{}\n", it.content)).collect();
    wait::until("the good run", || (client.events("good", run).unwrap() == expected.as_bytes()).then_some(()));
}

fn assert_refused(what: &str, answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.json()["status"], status, "{what}");
    assert!(answer.message().contains(says), "{what}: {:?} does not say {says:?}", answer.message());
}

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
fn bombs_and_bodies_over_the_limits_are_refused_in_bounded_memory() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    assert_goes_on(&client, "before");
    let before = server.memory().peak;

    // 20 GB in 20 MB, as one JSON text that never ends.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 100_000_000]).unwrap();
    let bomb = encoder.finish().unwrap().repeat(200);
    assert!(bomb.len() < 32 << 20, "{}", bomb.len());
    for _ in 0..3 {
        assert_refused("bomb", &client.post("/collect", &bomb), 413, "268435456 bytes");
    }
    let large = vec![b' '; 33 << 20];
    let headers = [("Content-Length", large.len().to_string())].map(|(name, value)| format!("{name}: {value}\r\n"));
    let request =
        [format!("POST /collect HTTP/1.1\r\nHost: x\r\n{}\r\n", headers.concat()).as_bytes(), &large].concat();
    assert_refused("too large as announced", &client.raw(&request).unwrap(), 413, "33554432 bytes");

    let memory = server.memory();
    let grown = memory.peak.saturating_sub(before);
    assert!(grown < 600 << 20, "three bombs took {} MB", grown >> 20);
    assert_goes_on(&client, "after");
    println!("before {} MB, peak {} MB, now {} MB", before >> 20, memory.peak >> 20, memory.resident >> 20);
}

#[test]
fn chunks_over_the_limit_are_refused_while_they_come() {
    let site = site();
    let server = site.start(&["--max-body", "1MiB", "--max-decompressed", "4MiB"]);
    let client = server.client();
    let head = b"POST /collect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat();
    let some = [&head[..], &chunk.repeat(40)].concat();
    let answer = client.raw(&some).unwrap();
    assert_refused("chunks", &answer, 413, "1048576 bytes");
    assert_eq!(answer.header("connection"), Some("close"), "what comes behind is no request");
    // Without end: the server reads on for some seconds, so that its answer is not lost, and then no more.
    let mut stream = client.connect();
    stream.write_all(head).unwrap();
    let began = Instant::now();
    while stream.write_all(&chunk).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(150), "a body without end is taken in");
    }
    assert!(server.memory().peak < 300 << 20);
    let decompressed = gzip(&vec![b' '; 5 << 20]);
    assert_refused("decompressed", &client.post("/collect", &decompressed), 413, "4194304 bytes");
    assert_goes_on(&client, "after");
}

#[test]
fn what_is_large_but_allowed_is_stored_and_served_verbatim() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    // Plans nest; a parser with a tree or a recursion would give up.
    let plan = format!(
        r#"{{"Event":"org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart","plan":{}null{}}}"#,
        r#"{"children":["#.repeat(2_000),
        "]}".repeat(2_000)
    );
    let text = "Ünïcode 😀 \\u0000 \u{2028} ";
    let text = text.repeat(15_000_000 / text.len());
    let large = format!(r#"{{"Event":"SparkListenerEnvironmentUpdate","text":"{text}"}}"#);
    assert!((14_000_000..15_900_000).contains(&large.len()), "{}", large.len());
    let many = small_run("large", "10,000 events", 9_998);
    let cases = [
        Payload::new("large", "2,000 levels", vec![Message::event(plan, 1)]),
        Payload::new("large", "15 MB", vec![Message::event(large, 1)]),
        many,
    ];
    for payload in &cases {
        let run = &payload.run_id;
        for body in [payload.to_json(), payload.to_gzip()] {
            let answer = client.post("/collect", &body);
            assert_eq!((answer.status, answer.json()["stored"].clone()), (200, payload.messages.len().into()), "{run}");
        }
        let expected: String = payload.messages.iter().map(|it| format!("{}\n", it.content)).collect();
        let served = wait::until(run, || {
            let served = client.events("large", run).unwrap();
            (served.len() >= expected.len()).then_some(served)
        });
        assert!(served == expected.as_bytes(), "{run} is served with other bytes");
    }
    let over = format!(r#"{{"Event":"E","text":"{}"}}"#, "x".repeat(16_000_000));
    let answer = client.post("/collect", &Payload::new("large", "over", vec![Message::event(over, 1)]).to_gzip());
    let json = answer.json();
    assert_eq!((answer.status, json["stored"].clone(), json["dead_lettered"].clone()), (200, 0.into(), 1.into()));
    assert_eq!(server.stop().code(), Some(0));
    site.check();
}

#[test]
fn clients_that_stop_half_way_store_nothing_and_block_nobody() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let body = small_run("half", "run", 50).to_gzip();
    let head = format!("POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), &body].concat();
    let mut silent = client.connect();
    silent.write_all(&request[..request.len() - 10]).unwrap();
    for cut in [1, head.len() / 2, head.len(), head.len() + 1, request.len() - 1] {
        drop(client.connect().write_all(&request[..cut]));
    }
    assert_goes_on(&client, "meanwhile");
    // It says after some seconds that it waits no longer: a read that times out fails.
    let mut answer = String::new();
    silent.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(client.get("/job").json(), serde_json::json!(["good"]));
}

#[test]
fn a_thousand_silent_connections_disturb_nobody() {
    const CONNECTIONS: usize = 1_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    assert_goes_on(&client, "before");
    let before = server.memory().resident;
    let connect = || {
        let mut silent: Vec<_> = (0..CONNECTIONS).map(|_| client.connect()).collect();
        // Half of them say a little.
        silent.iter_mut().step_by(2).for_each(|it| it.write_all(b"POST /collect HT").unwrap());
        silent
    };
    let (mut silent, mut meanwhile) = (connect(), 0);
    wait::until("a good client to be served twenty times while all of them are there", || {
        assert_goes_on(&server.client(), &format!("meanwhile {meanwhile}"));
        // After a quarter of a minute the server ends them, on a slow machine too early.
        match silent.iter().all(is_open) {
            true => meanwhile += 1,
            false => silent = connect(),
        }
        (meanwhile == 20).then_some(())
    });
    let grown = server.memory().resident.saturating_sub(before);
    assert!(grown < 100 << 20, "they took {} MB", grown >> 20);
    println!("{CONNECTIONS} connections took {} KB", grown >> 10);
}

/// Whether the server has neither said anything nor closed it.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.peek(&mut [0]).is_err_and(|it| it.kind() == ErrorKind::WouldBlock)
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

#[test]
fn over_the_budget_payloads_wait_outside_and_are_stored_once() {
    const BUDGET: usize = 12 << 20;
    let site = site();
    let server = site.start(&["--max-in-flight", "12MiB"]);
    let client = server.client();
    // One client holds most of it until it is told to go on.
    let held = Payload::new("budget", "held", vec![Message::event(event(0, BUDGET - (3 << 20)), 1)]).to_json();
    let head =
        format!("POST /collect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", held.len());
    let hold = || {
        let mut holder = client.connect();
        holder.write_all(&[head.as_bytes(), &held[..held.len() - 1]].concat()).unwrap();
        holder
    };
    let mut holder = hold();

    let payloads: Vec<_> = (1..=20)
        .map(|i| Payload::new("budget", &format!("run {i}"), vec![Message::event(event(i, 3 << 20), 1)]).to_json())
        .collect();
    wait::until("the budget to be used up", || {
        let answer = client.post_once("/collect", &payloads[0]);
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
        if !is_open(&holder) {
            // A machine has stood still for as long as a client may be silent.
            holder = hold();
        }
        // On a slow machine it may only be late.
        (answer.status == 503 && answer.message().contains("holds as much as it may")).then(|| {
            assert!(answer.header("retry-after").is_some_and(|it| it.parse::<u64>().is_ok_and(|it| it >= 1)));
            assert_refused("over budget", &answer, 503, "");
        })
    });
    assert_eq!(client.get("/health").status, 200);
    drop(holder);
    std::thread::scope(|scope| {
        for payload in &payloads {
            let client = client.clone();
            scope.spawn(move || assert_eq!(client.post("/collect", payload).status, 200));
        }
    });
    for i in 1..=20 {
        let line = format!("{}\n", event(i, 3 << 20)).into_bytes();
        wait::until("the run", || (client.events("budget", &format!("run {i}")).unwrap() == line).then_some(()));
    }
    assert_eq!(client.get(&path(&["job", "budget", "held", "events"])).status, 404);
}

fn event(n: usize, bytes: usize) -> String {
    format!(r#"{{"Event":"E","n":{n},"text":"{}"}}"#, "x".repeat(bytes))
}
