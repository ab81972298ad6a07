//! Event logs as Spark wrote them, imported: the same events whatever they are compressed with, and once.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::client::path;
use e2e::payload::small_run;
use e2e::process::said;
use e2e::security::{Authority, new_token};
use e2e::server::{Server, Site, command, data_dir};
use serde_json::{Value, json};

/// Of the recorded logs of Spark 4.3.
const JOB: &str = "fixture é/ x";
const CODECS: [&str; 4] = ["zstd", "lz4", "snappy", "lzf"];

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/eventlog/tests/fixtures").join(name)
}

/// The log of Spark 4.3 as text, read without any code of the product.
fn plain() -> String {
    String::from_utf8(zstd::decode_all(&std::fs::read(fixture("spark-4.3.zstd")).unwrap()[..]).unwrap()).unwrap()
}

fn app_id(log: &str) -> String {
    let start = log.lines().find(|it| it.starts_with(r#"{"Event":"SparkListenerApplicationStart""#)).unwrap();
    serde_json::from_str::<Value>(start).unwrap()["App ID"].as_str().unwrap().to_owned()
}

/// The same log of another application.
fn renamed(log: &str, id: &str) -> String {
    log.replace(&app_id(log), id)
}

fn import(arguments: &[&str]) -> Output {
    command(&["import", "--json"]).args(arguments).output().unwrap()
}

fn into(server: &Server, arguments: &[&str]) -> Value {
    outcome(&import(&[&["--url", &server.url], arguments].concat()), 0)
}

fn outcome(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(output)))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn served(server: &Server, job: &str, run: &str) -> String {
    String::from_utf8(server.client().events(job, run).unwrap()).unwrap()
}

/// Without showing events of a tenth of a megabyte.
fn assert_same(served: &str, expected: &str) {
    for (n, (served, expected)) in served.lines().zip(expected.lines()).enumerate() {
        let at = served.bytes().zip(expected.bytes()).position(|(a, b)| a != b).unwrap_or_default();
        let near = |text: &str| text.chars().skip(at.saturating_sub(60)).take(120).collect::<String>();
        assert!(served == expected, "line {n}: {} instead of {}", near(served), near(expected));
    }
    assert_eq!(served.lines().count(), expected.lines().count());
}

#[test]
fn every_codec_gives_the_same_events_and_importing_again_changes_nothing() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let (log, id) = (plain(), app_id(&plain()));
    std::fs::write(logs.path().join("plain"), &log).unwrap();
    for codec in CODECS {
        std::fs::copy(fixture(&format!("spark-4.3.{codec}")), logs.path().join(format!("app.{codec}"))).unwrap();
    }
    let first = into(&server, &["--jobs", "1", text(logs.path())]);
    // The first is imported, and the others are found to be the same.
    assert_eq!((&first["imported"], &first["already_there"]), (&json!(1), &json!(4)), "{first}");
    assert_same(&served(&server, JOB, &id), &log);
    let again = into(&server, &[text(logs.path())]);
    assert_eq!((&again["imported"], &again["already_there"], &again["stored"]), (&json!(0), &json!(5), &json!(0)));
    let replaced = into(&server, &["--replace", text(&fixture("spark-4.3.lzf"))]);
    assert_eq!((&replaced["imported"], &replaced["stored"]), (&json!(1), &json!(log.lines().count())), "{replaced}");
    assert_same(&served(&server, JOB, &id), &log);
    assert!(server.stop().success());
    site.check();
}

