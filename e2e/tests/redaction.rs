//! Secrets planted in what a real Spark sent are in no byte of what the server keeps, says or answers.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use e2e::client::{Client, path, undisturbed};
use e2e::payload::{Message, Payload, gzip};
use e2e::process::{command_of, said};
use e2e::server::{Server, Site};
use e2e::{delight, recorded, wait};
use journal::Subscriber;
use serde_json::Value;

const JOB: &str = "spark-pi";
const RUN: &str = "local-1795229682121";
/// In every planted secret, and nowhere else.
const SECRET: &str = "hunter2-9c1f";
/// A run by another protocol.
const DELIGHT: &str = "spark-pi-02079b28-91ee-4c4e-ae84-65e316674a35";
/// Lines and messages that are no events.
const LETTERS: usize = 13 + 3 * 7 + 1;
const REDACTED: &str = "\"*********(redacted)\"";

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// The recorded payloads with secrets in them.
fn planted() -> Vec<Payload> {
    let mut payloads: Vec<_> = recorded::requests().iter().map(recorded::Request::payload).collect();
    let mut count = [0; 3];
    for message in payloads.iter_mut().flat_map(|it| &mut it.messages) {
        let event = &mut message.content;
        if event.starts_with(r#"{"Event":"SparkListenerEnvironmentUpdate""#) {
            plant(event, "JVM Information", &format!(r#""java.command":"java -Dspark.a.token={SECRET}""#));
            plant(event, "Spark Properties", &format!(r#""spark.hadoop.fs.s3a.secret.key":"{SECRET}""#));
            plant(event, "Spark Properties", &format!(r#""spark.executorEnv.DB_PASSWORD":"{SECRET}""#));
            plant(event, "Spark Properties", &format!(r#""spark.a.p\u0061ssword":"\"{SECRET}\"""#));
            let command = r#""sun.java.command":""#;
            assert!(event.contains(command));
            *event = event.replace(command, &format!("{command}x --conf spark.a.password={SECRET} "));
            plant(event, "Metrics Properties", &format!(r#""*.sink.credential":"{SECRET}""#));
            count[0] += 1;
        } else if event.starts_with(r#"{"Event":"SparkListenerJobStart""#) {
            plant(event, "Properties", &format!(r#""spark.a.access.key":"{SECRET}""#));
            count[1] += 1;
        } else if event.starts_with(r#"{"Event":"SparkListenerStageSubmitted""#) {
            plant(event, "Properties", &format!(r#""mail":"password {SECRET}""#));
            count[2] += 1;
        }
    }
    assert_eq!(count, [1, 2, 3]);
    payloads
}

fn plant(event: &mut String, section: &str, member: &str) {
    let section = format!("\"{section}\":{{");
    let at = event.find(&section).unwrap() + section.len();
    let comma = if event[at..].starts_with('}') { "" } else { "," };
    event.insert_str(at, &format!("{member}{comma}"));
}

/// What cannot be stored, in a payload that can: events whose envelope is wrong, an event that is cut, no event.
fn rejected() -> Vec<Payload> {
    let bad = |message: &Message| {
        let cut = &message.content[..message.content.find(SECRET).unwrap() + SECRET.len() + 1];
        let unknown = Message { message_type: "other".to_owned(), ..message.clone() };
        vec![unknown, Message { content: cut.to_owned(), ..message.clone() }]
    };
    let messages = planted().into_iter().flat_map(|it| it.messages).filter(|it| it.content.contains(SECRET));
    let mut messages: Vec<_> = messages.flat_map(|it| bad(&it)).collect();
    messages.push(Message::event(format!("spark.password={SECRET}"), 1));
    vec![Payload::new(JOB, "rejected", messages)]
}

/// What can be stored and what cannot, line by line.
fn lines() -> String {
    let events = planted().into_iter().flat_map(|it| it.messages).filter(Message::is_event);
    let bad = rejected().remove(0).messages.into_iter().filter(|it| it.message_type == "spark-event");
    events.chain(bad).map(|it| format!("{}\n", it.content)).collect()
}

/// The same by the protocols that bring lines: each has seven that are no events, and one a sample that is none.
fn post_lines(client: &Client, seen: &mut Seen) {
    let samples = format!("{{\"timestamp\":1,\"metrics\":{{\"a.token\":\"{SECRET}\"}}}}\n{{\"token\":\"{SECRET}\"}}\n");
    for (path, body) in [
        ("/collector/bulk", delight::bulk(DELIGHT, 173, &lines())),
        ("/collector/metrics", delight::metrics(DELIGHT, &samples)),
        ("/v1/ingest/spark-pi/lines", lines().into_bytes()),
        ("/v1/ingest/spark-pi/lines?attempt=2", gzip(lines().as_bytes())),
    ] {
        let answer = client.post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(["stored", "samples"].iter().any(|it| answer.json()[*it].as_u64() > Some(0)), "{}", answer.text());
        seen.0.push((path.to_owned(), answer.body));
    }
}

/// Everything that can be had of a running server, and of what it keeps.
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    /// Where a secret is.
    fn leaks(&self) -> Vec<&str> {
        let has = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|it| it == SECRET.as_bytes());
        self.0.iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name.as_str()).collect()
    }
}

fn post_all(client: &Client) -> Seen {
    let mut seen = Seen(vec![]);
    for payload in planted().iter().chain(&rejected()) {
        let answer = client.post("/collect", &payload.to_gzip());
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen.0.push(("a 200".to_owned(), answer.body));
    }
    let json = rejected()[0].to_json();
    let cut = &json[..json.len() - 20];
    for (i, body) in [cut.to_vec(), gzip(cut), gzip(&json)[..1000].to_vec()].into_iter().enumerate() {
        if i > 0 {
            // At most one sample a second is kept.
            std::thread::sleep(Duration::from_millis(1_100));
        }
        let answer = client.post("/collect", &body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        seen.0.push(("a 400".to_owned(), answer.body));
    }
    post_lines(client, &mut seen);
    seen
}

fn look_at_answers(client: &Client, server: &mut Server, seen: &mut Seen) {
    let id = run(client)["id"].as_str().unwrap().to_owned();
    let events = path(&["job", JOB, RUN, "events"]);
    let samples = wait::until("a sample", || {
        let run = client.get(&format!("/apps/{DELIGHT}"));
        let run = (run.status == 200).then(|| run.json()).filter(|it| it["samples"] == 1)?;
        Some(format!("/v1/runs/{}/samples", run["id"].as_str()?))
    });
    let all = wait::until("the lines", || Some(run_of(client, "lines")?).filter(|it| it["events"] == 2 * 166));
    assert_eq!(all["redacted"], 2 * run(client)["redacted"].as_u64().unwrap());
    assert_eq!(run_of(client, DELIGHT).unwrap()["redacted"], run(client)["redacted"]);
    let paths = [
        samples,
        path(&["job", JOB, DELIGHT, "events"]),
        path(&["job", JOB, "lines", "events"]),
        "/v1/ingest/spark-pi/lines".to_owned(),
        "/job".to_owned(),
        path(&["job", JOB]),
        format!("{events}?format=eventlog"),
        events,
        path(&["job", JOB, RUN, "duration"]),
        "/v1/jobs".to_owned(),
        format!("/v1/runs?job={JOB}"),
        format!("/v1/runs/{id}"),
        format!("/v1/runs/{id}/events"),
        "/health".to_owned(),
        "/openapi.json".to_owned(),
    ];
    for path in paths {
        let answer = client.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        seen.0.push((path, answer.body));
    }
    for client in server.metrics() {
        seen.0.push(("/metrics".to_owned(), client.get("/metrics").body));
    }
}

fn look_at_dead_letters(site: &Site, seen: &mut Seen) {
    let list = site.dead_letters(&["list", "--json"]);
    assert!(list.status.success(), "{}", said(&list));
    let letters: Vec<Value> =
        String::from_utf8(list.stdout.clone()).unwrap().lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |kind: &str| letters.iter().filter(|it| it["kind"] == kind).count();
    assert_eq!((of("message"), of("refused")), (LETTERS, 3), "{letters:?}");
    seen.0.push(("dlq list".to_owned(), list.stdout));
    for letter in &letters {
        let id = letter["id"].as_str().unwrap();
        for arguments in [&["show", id][..], &["show", id, "--raw"]] {
            let shown = site.dead_letters(arguments);
            assert!(shown.status.success() && !shown.stdout.is_empty(), "{}", said(&shown));
            seen.0.push((format!("dlq {arguments:?} {}", letter["reason"]), shown.stdout));
        }
    }
}

/// All files as they are, and the journals record by record.
fn look_at_disk(site: &Site, seen: &mut Seen) {
    fn files(dir: &Path, seen: &mut Seen) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => files(&entry.path(), seen),
                false => seen.0.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap())),
            }
        }
    }
    files(site.path(), seen);
    for journal in ["journal", "dlq"].iter().filter(|_| !site.is_on_kafka()) {
        let mut subscriber = journal::local::open_reader(&site.path().join(journal)).unwrap();
        let extent = subscriber.extents().unwrap()[0];
        assert!(extent.end > 10, "{extent:?}");
        subscriber.seek(journal::Position { partition: 0, offset: extent.start }).unwrap();
        let mut next = extent.start;
        while next < extent.end {
            for entry in subscriber.next(Duration::from_secs(10)).unwrap() {
                next = entry.offset + 1;
                seen.0.push((format!("{journal} {}", entry.offset), entry.record.header.to_vec()));
                seen.0.push((format!("{journal} {}", entry.offset), entry.record.value.to_vec()));
            }
        }
    }
}

fn run(client: &Client) -> Value {
    wait::until("all events", || run_of(client, RUN).filter(|it| it["events"] == 166))
}

fn run_of(client: &Client, run: &str) -> Option<Value> {
    let runs = client.get(&format!("/v1/runs?job={JOB}")).json();
    runs["runs"].as_array()?.iter().find(|it| it["run_id"] == run).cloned()
}

/// By what Spark 4.3 redacts, without any code of the product.
fn is_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    ["secret", "password", "token", "accesskey", "access.key", "credential"].iter().any(|it| text.contains(it))
}

/// The values of an event that must be replaced, and no others.
fn secrets(event: &str) -> usize {
    let event: Value = serde_json::from_str(event).unwrap();
    let sections = match event["Event"].as_str().unwrap() {
        "SparkListenerEnvironmentUpdate" => {
            let all = ["JVM Information", "Spark Properties", "Hadoop Properties", "System Properties"];
            [&all[..], &["Metrics Properties"]].concat()
        }
        "SparkListenerJobStart" | "SparkListenerStageSubmitted" => vec!["Properties"],
        _ => vec![],
    };
    let members = sections.iter().filter_map(|it| event[it].as_object()).flatten();
    members.filter(|(key, value)| is_secret(key) || is_secret(value.as_str().unwrap())).count()
}

/// That `served` is `sent` with some of its texts replaced, byte for byte; how many.
fn assert_differs_only_where_redacted(sent: &str, served: &str) -> usize {
    let mut rest = sent;
    let mut parts = served.split(REDACTED);
    rest = rest.strip_prefix(parts.next().unwrap()).unwrap_or_else(|| panic!("{sent}\n{served}"));
    let mut count = 0;
    for part in parts {
        let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        texts.next().unwrap().unwrap();
        rest = rest[texts.byte_offset()..].strip_prefix(part).unwrap_or_else(|| panic!("{sent}\n{served}"));
        count += 1;
    }
    assert_eq!(rest, "");
    count
}

#[test]
fn planted_secrets_are_nowhere_and_all_other_bytes_are_unchanged() {
    undisturbed(|| {
        let site = site();
        let mut server = site.start(&[]);
        let client = server.client();
        let mut seen = post_all(&client);
        let before = run(&client);
        look_at_answers(&client, &mut server, &mut seen);
        wait::until("three samples", || {
            let list = site.dead_letters(&["list", "--json"]).stdout;
            (String::from_utf8(list).unwrap().lines().count() == LETTERS + 3).then_some(())
        });
        look_at_dead_letters(&site, &mut seen);

        let mut sent: Vec<_> = planted().into_iter().flat_map(|it| it.messages).filter(Message::is_event).collect();
        sent.sort_by_key(|it| it.generated_at);
        let served = client.get(&path(&["job", JOB, RUN, "events"])).lines();
        let mut total = 0;
        for (sent, served) in sent.iter().zip(&served) {
            let count = assert_differs_only_where_redacted(&sent.content, served);
            assert_eq!(count, secrets(&sent.content), "{served}");
            total += count;
        }
        assert_eq!((served.len(), before["redacted"].clone()), (166, total.into()));
        assert!(total > 6 + 2 + 3, "{total}");

        // Sent again, all of it is known already.
        planted().iter().for_each(|it| assert_eq!(client.post("/collect", &it.to_gzip()).status, 200));
        let again = wait::until("the copies", || Some(run(&client)).filter(|it| it["duplicates"] == 166));
        assert_eq!(again["redacted"], total);

        seen.0.push(("the log".to_owned(), server.logs().into_bytes()));
        drop(client);
        assert!(server.stop().success());
        look_at_disk(&site, &mut seen);
        assert_eq!(seen.leaks(), Vec::<&str>::new());

        // The count is a function of the events: a store made from the journal has the same.
        let digest = site.check()["digest"].clone();
        let rebuilt = site.rebuild("journal", &[]).output().unwrap();
        assert!(rebuilt.status.success(), "{}", said(&rebuilt));
        assert_eq!(site.check()["digest"], digest);
    });
}

/// That the test above can fail: with the protection off it finds the secrets everywhere.
#[test]
fn without_redaction_every_byte_is_kept_and_the_log_says_so() {
    undisturbed(|| {
        let site = Site::of("one process");
        let mut server = site.start(&["--no-redaction"]);
        let client = server.client();
        let mut seen = post_all(&client);
        assert_eq!(run(&client)["redacted"], 0);
        look_at_answers(&client, &mut server, &mut seen);
        wait::until("three samples", || {
            let list = site.dead_letters(&["list", "--json"]).stdout;
            (String::from_utf8(list).unwrap().lines().count() == LETTERS + 3).then_some(())
        });
        look_at_dead_letters(&site, &mut seen);
        wait::until("the warning", || server.logs().contains("redaction is off").then_some(()));
        drop(client);
        assert!(server.stop().success());
        look_at_disk(&site, &mut seen);
        let leaks = seen.leaks().join("\n");
        for place in ["/events", "/v1/runs/", "journal ", "dlq ", "show", "/store/"] {
            assert!(leaks.contains(place), "{place} not in {leaks}");
        }
    });
}

#[test]
fn a_pattern_that_cannot_be_used_ends_the_start() {
    for (pattern, says) in [("(", "not a regular expression"), ("", "empty text")] {
        let program = if site().is_on_kafka() { "emberlog-collector" } else { "emberlog" };
        let mut command = command_of(program, if program == "emberlog" { &["serve"] } else { &[] });
        let output = command.args(["--redact-pattern", pattern]).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(says), "{}", said(&output));
    }
}
