//! What was accepted and is no event: kept, shown, and sent again when mended.
#![allow(clippy::unwrap_used)]

use e2e::client::Client;
use e2e::payload::{Message, Payload};
use e2e::process::said;
use e2e::server::Site;
use e2e::wait;
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
        assert!(output.status.success() && said(&output).contains("1 stored, 0 not"), "{}", said(&output));
    }
    assert_serves(&client, "run", &[1, 2, 3]);
}

#[test]
fn sending_all_of_them_again_is_harmless() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    for run in ["a", "b"] {
        post_bad(&client, run);
    }
    // A sample of what was refused is kept for people, and never sent again.
    assert_eq!(client.post("/collect", b"refused").status, 400);
    wait::until("the sample", || (list(&site).len() == 3).then_some(()));
    let output = replay(&site, &server.url, &["--all"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("0 stored, 3 not") && said(&output).contains("for diagnosis only"),
        "{}",
        said(&output)
    );
    assert_eq!(list(&site).iter().filter(|it| it["kind"] == "message").count(), 4);
    for run in ["a", "b"] {
        assert_serves(&client, run, &[1, 3]);
    }
    assert_eq!(client.get("/job").json(), json!(["letters"]));
}

#[test]
fn an_acknowledged_dead_letter_survives_a_kill() {
    let site = site();
    for i in 0..5 {
        let server = site.start(&[]);
        post_bad(&server.client(), &i.to_string());
        server.kill();
    }
    let runs: Vec<_> = list(&site).iter().map(|it| it["run_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(runs, ["0", "1", "2", "3", "4"]);
}

#[test]
fn mistakes_at_the_command_line_are_told() {
    let site = site();
    let server = site.start(&[]);
    post_bad(&server.client(), "run");
    let unknown = site.dead_letters(&["show", "7"]);
    assert!(!unknown.status.success() && said(&unknown).contains("there is no dead letter 7"), "{}", said(&unknown));
    let away = replay(&site, "http://127.0.0.1:1", &["0"]);
    assert!(!away.status.success() && said(&away).contains("cannot reach http://127.0.0.1:1"), "{}", said(&away));
    let line = said(&site.dead_letters(&["list"]));
    assert!(line.contains("not_json") && line.contains(r#"["letters","run"]"#), "{line}");
}