#[test]
fn a_log_that_grew_goes_on_where_it_was_and_a_rolling_one_is_one() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let (log, id) = (plain(), app_id(&plain()));
    let running = logs.path().join(format!("{id}.inprogress"));
    let cut = log.match_indices('\n').nth(20).unwrap().0 + 30;
    std::fs::write(&running, &log[..cut]).unwrap();
    let first = into(&server, &[text(&running)]);
    assert_eq!((&first["stored"], &first["incomplete"]), (&json!(21), &json!(1)), "{first}");

    // Spark 4 writes the same in parts, of which there are more than nine.
    std::fs::remove_file(&running).unwrap();
    let rolling = logs.path().join(format!("eventlog_v2_{id}"));
    std::fs::create_dir(&rolling).unwrap();
    let lines: Vec<_> = log.split_inclusive('\n').collect();
    for (part, lines) in lines.chunks(4).enumerate() {
        let part = format!("events_{}_{id}.zstd", part + 1);
        std::fs::write(rolling.join(part), zstd::encode_all(lines.concat().as_bytes(), 1).unwrap()).unwrap();
    }
    std::fs::write(rolling.join(format!("appstatus_{id}")), b"").unwrap();
    let second = into(&server, &[text(logs.path())]);
    assert_eq!((&second["stored"], &second["incomplete"]), (&json!(lines.len() - 21), &json!(0)), "{second}");
    assert_same(&served(&server, JOB, &id), &log);

    // The History Server has taken events out: what is there is more.
    let compact = rolling.join(format!("events_9_{id}.zstd.compact"));
    let write = |lines: &[&str]| std::fs::write(&compact, zstd::encode_all(lines.concat().as_bytes(), 1).unwrap());
    write(&[&lines[..20], &lines[30..36]].concat()).unwrap();
    let compacted = into(&server, &[text(logs.path())]);
    assert_eq!(compacted["left_alone"], 1, "{compacted}");
    // With as many lines as there were, it is other events that are missing.
    write(&[&lines[..20], &lines[21..36], &lines[..10]].concat()).unwrap();
    let compacted = into(&server, &[text(logs.path())]);
    assert_eq!(compacted["left_alone"], 1, "{compacted}");
    assert_same(&served(&server, JOB, &id), &log);
    assert!(server.stop().success());
}

#[test]
fn what_a_listener_sent_is_left_alone_unless_told_otherwise() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let logs = data_dir();
    let log = renamed(&plain(), "app-1");
    let file = logs.path().join("app-1");
    std::fs::write(&file, &log).unwrap();
    let payload = small_run(JOB, "app-1", 3);
    let answer = client.post("/collect", &payload.to_gzip()).json();
    let place = format!("{}:{}", answer["journal"]["partition"], answer["journal"]["offset"]);
    client.get_applied(&format!("{}?wait_for={place}", path(&["v1", "ingest", JOB, "app-1"])));
    let before = served(&server, JOB, "app-1");
    let left = into(&server, &[text(&file)]);
    assert_eq!((&left["left_alone"], &left["imported"]), (&json!(1), &json!(0)), "{left}");
    assert!(left.to_string().contains("--replace"), "{left}");
    assert_same(&served(&server, JOB, "app-1"), &before);

    let beside = into(&server, &["--as-attempt", "2", text(&file)]);
    assert_eq!(beside["imported"], 1, "{beside}");
    let both = served(&server, JOB, "app-1");
    assert!(both.contains(&before) && both.contains(&log), "an attempt lies beside what was there");

    let dry = into(&server, &["--replace", "--dry-run", text(&file)]);
    assert_eq!(dry["imported"], 1, "{dry}");
    assert_same(&served(&server, JOB, "app-1"), &both);
    assert_eq!(into(&server, &["--replace", text(&file)])["imported"], 1);
    assert_same(&served(&server, JOB, "app-1"), &log);
    assert!(server.stop().success());
}

#[test]
fn two_attempts_are_applications_of_one_run() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let log = renamed(&plain(), "app-1");
    let attempt =
        |n: u32| log.replacen(r#""App ID":"app-1""#, &format!(r#""App ID":"app-1","App Attempt ID":"{n}""#), 1);
    for n in [2, 1] {
        std::fs::write(logs.path().join(format!("app-1_{n}")), attempt(n)).unwrap();
    }
    for flags in [&[][..], &["--replace"]] {
        let imported = into(&server, &[flags, &[text(logs.path())]].concat());
        assert_eq!(imported["imported"], 2, "{imported}");
        assert_same(&served(&server, JOB, "app-1"), &(attempt(1) + &attempt(2)));
    }
    assert!(server.stop().success());
}

