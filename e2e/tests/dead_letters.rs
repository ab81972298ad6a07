//! What was accepted and is no event: kept, shown, and sent again when mended.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;

use e2e::client::{Client, undisturbed};
use e2e::payload::{Message, Payload};
use e2e::process::said;
use e2e::server::Site;
use e2e::wait;
use event::collect::Limits;
use event::dead_letter::{DeadLetter, Kind, Origin};
use event::{ReceivedAt, Redaction, RunName, ingest};
use journal::{Publisher, Record, kafka, local};
use prometheus::Registry;
use serde_json::{Value, json};

const BAD: &str = "this is {no JSON";

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn event(n: i64) -> Message {
    Message::event(format!(r#"{{"Event":"E","n":{n}}}"#), n)
}

/// Events 1 and 3, and between them what was meant to be 2.
fn post_bad(client: &Client, run: &str) -> Value {
    let payload = Payload::new("letters", run, vec![event(1), Message::event(BAD, 2), event(3)]);
    let answer = client.post("/collect", &payload.to_gzip());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn list(site: &Site) -> Vec<Value> {
    let output = site.dead_letters(&["list", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn replay(site: &Site, url: &str, arguments: &[&str]) -> std::process::Output {
    site.dead_letters(&[&["replay", "--url", url], arguments].concat())
}

fn assert_serves(client: &Client, run: &str, events: &[i64]) {
    let expected: String = events.iter().map(|n| format!("{}\n", event(*n).content)).collect();
    wait::until(&format!("the events {events:?}"), || {
        (client.events("letters", run).unwrap() == expected.as_bytes()).then_some(())
    });
}

#[test]
fn a_bad_message_among_good_ones_is_kept_shown_mended_and_stored_in_its_place() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        let client = server.client();
        let answer = post_bad(&client, "run");
        assert_eq!((answer["stored"].clone(), answer["dead_lettered"].clone()), (2.into(), 1.into()));
        assert_serves(&client, "run", &[1, 3]);

        // While the server runs.
        let letters = list(&site);
        assert_eq!(letters.len(), 1, "{letters:?}");
        let letter = &letters[0];
        let expected = json!({"id": "0", "kind": "message", "reason": "not_json", "job_name": "letters", "run_id": "run",
        "generated_at": 2, "sequence": 1, "protocol": "collect", "path": "/collect"});
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(&letter[member], value, "{member} of {letter}");
        }
        let shown = site.dead_letters(&["show", "0"]);
        assert!(said(&shown).contains("messages[1].content") && said(&shown).contains(BAD), "{}", said(&shown));
        let raw = site.dead_letters(&["show", "0", "--raw"]).stdout;
        let message: Message = serde_json::from_slice(&raw).unwrap();
        assert_eq!(message, Message::event(BAD, 2));

        let mended = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&mended, serde_json::to_vec(&event(2)).unwrap()).unwrap();
        for _ in 0..2 {
            let output = replay(&site, &server.url, &["0", "--with", mended.to_str().unwrap()]);
            assert!(
                output.status.success() && said(&output).contains("1 stored, 0 still no events"),
                "{}",
                said(&output)
            );
        }
        assert_serves(&client, "run", &[1, 2, 3]);
    });
}

#[test]
fn sending_all_of_them_again_is_harmless_and_makes_no_new_ones() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        let client = server.client();
        for run in ["a", "b", "a"] {
            post_bad(&client, run);
        }
        assert_eq!(client.post("/collector/bulk", b"no payload").status, 200);
        assert_eq!(client.post("/v1/ingest/letters/a?first_sequence=5", b"no line").json()["dead_lettered"], 1);
        // A sample of what was refused is kept for people, and never sent again.
        assert_eq!(client.post("/collect", b"refused").status, 400);
        wait::until("the sample", || (list(&site).len() == 6).then_some(()));
        for _ in 0..2 {
            let output = replay(&site, &server.url, &["--all"]);
            let text = said(&output);
            assert_eq!(output.status.code(), Some(0), "{text}");
            assert!(text.contains("0 stored, 4 still no events, 1 the same as others, 1 passed over"), "{text}");
            assert!(text.contains("for diagnosis only"), "{text}");
        }
        assert_eq!(list(&site).len(), 6);
        for run in ["a", "b"] {
            assert_serves(&client, run, &[1, 3]);
        }
        assert_eq!(client.get("/job").json(), json!(["letters"]));
        // One that was asked for by its number is to be stored.
        let output = replay(&site, &server.url, &["0"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(list(&site).len(), 6);
    });
}

#[test]
fn what_others_have_written_hides_nothing_behind_it() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        post_bad(&server.client(), "before");
        assert!(server.stop().success());
        write(&site, Record { key: vec![].into(), header: b"nobody's".to_vec().into(), value: b"x".to_vec().into() });
        let server = site.start(&[]);
        post_bad(&server.client(), "behind");
        let letters = list(&site);
        assert!(letters[1]["error"].as_str().unwrap().starts_with("not the header of a dead letter"), "{letters:?}");
        assert_eq!((&letters[0]["run_id"], &letters[2]["run_id"]), (&json!("before"), &json!("behind")), "{letters:?}");
        let text = said(&site.dead_letters(&["list"]));
        assert!(text.contains("1: not readable: ") && text.contains("behind"), "{text}");
        let output = replay(&site, &server.url, &["--all"]);
        assert!(
            output.status.success() && said(&output).contains("2 still no events, 1 passed over"),
            "{}",
            said(&output)
        );
    });
}

