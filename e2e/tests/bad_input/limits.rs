//! What is too much: bytes, connections and time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::client::path;
use e2e::payload::{Message, Payload, gzip, small_run};
use e2e::wait;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{assert_goes_on, assert_refused, site};

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

/// Whether the server has neither said anything nor closed it.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.peek(&mut [0]).is_err_and(|it| it.kind() == ErrorKind::WouldBlock)
}