#[test]
fn one_damaged_log_does_not_keep_the_others_out() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let mut damaged = std::fs::read(fixture("spark-4.3.lz4")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    std::fs::write(logs.path().join("damaged.lz4"), damaged).unwrap();
    std::fs::write(logs.path().join("empty.inprogress"), b"").unwrap();
    std::fs::write(logs.path().join("whole"), plain()).unwrap();
    let cut = renamed(&plain(), "cut");
    std::fs::write(logs.path().join("cut"), &cut[..cut.len() - 5]).unwrap();
    let output = import(&["--url", &server.url, text(logs.path())]);
    let json = outcome(&output, 1);
    assert_eq!((&json["imported"], &json["failed"], &json["empty"]), (&json!(1), &json!(2), &json!(1)), "{json}");
    let said = json.to_string();
    assert!(said.contains("damaged.lz4, at byte ") && said.contains("checksum is wrong"), "{said}");
    assert!(said.contains("in the middle of a line"), "{said}");
    assert_same(&served(&server, JOB, &app_id(&plain())), &plain());
    // What is whole of the one that was cut is there.
    assert_eq!(served(&server, JOB, "cut").lines().count(), cut.lines().count() - 1);
    assert!(server.stop().success());
}

#[test]
fn names_from_a_log_name_a_run_and_nothing_else() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let names = [("../../etc", ".."), ("a\u{202e}b\n", "/etc/passwd"), (" ", "..%2f%00?x=1#"), ("\u{0}", "\u{1f600}")];
    for (n, (job, id)) in names.iter().enumerate() {
        let quoted = |name: &str| serde_json::to_string(name).unwrap();
        let start = format!(
            r#"{{"Event":"SparkListenerApplicationStart","App Name":{},"App ID":{},"Timestamp":1,"User":"u","App Attempt ID":"../{n}"}}"#,
            quoted(job),
            quoted(id)
        );
        std::fs::write(logs.path().join(format!("log-{n}")), format!("{start}\n")).unwrap();
        let imported = into(&server, &[text(&logs.path().join(format!("log-{n}")))]);
        assert_eq!(imported["imported"], 1, "{imported}");
        assert_eq!(served(&server, job, id), format!("{start}\n"), "{job:?} {id:?}");
    }
    assert!(server.stop().success());
}