/// Among the dead letters of a server that does not run.
fn write(site: &Site, record: Record) {
    match site.topic() {
        Some(topic) => {
            let settings = kafka::Settings {
                brokers: topic.brokers.clone(),
                topic: topic.dead_letters(),
                expires: true,
                properties: kafka::Properties::default(),
            };
            let metrics = kafka::PublisherMetrics::register(&Registry::new(), "dlq").unwrap();
            publish(&kafka::Publisher::open(settings, &kafka::PublisherOptions::default(), metrics).unwrap(), record);
        }
        None => {
            let metrics = local::Metrics::register(&Registry::new(), "dlq").unwrap();
            let journal = local::Local::open(&site.path().join("dlq"), local::Options::default(), metrics).unwrap();
            publish(&journal.publisher(), record);
        }
    }
}

fn publish(publisher: &dyn Publisher, record: Record) {
    tokio::runtime::Runtime::new().unwrap().block_on(publisher.publish(vec![record])).unwrap();
}

#[test]
fn a_record_that_an_older_version_did_not_know_is_put_back_into_the_journal() {
    undisturbed(|| {
        let site = site();
        let server = site.start(&[]);
        post_bad(&server.client(), "run");
        assert!(server.stop().success());
        let content = event(2).content;
        let run = RunName::new("letters", "record").unwrap();
        let target = ingest::Target { run: run.clone(), first_sequence: 0, attempt: 0 };
        let limits = Limits { event_bytes: 1000, rejected_bytes: 0, truncated_bytes: 0 };
        let payload =
            ingest::decode(&content.clone().into(), target, ReceivedAt::now(), limits, &Redaction::off()).unwrap();
        let known = String::from_utf8(payload.events[0].header.to_vec()).unwrap();
        for header in [known, "9 unheard of".to_owned()] {
            let letter = DeadLetter {
                origin: Some(Origin { partition: 0, offset: 7, header }),
                ..DeadLetter::new(Kind::Record, "cannot_be_applied", "unknown kind", ReceivedAt::now())
            };
            write(
                &site,
                Record { key: run.to_key().into(), header: letter.header().into(), value: content.clone().into() },
            );
        }
        let server = site.start(&[]);
        let all = replay(&site, &server.url, &["--all"]);
        assert!(all.status.success() && said(&all).contains("2 passed over"), "{}", said(&all));
        if !site.is_on_kafka() {
            let locked = replay(&site, &server.url, &["1"]);
            assert!(!locked.status.success() && said(&locked).contains("stop its server first"), "{}", said(&locked));
        }
        assert!(server.stop().success());
        for _ in 0..2 {
            let output = replay(&site, "http://127.0.0.1:1", &["1"]);
            assert!(output.status.success() && said(&output).contains("1 stored"), "{}", said(&output));
        }
        let unknown = replay(&site, "http://127.0.0.1:1", &["2"]);
        assert!(!unknown.status.success() && said(&unknown).contains("does not know"), "{}", said(&unknown));
        let server = site.start(&[]);
        assert_serves(&server.client(), "record", &[2]);
        assert_serves(&server.client(), "run", &[1, 3]);
    });
}

#[test]
fn a_reader_that_goes_early_is_no_error() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    // More than a pipe holds.
    let bad: Vec<_> = (0..400).map(|n| Message::event("bad ".repeat(100), n)).collect();
    let payload = Payload::new("letters", "run", bad);
    assert_eq!(client.post("/collect", &payload.to_gzip()).status, 200);
    let mut command = site.dead_letters_command(&["list", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && !said(&output).contains("emberlog: "), "{}", said(&output));
}

#[test]
fn an_acknowledged_dead_letter_survives_a_kill() {
    undisturbed(|| {
        let site = site();
        for i in 0..5 {
            let server = site.start(&[]);
            post_bad(&server.client(), &i.to_string());
            server.kill();
        }
        let runs: Vec<_> = list(&site).iter().map(|it| it["run_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(runs, ["0", "1", "2", "3", "4"]);
    });
}

#[test]
fn mistakes_at_the_command_line_are_told() {
    let site = site();
    let server = site.start(&[]);
    post_bad(&server.client(), "run");
    let unknown = site.dead_letters(&["show", "7"]);
    assert!(!unknown.status.success() && said(&unknown).contains("there is no dead letter 7"), "{}", said(&unknown));
    let away = replay(&site, "http://127.0.0.1:1", &["0"]);
    let text = said(&away);
    assert!(!away.status.success() && text.contains("cannot reach http://127.0.0.1:1"), "{text}");
    assert_eq!(text.matches("Connection refused").count(), 1, "{text}");
    let line = said(&site.dead_letters(&["list"]));
    assert!(line.contains("NUMBER\tRECEIVED") && line.contains("\t20"), "{line}");
    assert!(line.contains("not_json") && line.contains(r#"["letters","run"]"#), "{line}");
}
