//! Where no token may be.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use e2e::client::Client;
use e2e::payload::small_run;
use e2e::process::said;
use e2e::server::{Site, command, data_dir};
use e2e::{topic, wait};
use journal::Subscriber;

use super::site;

/// In every planted token, and nowhere else.
const PLANTED: &str = "planted-7d2e";

/// Adds a token that a person has already.
fn keep_token(file: &Path, token: &str, scope: &str) {
    let mut command = command(&["token", "hash", "--name", scope, "--scope", scope, "--tokens"]);
    let mut child = command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

/// Good and bad requests, each with a token in every place where a client may put one.
fn send_planted(client: &Client, ingest: &str) {
    let payload = small_run("job", "run", 5);
    let mut rejected = small_run("job", "rejected", 5);
    rejected.messages[1].message_type = "other".to_owned();
    rejected.messages[2].content = "no event".to_owned();
    let json = payload.to_json();
    let cut = json[..json.len() - 20].to_vec();
    let requests = [
        ("/collect", payload.to_gzip()),
        ("/collect", rejected.to_gzip()),
        ("/collect", cut.clone()),
        ("/collect", vec![0x1f, 0x8b, 1]),
        ("/collector/bulk", cut.clone()),
        ("/collector/heartbeat", cut),
        ("/v1/ingest/job/lines", b"{\"Event\":\"E\"}\nno event\n".to_vec()),
        ("/v1/ingest/job/refused", b"no event".to_vec()),
    ];
    let (bearer, wrong) = (format!("Bearer {ingest}"), format!("Bearer emb_{PLANTED}-of-nobody"));
    let basic = format!("Basic {PLANTED}");
    for (path, body) in &requests {
        for headers in [
            &[("authorization", bearer.as_str())][..],
            &[("x-api-key", ingest), ("authorization", &basic)],
            &[("authorization", &wrong)],
            &[("x-api-key", &wrong)],
            &[("authorization", &basic)],
        ] {
            let answer = client.post_with(path, headers, body);
            assert!(!answer.text().contains(PLANTED), "{}", answer.text());
        }
        // At most one sample of what is refused is kept in a second.
        std::thread::sleep(Duration::from_millis(1_100));
    }
}

fn files(dir: &Path, seen: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), seen),
            false => seen.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap())),
        }
    }
}

/// The journals record by record: their files are compressed.
fn records(site: &Site) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    for journal in ["journal", "dlq"] {
        let mut subscriber = journal::local::open_reader(&site.path().join(journal)).unwrap();
        let extent = subscriber.extents().unwrap()[0];
        subscriber.seek(journal::Position { partition: 0, offset: extent.start }).unwrap();
        let mut next = extent.start;
        while next < extent.end {
            for entry in subscriber.next(Duration::from_secs(10)).unwrap() {
                next = entry.offset + 1;
                let bytes = [&entry.record.key[..], &entry.record.header, &entry.record.value].concat();
                seen.push((format!("{journal} {}", entry.offset), bytes));
            }
        }
    }
    seen
}

/// The same on Kafka, by Kafka's own consumer.
fn consumed(name: &str) -> Vec<(String, Vec<u8>)> {
    let Some(cluster) = topic::own() else { return vec![] };
    let consume = |topic: &str| {
        let arguments = ["--topic", topic, "--from-beginning", "--timeout-ms", "8000"];
        let print = ["--formatter-property", "print.headers=true", "--formatter-property", "print.key=true"];
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        // It ends when nothing has come for a while, which on a slow machine may be before the first.
        let text = wait::until("records", || {
            let text = cluster.tool(class, &[&arguments[..], &print].concat());
            text.contains("emberlog:").then_some(text)
        });
        (topic.to_owned(), text.into_bytes())
    };
    vec![consume(name), consume(&format!("{name}.dlq"))]
}

#[test]
fn no_byte_of_a_token_is_kept_or_said_with_and_without_a_tokens_file() {
    for with_tokens in [true, false] {
        let (site, dir) = (site(), data_dir());
        let file = dir.path().join("tokens");
        let [ingest, read] = ["ingest", "read"].map(|scope| format!("emb_{PLANTED}-{scope}-0123456789"));
        keep_token(&file, &ingest, "ingest");
        keep_token(&file, &read, "read");
        let tokens = ["--tokens", file.to_str().unwrap()];
        let mut server = site.start(if with_tokens { &tokens } else { &[] });
        let client = server.client();
        send_planted(&client, &ingest);
        let reader = client.with_token(&read);
        wait::until("the run", || (!reader.events("job", "run").unwrap().is_empty()).then_some(()));
        wait::until("the dead letters", || {
            let list = site.dead_letters(&["list", "--json"]).stdout;
            (String::from_utf8(list).unwrap().lines().count() >= 8).then_some(())
        });
        let mut seen = Vec::new();
        for client in server.metrics() {
            seen.push(("/metrics".to_owned(), client.with_token(&read).send("GET", "/metrics").body));
        }
        let list = site.dead_letters(&["list", "--json"]);
        assert!(list.status.success(), "{}", said(&list));
        let mut paths = BTreeSet::new();
        for line in String::from_utf8(list.stdout).unwrap().lines() {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            let shown = site.dead_letters(&["show", letter["id"].as_str().unwrap()]);
            // The letter holds headers; which are no credentials.
            assert!(String::from_utf8_lossy(&shown.stdout).contains("content-length"), "{}", said(&shown));
            paths.insert(letter["path"].as_str().unwrap().to_owned());
            seen.push((line.to_owned(), [line.as_bytes(), &shown.stdout].concat()));
        }
        assert!(paths.len() >= 4, "{paths:?}");
        if with_tokens {
            wait::until("the warning", || server.logs().contains("an unknown token").then_some(()));
        }
        let logs = server.logs();
        assert_eq!(logs.contains("an unknown token"), with_tokens, "{logs}");
        seen.push(("the log".to_owned(), logs.into_bytes()));
        drop((client, reader));
        assert!(server.stop().success());
        files(site.path(), &mut seen);
        match site.topic() {
            None => seen.extend(records(&site)),
            Some(topic) => seen.extend(consumed(&topic.name)),
        }
        let size: usize = seen.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size > 10_000, "{size}");
        let has = |bytes: &[u8]| bytes.windows(PLANTED.len()).any(|it| it == PLANTED.as_bytes());
        let leaks: Vec<_> = seen.iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name).collect();
        assert!(leaks.is_empty(), "with tokens: {with_tokens}: {leaks:?}");
    }
}