#[test]
fn each_command_needs_its_scope_and_trusts_whom_it_is_told_to() {
    let site = site();
    let secrets = data_dir();
    let authority = Authority::new(secrets.path());
    let tokens = secrets.path().join("tokens");
    let [certificate, key] = [authority.certificate(), authority.key()];
    let mut server = site.start(&[
        "--tokens",
        text(&tokens_with(&tokens)),
        "--tls-cert",
        text(&certificate),
        "--tls-key",
        text(&key),
    ]);
    let ca = authority.own_certificate();
    let run = |scope: Option<&str>, ca: Option<&Path>, arguments: &[&str]| {
        let mut command = command(&arguments[..1]);
        command.args(["--url", &server.url]).args(&arguments[1..]);
        if let Some(ca) = ca {
            command.arg("--ca-file").arg(ca);
        }
        if let Some(scope) = scope {
            command.arg("--token-file").arg(secrets.path().join(scope));
        }
        let output = command.output().unwrap();
        for scope in SCOPES {
            let token = std::fs::read_to_string(secrets.path().join(scope)).unwrap();
            assert!(!said(&output).contains(&token), "no output has a token");
        }
        output
    };
    let log = fixture("spark-4.3.lz4");
    let import = ["import", text(&log)];
    let id = app_id(&plain());
    for (output, says) in [
        (run(None, Some(&ca), &import), "401"),
        (run(Some("read"), Some(&ca), &import), "403"),
        (run(Some("ingest"), None, &["import", "--patience", "1s", text(&log)]), "certificate"),
        (run(Some("ingest"), Some(&ca), &["export", JOB, &id]), "403"),
        (run(Some("ingest"), Some(&ca), &["import", "--replace", text(&log)]), ""),
    ] {
        assert_eq!(output.status.success(), says.is_empty(), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
    }
    let again = run(Some("ingest"), Some(&ca), &import);
    assert!(said(&again).contains("already there"), "{}", said(&again));
    let refused = run(Some("ingest"), Some(&ca), &["import", "--replace", text(&log)]);
    assert!(!refused.status.success() && said(&refused).contains("administration"), "{}", said(&refused));
    let replaced = run(Some("admin"), Some(&ca), &["import", "--replace", text(&log)]);
    assert!(replaced.status.success() && said(&replaced).contains("1 log imported"), "{}", said(&replaced));
    let exported = run(Some("read"), Some(&ca), &["export", JOB, &id]);
    assert!(exported.status.success());
    assert_same(&String::from_utf8(exported.stdout).unwrap(), &plain());
    for scope in SCOPES {
        let token = std::fs::read_to_string(secrets.path().join(scope)).unwrap();
        assert!(!server.logs().contains(&token), "no log of a server has a token");
    }
    assert!(server.stop().success());
}

const SCOPES: [&str; 3] = ["ingest", "read", "admin"];

/// Tokens of each scope, in files of their own too.
fn tokens_with(tokens: &Path) -> PathBuf {
    for scope in SCOPES {
        std::fs::write(tokens.with_file_name(scope), new_token(tokens, scope, scope)).unwrap();
    }
    tokens.to_owned()
}

#[test]
fn lines_at_the_end_that_are_no_events_are_dead_letters_once() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let log = logs.path().join("app-1");
    let start =
        r#"{"Event":"SparkListenerApplicationStart","App Name":"tail","App ID":"app-1","Timestamp":1,"User":"u"}"#;
    std::fs::write(&log, format!("{start}\nno event\nnor this\n")).unwrap();
    let dry = into(&server, &["--dry-run", text(&log)]);
    assert_eq!((&dry["stored"], &dry["dead_lettered"]), (&json!(1), &json!(2)), "{dry}");
    let first = into(&server, &[text(&log)]);
    assert_eq!((&first["stored"], &first["dead_lettered"]), (&json!(1), &json!(2)), "{first}");
    for flags in [&["--dry-run"][..], &[]] {
        let again = into(&server, &[flags, &[text(&log)]].concat());
        assert_eq!((&again["already_there"], &again["dead_lettered"]), (&json!(1), &json!(0)), "{again}");
    }
    // The log has gone on behind them.
    std::fs::write(&log, format!("{start}\nno event\nnor this\n{{\"Event\":\"End\"}}\n")).unwrap();
    let grown = into(&server, &[text(&log)]);
    assert_eq!((&grown["imported"], &grown["stored"]), (&json!(1), &json!(1)), "{grown}");
    let letters = site.dead_letters(&["list"]);
    assert_eq!(said(&letters).matches("not_json").count(), 4, "{}", said(&letters));
    server.stop();
}

#[test]
fn a_folder_without_any_log_is_told() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    std::fs::write(logs.path().join("app-1.zst"), b"").unwrap();
    let output = command(&["import", "--url", &server.url, text(logs.path())]).output().unwrap();
    let told = said(&output);
    assert!(output.status.code() == Some(1) && told.contains("no event log in"), "{told}");
    assert!(told.contains("1 entry was passed over") && told.contains("APP.zstd"), "{told}");
    server.stop();
}
