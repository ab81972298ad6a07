//! Event logs imported into the folder of a server that does not run.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::process::said;
use e2e::server::{Server, check, command, data_dir};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/eventlog/tests/fixtures").join(name)
}

fn import(data: &Path, arguments: &[&str]) -> Output {
    command(&["import", "--json", "--data-dir"]).arg(data).args(arguments).output().unwrap()
}

fn imported(data: &Path, arguments: &[&str]) -> Value {
    let output = import(data, arguments);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// With its events applied.
fn digest(data: &Path) -> Value {
    // Before it looks what is there, an import applies all that is not applied.
    let nothing = data_dir();
    let output = import(data, &[nothing.path().to_str().unwrap()]);
    assert!(output.status.code() == Some(1) && said(&output).contains("no event log in"), "{}", said(&output));
    check(data)["digest"].clone()
}

#[test]
fn an_import_into_a_folder_is_what_one_into_its_server_would_be() {
    let (ours, theirs) = (data_dir(), data_dir());
    let logs = data_dir();
    for (n, codec) in ["zstd", "lz4", "snappy", "lzf"].iter().enumerate() {
        let version = if n % 2 == 0 { "3.5" } else { "4.3" };
        std::fs::copy(fixture(&format!("spark-{version}.{codec}")), logs.path().join(format!("app.{codec}"))).unwrap();
    }
    let logs = logs.path().to_str().unwrap();
    let first = imported(ours.path(), &[logs, "--jobs", "1"]);
    assert_eq!((&first["imported"], &first["already_there"]), (&json!(2), &json!(2)), "{first}");
    // Nothing of it is applied yet, and all of it is known.
    let again = imported(ours.path(), &[logs]);
    assert_eq!((&again["imported"], &again["already_there"]), (&json!(0), &json!(4)), "{again}");
    let before = digest(ours.path());
    assert_eq!(imported(ours.path(), &[logs])["stored"], 0);
    assert_eq!(imported(ours.path(), &[logs, "--replace", "--jobs", "1"])["imported"], 2);
    assert_eq!(digest(ours.path()), before);

    let server = Server::start(theirs.path(), &[]);
    let refused = import(theirs.path(), &[logs]);
    assert!(!refused.status.success() && said(&refused).contains("--url"), "{}", said(&refused));
    let output = command(&["import", logs, "--url", &server.url]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(server.stop().success());
    assert_eq!(digest(theirs.path()), before);
}

#[test]
fn secrets_are_redacted_and_bad_lines_are_dead_letters_as_a_server_does_it() {
    let (data, logs) = (data_dir(), data_dir());
    let log = logs.path().join("app-1");
    let start =
        r#"{"Event":"SparkListenerApplicationStart","App Name":"job","App ID":"app-1","Timestamp":1,"User":"u"}"#;
    let environment =
        r#"{"Event":"SparkListenerEnvironmentUpdate","Spark Properties":{"spark.my.password":"hunter2"}}"#;
    let large = format!(r#"{{"Event":"X","a":"{}"}}"#, "x".repeat(17_000_000));
    std::fs::write(&log, format!("{start}\n{environment}\nno JSON\n{large}\n{{\"Event\":\"End\"}}\n")).unwrap();
    let first = imported(data.path(), &[log.to_str().unwrap()]);
    assert_eq!((&first["stored"], &first["dead_lettered"]), (&json!(3), &json!(2)), "{first}");
    // What is a dead letter already does not become another one.
    let again = imported(data.path(), &[log.to_str().unwrap()]);
    assert_eq!((&again["already_there"], &again["dead_lettered"]), (&json!(1), &json!(0)), "{again}");
    let server = Server::start(data.path(), &[]);
    let events = e2e::wait::until("the events", || {
        let events = String::from_utf8(server.client().events("job", "app-1").unwrap()).unwrap();
        (events.lines().count() == 3).then_some(events)
    });
    assert!(!events.contains("hunter2") && events.contains("(redacted)"), "{events}");
    assert!(server.stop().success());
    let letters = command(&["dlq", "list", "--data-dir"]).arg(data.path()).output().unwrap();
    let text = said(&letters);
    assert_eq!(text.matches("app-1").count(), 2, "{text}");
    assert!(text.contains("not_json") && text.contains("too_large") && text.contains("app-1"), "{text}");
}
